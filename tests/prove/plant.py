"""The abstract plant: board, inverter, relays, link, disk and the agent's process, half a second at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_agent.guard.model import RELAYS, Mode, Output
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.facts import BoardFacts, InverterFacts, Sample
from edge_agent.guard.safety.interface import Durable, Settings
from edge_agent.guard.safety.state import Supervisor

TICK_S = 0.5
PACK_V = 360.0
SETPOINT_A = 10.0
COMM_TIMER_S = 2.0
MUTE_S = 1.0
REOPEN_EXTRA_S = 1.0
LIVE, STALLED, DEAD = "live", "stalled", "dead"
OFF = (Mode.OFF, 0.0)
NEVER = float("-inf")
ALL = int(RELAYS)
R1, R2, R3 = int(Output.RELAY1), int(Output.RELAY2), int(Output.RELAY3)
MAINS = R1 | R2
PRECHARGE_PATH = R2 | R3


@dataclass(frozen=True)
class Model:
    """What a domain fixes: the settings of the agent and the kind of hardware.

    `comm_timer`: the inverter's timer acts (False: never_trips). `dtr`: opening the port resets the board. `link_full`: levels
    the link climbs, one a tick, from dead to the pack's voltage. `stale_s`, `steady_s`: how long a source may be silent, and how
    long it must speak to be believed again. `deadman_s` is 3.5 rounded up as the agent's own delays are.
    """

    settings: Settings
    comm_timer: bool = True
    dtr: bool = False
    link_full: int = 2
    stale_s: float = 1.0
    steady_s: float = 1.0
    deadman_s: float = 4.0


@dataclass
class World:
    """Everything outside `step`; a value that is cloned, never changed after it was handed on. Instants in s.

    The first block is what the environment does, the second the hardware, the third what the agent's process has sensed (it
    dies with it), the last the history that properties need.
    """

    danger: bool = False
    rule_zero: bool = False
    blocked: str = ""
    hot: bool = False
    broker: bool = True
    estop: bool = False
    can_cut: bool = False
    line_cut: bool = False
    usb_cut: bool = False
    late: frozenset[str] = frozenset()
    agent: str = LIVE
    welded: int = 0
    precharge_fails: bool = False
    link_held: bool = False
    ignores: bool = False
    stage_stuck: bool = False
    deaf: bool = False
    pins_stuck: bool = False
    disk: str = "ok"

    boot: int = 1
    pins: int = 0
    armed: bool = False
    held: bool = False
    fed_t: float = NEVER
    new_session: bool = True
    mute_until: float = NEVER
    register: tuple[Mode, float] = OFF
    timer_t: float = NEVER
    current: float = 0.0
    link: int = 0
    dirty: bool = True
    record: Durable = Durable()

    can_fresh: bool = False
    can_since: float | None = None
    danger_seen: bool = False
    line_fresh: bool = False
    line_since: float | None = None
    openings: int = 0
    inverter: InverterFacts = InverterFacts()
    current_sample: Sample | None = None
    link_sample: Sample | None = None
    port_open: bool = False
    port_lost_t: float = NEVER
    usb_fresh: bool = False
    usb_since: float | None = None
    board: BoardFacts = BoardFacts()
    late_line_t: float = NEVER
    late_usb_t: float = NEVER

    live_t: float = NEVER
    started_t: float | None = None
    danger_t: float | None = None
    lost_t: float | None = None
    zero_t: float | None = None
    wrong_t: float | None = None
    fine_t: float | None = None
    refused_t: float = NEVER
    deaf_t: float = NEVER
    untold_t: float = NEVER
    excused: bool = False
    moved_t: float = NEVER
    asked: bool = False
    asked_t: float = NEVER
    broker_t: float | None = None
    checked: int = 0
    crashed: bool = False
    apart: bool = False

    def clone(self) -> World:
        """A copy that may be changed."""
        other = World.__new__(World)
        other.__dict__.update(self.__dict__)
        return other

    @property
    def contacts(self) -> int:
        """What really conducts."""
        return self.pins | self.welded

    @property
    def closed(self) -> bool:
        """Whether the circuit is closed."""
        return (self.pins | self.welded) & MAINS == MAINS


class Seat:
    """Lets the production core turn a supervisor's state into orders, without an engine around it."""

    __slots__ = ("_settings", "_state")

    def __init__(self, settings: Settings, state: Supervisor) -> None:
        self._settings, self._state = settings, state


