"""What the inverter is told: schedule or leased setpoint, limits that fall at once and rise slowly, ramps, and zero elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from edge_agent.guard.model import Mode, State
from edge_agent.guard.safety.schedule import ended_early, follow
from edge_agent.guard.safety.state import NEVER, Drive, Programme
from edge_agent.guard.safety.turn import ZERO_TOLERANCE, Turn

RAMP_TICK_S = 0.1
REWRITE_AFTER_S = 1.0
RECOVER_A, RECOVER_KW = 2.0, 20.0
MODES = {"current": Mode.CURRENT, "power": Mode.POWER}
UNIT_MODES = {"A": Mode.CURRENT, "kW": Mode.POWER}


class Wish(NamedTuple):
    """What should flow if every limit allows it."""

    mode: Mode
    setpoint: float


def wish(turn: Turn) -> Wish | None:
    """What the schedule or the lease asks for now; None when nothing does."""
    return asked(turn.programme, turn.drive, turn.now)


def asked(programme: Programme, drive: Drive, now: float) -> Wish | None:
    """The same of a state that is not in a turn."""
    if programme.state == "running" and programme.file is not None:
        return Wish(UNIT_MODES[programme.file.unit], programme.file.steps[programme.step].setpoint)
    return Wish(drive.manual_mode, drive.manual) if now < drive.lease_until else None


def volts(turn: Turn) -> float:
    """The pack's voltage, for what is given in A but meant in kW."""
    inverter = turn.settings.inverter
    return turn.facts.pack_v or (inverter.max_voltage_v if inverter is not None else 1.0)


def full_limits(turn: Turn) -> tuple[float, float]:
    """Largest charge and discharge current in A, ≥ 0."""
    inverter = turn.settings.inverter
    return (0.0, 0.0) if inverter is None else (inverter.max_charge_a, inverter.max_discharge_a)


def follow_schedule(turn: Turn) -> None:
    """Move the schedule on while RUN, by time or by an end condition; at its end it is done."""
    if turn.state is not State.RUN or turn.programme.state != "running":
        return
    met = turn.inputs.met
    event = met and ended_early(turn.programme, turn.now, met)
    if event:
        turn.events.append(event)
    turn.programme = follow(turn.programme, turn.now, met and met.place)


def settle(turn: Turn) -> None:
    """Work out the order of this turn."""
    _limit(turn)
    wanted = wish(turn) if turn.state is State.RUN else None
    drive = turn.drive
    if wanted is None:
        mode = drive.mode if turn.state in {State.HOLD, State.RUN} else Mode.OFF
        _order(turn, mode, 0.0)
    elif wanted.mode is not drive.mode:
        # the old setpoint must not run in the new mode: 0 first, then ramp from there
        _order(turn, wanted.mode, 0.0)
        turn.drive = replace(turn.drive, ramped=turn.now)
    else:
        _ramp(turn, limited(turn, _recovering(turn, wanted)))
    _insist(turn)


def _order(turn: Turn, mode: Mode, setpoint: float) -> None:
    drive = turn.drive
    if (mode, setpoint) != (drive.mode, drive.setpoint):
        turn.drive = replace(drive, mode=mode, setpoint=setpoint, changed=turn.now)


def _recovering(turn: Turn, wanted: Wish) -> Wish:
    """Optional: at a voltage warning drive gently back, away from the side that warns."""
    drift = turn.facts.drift
    if not turn.settings.recover or not drift:
        return wanted
    return Wish(wanted.mode, drift * (RECOVER_KW if wanted.mode is Mode.POWER else RECOVER_A))


def limited(turn: Turn, wanted: Wish) -> float:
    """The part of the wish that is allowed now."""
    drive, inverter = turn.drive, turn.settings.inverter
    most_kw = inverter.max_power_kw if inverter is not None else 0.0
    amps = (-drive.charge_a, drive.discharge_a)
    if wanted.mode is Mode.POWER:
        low, high = (max(-most_kw, min(most_kw, a * volts(turn) / 1000.0)) for a in amps)
    else:
        most_a = most_kw * 1000.0 / volts(turn)
        low, high = (max(-most_a, min(most_a, a)) for a in amps)
    return max(low, min(high, wanted.setpoint))


def _limit(turn: Turn) -> None:
    """A blocked direction is 0 at once; it opens again at the configured rise, from there."""
    drive, facts, full = turn.drive, turn.facts, full_limits(turn)
    if drive.limited_at == NEVER or (
        not facts.charge and not facts.discharge and full == (drive.charge_a, drive.discharge_a)
    ):
        if drive.limited_at == NEVER:
            turn.drive = replace(drive, charge_a=full[0], discharge_a=full[1], limited_at=turn.now)
        return
    rise_a = turn.settings.limit_rise_a_per_s * (turn.now - drive.limited_at)
    charge_a, discharge_a = (
        0.0 if blocked else min(most, now_a + rise_a)
        for blocked, most, now_a in (
            (facts.charge, full[0], drive.charge_a),
            (facts.discharge, full[1], drive.discharge_a),
        )
    )
    turn.drive = replace(drive, charge_a=charge_a, discharge_a=discharge_a, limited_at=turn.now)


def _ramp(turn: Turn, target: float) -> None:
    """Commanded changes ramp; a limit that fell is obeyed at once."""
    drive = turn.drive
    if drive.setpoint == target:
        return
    step = turn.settings.ramp_a_per_s * RAMP_TICK_S
    if drive.mode is Mode.POWER:
        step *= volts(turn) / 1000.0
    allowed = limited(turn, Wish(drive.mode, drive.setpoint))
    if allowed != drive.setpoint:
        _order(turn, drive.mode, allowed)
    elif turn.now - drive.ramped >= RAMP_TICK_S - 1e-6:
        change = max(-step, min(step, target - drive.setpoint))
        _order(turn, drive.mode, round(drive.setpoint + change, 3) if abs(target - drive.setpoint) > step else target)
        turn.drive = replace(turn.drive, ramped=turn.now)


def _insist(turn: Turn) -> None:
    """Everything must be written again when the line was opened anew or what reads back is not what was ordered."""
    drive, seen = turn.drive, turn.facts.inverter
    if seen.opened != drive.opened:
        turn.drive = replace(drive, opened=seen.opened, epoch=drive.epoch + 1, epoch_at=turn.now)
        return
    settled = (
        turn.now - max(drive.changed, drive.epoch_at) > REWRITE_AFTER_S and seen.t > drive.changed + REWRITE_AFTER_S / 2
    )
    if not settled or seen.mode is None or seen.setpoint is None:
        return
    if seen.mode != drive.mode or abs(seen.setpoint - drive.setpoint) > ZERO_TOLERANCE:
        turn.drive = replace(turn.drive, epoch=drive.epoch + 1, epoch_at=turn.now)


def arrived(turn: Turn) -> bool:
    """Whether the ramp has ended and the setpoint reads back."""
    wanted, drive, seen = wish(turn), turn.drive, turn.facts.inverter
    if wanted is None or drive.mode is not wanted.mode or drive.setpoint != limited(turn, _recovering(turn, wanted)):
        return False
    read = seen.setpoint
    return (
        seen.t > drive.changed
        and seen.mode == drive.mode
        and read is not None
        and abs(read - drive.setpoint) < ZERO_TOLERANCE
    )
