"""What the agent's process senses of the plant: fresh samples, ages, and the few rules that look at its own orders."""

from __future__ import annotations

from typing import Any

from edge_agent.guard.model import Level, Output
from edge_agent.guard.safety.facts import BoardFacts, Facts, InverterFacts, Raised, Sample
from tests.prove.plant import COMM_TIMER_S, PACK_V, TICK_S, Model, World, situation_of

MISMATCH_S = 3.5
MODULES = tuple(range(1, 9))
DANGER = Raised("module-01.temperature_high", Level.DANGER)
CURRENT_WHILE_OPEN = Raised("pack.current_while_open", Level.CRITICAL)
READBACK = Raised("inverter.readback", Level.FAULT)


def forget(world: World) -> None:
    """A new process: nothing has been sensed."""
    world.can_fresh = world.line_fresh = world.usb_fresh = world.danger_seen = world.port_open = False
    world.can_since = world.line_since = world.usb_since = None
    world.inverter, world.current_sample, world.link_sample, world.board = InverterFacts(), None, None, BoardFacts()
    world.openings, world.boot = 0, 1


def sense(model: Model, world: World, now: float) -> None:
    """Take the samples of this tick; freshness as the production engine judges it, CAN lost at once."""
    _can(model, world, now)
    if model.settings.inverter is not None:
        _line(model, world, now)
    if model.settings.arduino is not None:
        _usb(model, world, now)
    world.late = frozenset()


def _can(model: Model, world: World, now: float) -> None:
    if world.can_cut:
        world.can_fresh, world.can_since = False, None
        return
    if world.can_since is None:
        world.can_since = now
    world.can_fresh = world.can_fresh or now - world.can_since >= model.steady_s
    world.danger_seen = world.danger


def _line(model: Model, world: World, now: float) -> None:
    if not world.line_cut and "line" not in world.late:
        mode, setpoint = world.register
        seq = round(now * 2)
        timed_out = model.comm_timer and now - world.timer_t >= COMM_TIMER_S
        world.inverter = InverterFacts(seq, now, int(mode), setpoint, world.openings, timed_out)
        world.current_sample = Sample(seq, now, world.current)
        world.link_sample = Sample(seq, now, world.link * PACK_V / model.link_full)
        if world.line_since is None:
            world.line_since = now
        world.line_fresh = world.line_fresh or now - world.line_since >= model.steady_s
    elif now - world.inverter.t >= model.stale_s + TICK_S:
        world.line_fresh, world.line_since = False, None


def _usb(model: Model, world: World, now: float) -> None:
    v1 = model.settings.arduino.protocol == "v1"
    stale_s = 5.0 if v1 else model.stale_s
    if world.port_open and not world.usb_cut and now > world.mute_until and "usb" not in world.late:
        pins = None if v1 else Output(world.pins)
        world.board = BoardFacts(1, now, world.boot, world.armed, world.held, pins)
        if world.usb_since is None:
            world.usb_since = now
        world.usb_fresh = world.usb_fresh or now - world.usb_since >= model.steady_s
    elif now - world.board.t >= stale_s + TICK_S:
        world.usb_fresh, world.usb_since = False, None


def recent(model: Model, world: World, now: float) -> bool:
    """Whether the last poll is young enough to be a measurement, steady or not."""
    return now - world.inverter.t < model.stale_s + TICK_S


def facts(model: Model, world: World, before: Any, now: float) -> Facts:
    """What `step` is told now; `before` is the state whose situation the core has told the engine."""
    settings = model.settings
    line = world.line_fresh
    unknown = tuple(
        name
        for name, needed, fresh in (
            ("arduino.stale", settings.arduino is not None, world.usb_fresh),
            ("inverter.stale", settings.inverter is not None, line),
            ("module-01.stale", True, world.can_fresh),
        )
        if needed and not fresh
    )
    blind = settings.link_voltage == "none"
    return Facts(
        trips=_trips(model, world, before, now),
        unknown=unknown,
        zero=("pack.current_against_command",) if world.rule_zero else (),
        charge=("module-01.temperature_low",) if world.blocked in {"charge", "both"} else (),
        discharge=("module-01.temperature_low",) if world.blocked in {"discharge", "both"} else (),
        heat=2 if world.hot or not world.can_fresh or (settings.arduino is not None and not world.usb_fresh) else 0,
        present=MODULES if world.can_fresh else (),
        current=world.current_sample if recent(model, world, now) else None,
        link=world.link_sample if line and not blind else None,
        pack_v=PACK_V if world.can_fresh else None,
        inverter=world.inverter,
        board=world.board,
    )


def _trips(model: Model, world: World, before: Any, now: float) -> tuple[Raised, ...]:
    trips = [DANGER] if world.danger_seen else []
    sample = world.current_sample
    if sample is None or sample.t != now:
        return tuple(trips)
    drive = before.drive
    wrong = (world.inverter.mode, world.inverter.setpoint) != (int(drive.mode), drive.setpoint)
    if sample.value or wrong:
        situation = situation_of(model.settings, before)
        if situation.opened and sample.value:
            trips.append(CURRENT_WHILE_OPEN)
        if situation.closed and wrong and now - drive.changed > MISMATCH_S:
            trips.append(READBACK)
    return tuple(trips)