def orders(settings: Settings, state: Supervisor, now: float) -> tuple[Any, Any]:
    """Outputs and inverter as the production core orders them."""
    seat: Any = Seat(settings, state)
    return Core._output_order(seat, now), Core._inverter_order(seat, now)


def situation_of(settings: Settings, state: Supervisor) -> Any:
    """What the production core tells the rule engine of a state."""
    seat: Any = Seat(settings, state)
    return Core._situation(seat)


def reset_board(world: World, now: float) -> None:
    """Power-up, watchdog or DTR: relays open, unarmed, a new boot id."""
    world.boot += 1
    world.armed = world.held = False
    world.fed_t, world.mute_until, world.new_session = NEVER, now + MUTE_S, False
    if not world.pins_stuck:
        world.pins = 0


def advance(model: Model, old: World, state: Supervisor | None, now: float) -> tuple[World, str, int]:
    """The plant half a second on, under the orders of `state`; what broke the circuit under load; pins that closed.

    Relays act before the inverter does: the worse order of two commands that leave together.
    """
    world = old.clone()
    before = world.pins
    cause = ""
    outputs = inverter = None
    # the token of an order ends before the next tick when no turn renews it: what a stopped process had ordered is not written
    if state is not None and world.agent == LIVE and state.turned == now - TICK_S:
        outputs, inverter = orders(model.settings, state, now)
    if outputs is not None and outputs.feed and model.settings.arduino is not None:
        cause = _feed(model, world, int(outputs.mask) & ALL, now)
        if cause == "port" and now - old.fed_t >= model.deadman_s:
            cause = "deadman"  # it would have opened now in any case
    if not world.held and now - world.fed_t >= model.deadman_s and world.fed_t > NEVER:
        world.held, world.armed = True, False
        cause = "deadman"
    if world.held and not world.pins_stuck:
        world.pins = 0
    broken = cause if old.closed and not world.closed and old.current else ""
    closing = world.pins & ~before
    _inverter(model, world, inverter, now)
    _physics(model, world)
    if world.agent == LIVE and state is not None and world.disk == "ok":
        world.record = state.vault.record
    return world, broken, closing


def _feed(model: Model, world: World, mask: int, now: float) -> str:
    if world.usb_cut:
        return ""
    if not world.port_open:
        if not permitted(model, world, now):
            return ""
        world.port_open = True
        if model.dtr:
            reset_board(world, now)
            return "port"
    if now <= world.mute_until or world.deaf:
        return ""
    if world.new_session:
        world.new_session, world.armed = False, False
    if not mask:
        world.armed = True
    world.held, world.fed_t = False, now
    if not world.pins_stuck:
        world.pins = mask if world.armed else 0
    return "command" if world.armed else "reset"


def permitted(model: Model, world: World, now: float) -> bool:
    """Whether the driver may open the lost port again: no current is measured, or zero has been waited for (guard.board_permit)."""
    sample, lost_t = world.current_sample, world.port_lost_t
    calm = sample is not None and sample.t > lost_t and not sample.value
    return calm or now - lost_t > REOPEN_EXTRA_S + model.settings.wait_s


def _inverter(model: Model, world: World, order: Any, now: float) -> None:
    if order is not None and not world.line_cut:
        world.timer_t = now
        if world.dirty:
            world.dirty = False
            if not world.ignores:
                world.register = (order.mode, order.setpoint)
    elif model.comm_timer and now - world.timer_t >= COMM_TIMER_S:
        world.register = OFF


def _physics(model: Model, world: World) -> None:
    contacts = world.pins | world.welded
    closed = contacts & MAINS == MAINS
    if not closed:
        world.current = 0.0
    elif not world.stage_stuck:
        world.current = world.register[1] if world.register[0] is not Mode.OFF else 0.0
    if closed:
        world.link = model.link_full
    elif contacts & PRECHARGE_PATH == PRECHARGE_PATH and not world.precharge_fails:
        world.link = min(model.link_full, world.link + 1)
    elif not world.link_held:
        world.link = max(0, world.link - 1)
