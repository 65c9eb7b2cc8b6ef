"""The inverter's communication timer: what is on record of it, and its measurement at 0 A while no guard runs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cellguard.doctor.finding import Finding, fault, ok, unchecked
from cellguard.doctor.patient import Patient

if TYPE_CHECKING:
    from edge_agent.comm_timer import Measured
    from edge_agent.config import Inverter
    from edge_agent.guard.devices.rtu import Rtu

NAME = "comm-timer"
LISTED = "inverter_comm_timer"
NOTHING = "nothing"
FRAME_S = 0.2
"""So often something is sent while one kind of frame is tried."""
MARGIN_S = 1.0
ZERO_A = 2.0
HOW = "stop the guard, then `cellguard doctor --measure-comm-timer` (docs/hardware/checks.md)"
CURRENT, TIMER_LEFT, FAULTS, COMM_FAULT = 30267, 30262, 30272, 1 << 3


class Trial(NamedTuple):
    """One way of keeping the timer up, and what is known when it works while those before did not."""

    said: str
    rule: str
    send: Callable[[Rtu, Inverter], object]


def comm_timer(patient: Patient) -> Finding:
    """What is known of the timer that stops the inverter when the Pi dies."""
    from edge_agent.comm_timer import load

    if NAME in patient.measured:
        return patient.measured[NAME]
    settings = patient.settings.inverter
    if settings is None:
        return unchecked("no [inverter] in edge.toml")
    found = [one for folder in state_folders(patient) if (one := load(folder)) is not None]
    admitted = _admitted(patient)
    if not found or found[0].timer_s != settings.comm_timer_s:
        if admitted is False:
            return fault(f"never measured, and info does not list {LISTED} as not fail-safe", "report this as a defect")
        return unchecked(f"never measured at {settings.comm_timer_s:g} s; info lists {LISTED} as not fail-safe", HOW)
    return judge(found[0], settings.comm_timer_s)


def judge(measured: Measured, timer_s: float) -> Finding:
    """What a measurement says."""
    if measured.trusted(timer_s):
        return ok(
            f"measured on {measured.when}: trips within {timer_s + MARGIN_S:g} s, refreshed by {measured.refreshed_by}"
        )
    if measured.refreshed_by == NOTHING:
        todo = "the guard could not keep such an inverter running: ask the maker about register 41025"
        return fault(f"measured on {measured.when}: trips whatever is sent", todo)
    return fault(
        f"measured on {measured.when}: {timer_s + MARGIN_S:g} s without us do not stop the inverter",
        "do not run unattended: a dead agent gets no zero, only the Arduino opens; ask the maker about register 41025",
    )


def state_folders(patient: Patient) -> list[Path]:
    """Where the guard of this Pi keeps its state: under the units a folder of its own below [node] state_dir."""
    state = patient.settings.node.state_dir
    return [folder for folder in (state / "guard", state) if folder.is_dir()]


def _admitted(patient: Patient) -> bool | None:
    listed = patient.guard.info.get("not_fail_safe") if patient.guard is not None else None
    return LISTED in listed if isinstance(listed, list) else None


def measure(settings: Inverter, tell: Callable[[str], None]) -> Measured:
    """Try what refreshes the timer: nothing, reads, writes, writes of the timer itself. Mode and setpoint stay 0.

    Only for who knows that no guard runs and the contactors are open. Raises DeviceError, NoAnswer or ExceptionReply as
    `Rtu` does, and DeviceError when a current flows.
    """
    from edge_agent.comm_timer import Measured
    from edge_agent.guard.devices.rtu import Rtu

    line = Rtu(settings.port, settings.baudrate, settings.unit)
    line.open()
    try:
        _require_zero(line, settings)
        rule = NOTHING
        for trial in TRIALS:
            tell(trial.said)
            if not _trips(line, settings, trial):
                rule = trial.rule
                break
        _rest(line)
    finally:
        line.close()
    return Measured(rule, settings.comm_timer_s, dt.datetime.now(dt.UTC).date().isoformat())


def _require_zero(line: Rtu, settings: Inverter) -> None:
    from edge_agent.guard.codecs.inverter import signed
    from shared.errors import DeviceError

    (raw,) = line.read(CURRENT, 1)
    current = signed(raw) / settings.dc_current_scale
    if abs(current) > ZERO_A:
        raise DeviceError(f"{current:.1f} A flow: the timer is only measured at 0 A with open contactors")


def _rest(line: Rtu) -> None:
    """Mode and setpoint 0 with access given; a timer that still runs may trip then, which is the safe end."""
    from edge_agent.guard.codecs.inverter import MODE, SETPOINT
    from edge_agent.guard.codecs.inverter_writes import ACCESS_CODE, SECURITY

    line.write(SECURITY, ACCESS_CODE)
    line.write(SETPOINT, 0)
    line.write(MODE, 0)


def _set_timer(line: Rtu, settings: Inverter) -> None:
    from edge_agent.guard.codecs.inverter import SECOND
    from edge_agent.guard.codecs.inverter_writes import TIMER

    line.write(TIMER, round(settings.comm_timer_s * SECOND))


def _trips(line: Rtu, settings: Inverter, trial: Trial) -> bool:
    """Start the timer, then do nothing but one kind of thing for longer than it runs; whether it tripped."""
    from edge_agent.guard.devices.rtu import ExceptionReply

    _rest(line)
    _set_timer(line, settings)
    until = time.monotonic() + settings.comm_timer_s + MARGIN_S
    try:
        while time.monotonic() < until:
            trial.send(line, settings)
            time.sleep(FRAME_S)
    except ExceptionReply:
        pass  # a trip closes the access to write; the fault word below says whether that was it
    (faults,) = line.read(FAULTS, 1)
    return bool(faults & COMM_FAULT)


def _nothing(_line: Rtu, _settings: Inverter) -> None:
    """Silence."""


def _a_read(line: Rtu, _settings: Inverter) -> None:
    line.read(TIMER_LEFT, 1)


def _a_write(line: Rtu, _settings: Inverter) -> None:
    from edge_agent.guard.codecs.inverter import SETPOINT

    line.write(SETPOINT, 0)


TRIALS = (
    Trial("silence", "never_trips", _nothing),
    Trial("only reads", "any_frame", _a_read),
    Trial("writes of the setpoint, 0", "any_write", _a_write),
    Trial("writes of the timer, 41025", "write41025", _set_timer),
)
