"""`cellguard schedule check`: does the guard understand this file, and what would it do to the pack?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from edge_agent.guard.safety.interface import ScheduleFile
from shared.errors import ConfigError

_S_PER_H = 3600.0


@click.group(name="schedule")
def command() -> None:
    """Check schedule files."""


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--max-current", type=click.FloatRange(min=0.0), metavar="A", help="Refuse steps above this current.")
@click.option("--max-power", type=click.FloatRange(min=0.0), metavar="KW", help="Refuse steps above this power.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(*, file: Path, max_current: float | None, max_power: float | None, as_json: bool) -> None:
    """Read a schedule as the guard would; exit 78 names the line that is wrong."""
    import orjson

    parsed = _read(file)
    _refuse_above(file, parsed, {"A": max_current, "kW": max_power}[parsed.unit])
    summary = _summary(parsed)
    click.echo(orjson.dumps(summary) if as_json else _sentence(file, summary))


def _read(file: Path) -> ScheduleFile:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(str(file), "", f"a readable file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}: line {line}", f"byte 0x{error.object[error.start]:02x}", "UTF-8") from error
    from edge_agent.guard.safety.schedule import ScheduleFault, parse

    try:
        return parse(text, file.name)
    except ScheduleFault as fault:
        raise ConfigError(f"{file}: line {fault.line}", fault.given, fault.allowed) from fault


def _refuse_above(file: Path, parsed: ScheduleFile, limit: float | None) -> None:
    for number, step in enumerate(parsed.steps, start=1):
        if limit is not None and abs(step.setpoint) > limit:
            given = f"{step.setpoint:g} {parsed.unit}"
            raise ConfigError(f"{file}: step {number}", given, f"at most ±{limit:g} {parsed.unit}")


def _summary(parsed: ScheduleFile) -> dict[str, object]:
    """Duration, and the charge (Ah) or energy (kWh) each way; + discharge."""
    steps = parsed.steps
    amounts = [step.duration_s * step.setpoint / _S_PER_H for step in steps]
    quantity = {"A": "ah", "kW": "kwh"}[parsed.unit]
    return {
        "unit": parsed.unit,
        "steps": len(steps),
        "duration_s": sum(step.duration_s for step in steps),
        f"discharged_{quantity}": round(sum(amount for amount in amounts if amount > 0), 6),
        f"charged_{quantity}": round(-sum(amount for amount in amounts if amount < 0), 6),
        "largest": max((abs(step.setpoint) for step in steps), default=0.0),
    }


def _sentence(file: Path, summary: dict[str, object]) -> str:
    unit = summary["unit"]
    quantity, written = {"A": ("ah", "Ah"), "kW": ("kwh", "kWh")}[str(unit)]
    duration = timedelta(seconds=float(str(summary["duration_s"])))
    return (
        f"{file}: {summary['steps']} steps in {unit}, {duration} (h:mm:ss), at most {summary['largest']} {unit}; "
        f"discharges {summary[f'discharged_{quantity}']} {written}, charges {summary[f'charged_{quantity}']} {written}"
    )
