"""Schedules: the lab's CSV read strictly, and a runner that counts monotonic seconds while it runs."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from edge_agent.guard.safety.interface import EndCondition, InverterSettings, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.state import Programme

HEADERS: dict[str, Literal["A", "kW"]] = {"Current [A]": "A", "Power [kW]": "kW"}
FIRST_COLUMN, END_COLUMN = "Interval [s]", "End"
CONDITION = re.compile(r"([\w-]+)\.(\w+) *(<=|>=) *(\S+)", re.ASCII)
MOST_STEPS = 100_000
MOST_ROUNDS = 1000
LEAST_ROUND_S = 1.0
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

    A third column, `End`, may hold a condition that ends the step before its time.

    Raises:
        ScheduleFault: the first line that is wrong. A file without any step is wrong too.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    header = [field.strip() for field in lines[0].split(",")] if lines else []
    allowed = " or ".join(f"{FIRST_COLUMN},{quantity}" for quantity in HEADERS)
    if header not in [[FIRST_COLUMN, quantity, *end] for quantity in HEADERS for end in ([], [END_COLUMN])]:
        raise ScheduleFault(1, lines[0][:80] if lines else "", f"the header {allowed}, then ,{END_COLUMN} or nothing")
    most = len(header)
    steps = tuple(_step(number, line, most) for number, line in enumerate(lines[1:], start=2) if line.strip())
    if not steps:
        raise ScheduleFault(len(lines), "", "at least one step: seconds,setpoint")
    if len(steps) > MOST_STEPS:
        raise ScheduleFault(MOST_STEPS + 2, "", f"at most {MOST_STEPS} steps")
    return ScheduleFile(name, HEADERS[header[1]], steps)


def _step(number: int, line: str, most: int) -> ScheduleStep:
    try:
        fields = next(csv.reader([line], strict=True))
        seconds, setpoint = (float(field) for field in fields[:2])
    except (csv.Error, StopIteration, ValueError) as error:
        raise ScheduleFault(number, line[:80], "two numbers: seconds,setpoint") from error
    if len(fields) > most:
        raise ScheduleFault(number, line[:80], f"{most} columns, as in the header")
    if not 0.0 < seconds <= MOST_STEP_S:
        raise ScheduleFault(number, line[:80], f"seconds above 0 and at most {MOST_STEP_S:.0f}")
    if not math.isfinite(setpoint):
        raise ScheduleFault(number, line[:80], "a finite setpoint")
    return ScheduleStep(seconds, setpoint, _end(number, fields[2].strip() if len(fields) > 2 else ""))


def _end(number: int, text: str) -> EndCondition | None:
    if not text:
        return None
    match = CONDITION.fullmatch(text)
    try:
        limit = float(match[4]) if match else math.nan
    except ValueError:
        limit = math.nan
    if match is None or not math.isfinite(limit):
        raise ScheduleFault(
            number, text[:80], "no end, or one condition: SOURCE.SIGNAL<=NUMBER or SOURCE.SIGNAL>=NUMBER"
        )
    return EndCondition(match[1], match[2], match[3] == ">=", limit, number)


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


def too_short(schedule: ScheduleFile, rounds: int) -> str:
    """Why it cannot be repeated, in words; "" when it can. One turn must never have to catch up on many rounds."""
    if rounds == 1 or sum(step.duration_s for step in schedule.steps) >= LEAST_ROUND_S:
        return ""
    return f"{schedule.name}: to be repeated it must last {LEAST_ROUND_S:g} s or more"


def started(schedule: ScheduleFile, now: float, rounds: int = 1) -> Programme:
    """The programme at its first step, to be run `rounds` times."""
    return Programme("running", schedule, 0.0, now, 0, schedule.steps[0].duration_s, 0, rounds)


class Place(NamedTuple):
    """Where a programme is. Each start and each resumption makes other places of the same steps."""

    resumed: float
    round: int
    step: int


class Met(NamedTuple):
    """The end condition at `place` is met: by which sample."""

    place: Place
    source: str
    value: float


def place(programme: Programme) -> Place | None:
    """Where it is while it runs."""
    return Place(programme.resumed, programme.round, programme.step) if programme.state == "running" else None


def elapsed_s(programme: Programme, now: float) -> float:
    """Seconds that it has run, pauses left out."""
    return programme.elapsed_s + (now - programme.resumed if programme.state == "running" else 0.0)


def follow(programme: Programme, now: float, met: Place | None = None) -> Programme:
    """The programme at the step that `now` falls into, or done; ends are sums of durations, so nothing drifts.

    `met`: the place whose end condition is met; that step ends now, if its time is not over yet, and the next ones count from here.
    """
    assert programme.file is not None
    elapsed, steps = elapsed_s(programme, now), programme.file.steps
    total, first = programme.rounds * len(steps), programme.round * len(steps) + programme.step
    end_s = min(elapsed, programme.step_end_s) if met and met == place(programme) else programme.step_end_s
    step = first
    while elapsed >= end_s and step < total:
        step += 1
        end_s += steps[step % len(steps)].duration_s if step < total else 0.0
    if step == first:
        return programme
    if step >= total:
        return replace(programme, state="done", round=programme.rounds - 1, step=len(steps) - 1, elapsed_s=end_s)
    return replace(programme, round=step // len(steps), step=step % len(steps), step_end_s=end_s)


def ended_early(programme: Programme, now: float, met: Met) -> dict[str, object] | None:
    """The event of the step under way that `met` ends; None when it is another's, or the step's time is over anyway."""
    elapsed = elapsed_s(programme, now)
    if programme.file is None or met.place != place(programme) or elapsed >= programme.step_end_s:
        return None
    step = programme.file.steps[programme.step]
    assert step.end is not None
    return {
        "kind": "schedule", "file": programme.file.name, "step": programme.step + 1, "steps": len(programme.file.steps),
        "round": programme.round + 1, "rounds": programme.rounds, "reason": str(step.end), "source": met.source,
        "value": round(met.value, 6), "limit": step.end.limit, "after_s": round(elapsed - programme.step_end_s + step.duration_s, 3),
    }  # fmt: skip


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
