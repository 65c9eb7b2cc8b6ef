"""Schedules: the lab's CSV read strictly, and a runner that counts monotonic seconds while it runs."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from typing import Literal

from edge_agent.guard.safety.interface import InverterSettings, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.state import Programme

HEADERS: dict[str, Literal["A", "kW"]] = {"Current [A]": "A", "Power [kW]": "kW"}
FIRST_COLUMN = "Interval [s]"
MOST_STEPS = 100_000
MOST_STEP_S = 7 * 86400.0
MODE_UNITS = {"current": "A", "power": "kW"}


@dataclass
class ScheduleFault(ValueError):
    """A line of a schedule that cannot be used: its number (from 1), what stands there, what is allowed."""

    line: int
    given: str
    allowed: str

    def __str__(self) -> str:
        return f"line {self.line}: given {self.given!r}; allowed: {self.allowed}"


def parse(text: str, name: str) -> ScheduleFile:
    """The schedule in `text`, a CSV whose header names the quantity of its second column; a BOM is ignored.

    Raises:
        ScheduleFault: the first line that is wrong. A file without any step is wrong too.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    header = [field.strip() for field in lines[0].split(",")] if lines else []
    allowed = " or ".join(f"{FIRST_COLUMN},{quantity}" for quantity in HEADERS)
    if len(header) != 2 or header[0] != FIRST_COLUMN or header[1] not in HEADERS:
        raise ScheduleFault(1, lines[0][:80] if lines else "", f"the header {allowed}")
    steps = tuple(_step(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip())
    if not steps:
        raise ScheduleFault(len(lines), "", "at least one step: seconds,setpoint")
    if len(steps) > MOST_STEPS:
        raise ScheduleFault(MOST_STEPS + 2, "", f"at most {MOST_STEPS} steps")
    return ScheduleFile(name, HEADERS[header[1]], steps)


def _step(number: int, line: str) -> ScheduleStep:
    try:
        fields = next(csv.reader([line], strict=True))
        seconds, setpoint = (float(field) for field in fields)
    except (csv.Error, StopIteration, ValueError) as error:
        raise ScheduleFault(number, line[:80], "two numbers: seconds,setpoint") from error
    if not 0.0 < seconds <= MOST_STEP_S:
        raise ScheduleFault(number, line[:80], f"seconds above 0 and at most {MOST_STEP_S:.0f}")
    if not math.isfinite(setpoint):
        raise ScheduleFault(number, line[:80], "a finite setpoint")
    return ScheduleStep(seconds, setpoint)


def obstacle(schedule: ScheduleFile, inverter: InverterSettings, pack_v: float) -> tuple[str, str] | None:
    """Why it cannot run on this rig, as (code, reason); None when it can. Steps count from 1."""
    if schedule.unit != MODE_UNITS[inverter.mode]:
        return "E_FILE", f'{schedule.name} is in {schedule.unit}, but [inverter] mode = "{inverter.mode}"'
    for number, step in enumerate(schedule.steps, start=1):
        excess = over_limit(inverter, schedule.unit, step.setpoint, pack_v)
        if excess:
            return "E_LIMIT", f"{schedule.name} step {number}: {excess}"
    return None


def over_limit(inverter: InverterSettings, unit: str, setpoint: float, pack_v: float) -> str:
    """What limit a setpoint breaks, in words; "" when none."""
    if unit == "A":
        limit = inverter.max_discharge_a if setpoint > 0 else inverter.max_charge_a
        power_kw = abs(setpoint) * pack_v / 1000.0
    else:
        limit, power_kw = inverter.max_power_kw, 0.0
    if abs(setpoint) > limit:
        return f"{setpoint:g} {unit} is beyond {limit:g} {unit}"
    if power_kw > inverter.max_power_kw:
        return f"{setpoint:g} A at {pack_v:.0f} V is {power_kw:.1f} kW, beyond {inverter.max_power_kw:g} kW"
    return ""


def started(schedule: ScheduleFile, now: float) -> Programme:
    """The programme at its first step."""
    return Programme("running", schedule, 0.0, now, 0, schedule.steps[0].duration_s)


def elapsed_s(programme: Programme, now: float) -> float:
    """Seconds that it has run, pauses left out."""
    return programme.elapsed_s + (now - programme.resumed if programme.state == "running" else 0.0)


def follow(programme: Programme, now: float) -> Programme:
    """The programme at the step that `now` falls into, or done; ends are sums of durations, so nothing drifts."""
    assert programme.file is not None
    elapsed, steps = elapsed_s(programme, now), programme.file.steps
    step, end_s = programme.step, programme.step_end_s
    while elapsed >= end_s and step < len(steps):
        step += 1
        end_s += steps[step].duration_s if step < len(steps) else 0.0
    if step == programme.step:
        return programme
    if step >= len(steps):
        return replace(programme, state="done", step=len(steps) - 1, elapsed_s=end_s)
    return replace(programme, step=step, step_end_s=end_s)


def paused(programme: Programme, now: float) -> Programme:
    """Held at 0, to be resumed by a command only; anything that does not run stays as it is."""
    if programme.state != "running":
        return programme
    return replace(programme, state="paused", elapsed_s=elapsed_s(programme, now))


def resumed(programme: Programme, now: float) -> Programme:
    """Going on where it was paused."""
    return replace(programme, state="running", resumed=now)


def aborted(programme: Programme, now: float) -> Programme:
    """Ended before its time; it cannot be resumed."""
    if programme.state not in {"running", "paused"}:
        return programme
    return replace(programme, state="aborted", elapsed_s=elapsed_s(programme, now))
