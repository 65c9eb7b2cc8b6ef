"""One transition: the plant half a second on, one production `step`, and the history that properties look back on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from edge_agent.guard.model import RELAYS, State
from edge_agent.guard.safety import supervisor
from edge_agent.guard.safety.facts import Facts
from edge_agent.guard.safety.interface import Command
from edge_agent.guard.safety.state import Supervisor
from edge_agent.guard.safety.turn import Decision, StepInputs
from tests.prove.moves import ASKS, Move, started
from tests.prove.moves import commands as commands_of
from tests.prove.plant import COMM_TIMER_S, DEAD, LIVE, NEVER, R1, TICK_S, Model, World, advance
from tests.prove.senses import facts, sense

REST = frozenset({State.STANDBY, State.LATCHED})
UNASKED = frozenset(
    {State.BOOT, State.STANDBY, State.CONNECTING, State.HOLD, State.STOPPING, State.LATCHED, State.SERVICE}
)
CRASHES = frozenset({State.CONNECTING, State.READY, State.RUN, State.HOLD})
DRIVES = frozenset({"inverter", "schedule"})


class Node(NamedTuple):
    """A situation: what the agent remembers (None: it is dead), the world, and the time."""

    state: Supervisor | None
    world: World
    now: float


class Edge(NamedTuple):
    """What properties look at. `broken`: what opened the circuit under load; `closing`: pins that closed in this tick."""

    model: Model
    before: Node
    after: Node
    move: str
    told: StepInputs
    asked: tuple[Command, ...]
    decision: Decision
    broken: str
    closing: int

    @property
    def facts(self) -> Facts:
        """What the rules said."""
        return self.told.facts


NOTHING = StepInputs(Facts())
SILENT = Decision()


def environment(model: Model, node: Node, move: Move) -> Edge:
    """An event of the environment takes no time; a new process gets its first state."""
    world = node.world.clone()
    state = node.state
    if move.name == "agent killed" and state is not None:
        world.crashed = bool(state.outputs.mask & RELAYS) and state.phase.state in CRASHES
        state = None
    move.do(world, node.now)
    world.moved_t = node.now
    if move.name == "agent started":
        state = started(model, world, node.now)
    after = Node(state, world, node.now)
    if state is not None and node.state is None:
        world.crashed = False
    return Edge(model, node, after, move.name, NOTHING, (), SILENT, "", 0)


def tick(model: Model, node: Node, ask: str = "") -> Edge:
    """Half a second passes; the agent, if it lives, is asked one thing and takes one step."""
    now = node.now + TICK_S
    before = node.state
    world, broken, closing = advance(model, node.world, before, now)
    if before is None or world.agent != LIVE:
        return Edge(model, node, Node(before, world, now), "", NOTHING, (), SILENT, broken, closing)
    sense(model, world, now)
    asked = commands_of(ASKS[ask], before, node.now) if ask else ()
    told = StepInputs(
        facts(model, world, before, now),
        asked,
        world.broker,
        before.vault.ticket if world.disk == "ok" else before.vault.written,
        "no space left" if world.disk == "fails" else "",
        world.estop,
        frozenset({"estop"}),
    )
    state, decision = supervisor.step(model.settings, before, told, now)
    remember(world, before, state, told, decision, now)
    return Edge(model, node, Node(state, world, now), ask, told, asked, decision, broken, closing)


def _since(t: float | None, now: float, *, holds: bool) -> float | None:
    return (now if t is None else t) if holds else None


def remember(
    world: World, before: Supervisor, state: Supervisor, told: StepInputs, decision: Decision, now: float
) -> None:
    """History: since when what has been so, as the properties count it."""
    drive, old, where = state.drive, before.drive, state.phase.state
    if (drive.mode, drive.setpoint, drive.epoch) != (old.mode, old.setpoint, old.epoch):
        world.dirty = True
    acting = where is not State.BOOT
    if acting:
        world.live_t = now
    world.danger_t = _since(world.danger_t, now, holds=acting and bool(told.facts.trips or told.estop))
    world.lost_t = _since(world.lost_t, now, holds=acting and bool(told.facts.unknown))
    world.fine_t = _since(world.fine_t, now, holds=not (told.facts.trips or told.facts.unknown or told.estop))
    world.zero_t = _since(world.zero_t, now, holds=drive.setpoint == 0)
    if world.zero_t == now and now - before.turned > COMM_TIMER_S:  # silence that long orders zero too
        world.zero_t = before.turned
    board = world.board
    shown = acting and board.t == now and board.pins is not None
    world.wrong_t = _since(
        world.wrong_t, now, holds=shown and bool((board.pins or 0) & RELAYS ^ before.outputs.mask & RELAYS)
    )
    if world.started_t is not None and not (
        where is State.BOOT or (where is State.STOPPING and state.phase.origin is State.BOOT)
    ):
        world.started_t = None
    if where in UNASKED:
        world.asked = False
    elif any(answer.status == "accepted" and answer.target in DRIVES for answer in decision.answers):
        world.asked, world.asked_t = True, now
    world.broker_t = _since(world.broker_t, now, holds=not world.broker)
    if where is State.CONNECTING and before.phase.state is not State.CONNECTING:
        world.checked = world.welded
    if world.precharge_fails:  # the precharge path does not conduct: a weld of relay 2 or 3 shows on nothing
        world.checked &= R1
    _excuse(world, before, state)


def _excuse(world: World, before: Supervisor, state: Supervisor) -> None:
    """Whoever resets the latch of a weld has looked at the hardware: until it closes again no weld needs to be said."""
    gone = {latch.id for latch in before.latches} - {latch.id for latch in state.latches}
    if any(name.startswith("relays.weld") for name in gone):
        world.excused = True
    if state.phase.state is State.READY:
        world.excused = False


def jump(node: Node, ticks: int) -> Node:
    """Nothing happens for a while: what is fresh stays fresh, everything else ages."""
    state, old, now = node.state, node.world, node.now + ticks * TICK_S
    world = old.clone()
    for name in ("fed_t", "timer_t", "live_t"):
        if getattr(old, name) == node.now:
            setattr(world, name, now)
    seq = round(now * 2)
    if old.inverter.t == node.now:
        world.inverter = old.inverter._replace(t=now, seq=seq)
        world.current_sample = old.current_sample and old.current_sample._replace(t=now, seq=seq)
        world.link_sample = old.link_sample and old.link_sample._replace(t=now, seq=seq)
    if old.board.t == node.now:
        world.board = old.board._replace(t=now)
    if state is not None and state.turned == node.now:
        drive = state.drive
        state = replace(
            state,
            turned=now,
            drive=replace(drive, limited_at=now) if drive.limited_at == node.now else drive,
            phase=replace(state.phase, calm_seq=seq) if state.phase.calm_seq == old.inverter.seq else state.phase,
        )
    return Node(state, world, now)


def root(model: Model) -> Node:
    """A fresh agent on an open, discharged rig."""
    world = World(started_t=100.0)
    return Node(started(model, world, 100.0), world, 100.0)


__all__ = ["DEAD", "NEVER", "REST", "Edge", "Node", "environment", "jump", "root", "tick"]
