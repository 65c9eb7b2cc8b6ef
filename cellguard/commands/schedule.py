"""`cellguard schedule check`: does the guard understand this file, and what would it do to the pack?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from edge_agent.guard.safety.interface import ScheduleFile
from shared.errors import ConfigError

_S_PER_H = 3600.0
_PACK_V = 360.0
"""The lab's pack, 96 cells of 3.75 V: turns Ah into kWh and back where nobody says otherwise."""


@click.group(name="schedule")
def command() -> None:
    """Check schedule files."""


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--max-current", type=click.FloatRange(min=0.0), metavar="A", help="Refuse steps above this current.")
@click.option("--max-power", type=click.FloatRange(min=0.0), metavar="KW", help="Refuse steps above this power.")
@click.option("--pack-voltage", type=click.FloatRange(min=1.0), default=_PACK_V, show_default=True, metavar="V",
              help="Between Ah and kWh.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(
    *, file: Path, max_current: float | None, max_power: float | None, pack_voltage: float, as_json: bool
) -> None:
    """Read a schedule as the guard would: how long, how much, and how it looks; exit 78 names the line that is wrong."""
    import orjson

    from cellguard.schedule_plot import plot

    parsed = _read(file)
    _refuse_above(file, parsed, {"A": max_current, "kW": max_power}[parsed.unit])
    summary = _summary(parsed, pack_voltage)
    if as_json:
        click.echo(orjson.dumps(summary))
        return
    click.echo(_sentence(file, summary, pack_voltage))
    for row in plot(parsed.steps, parsed.unit):
        click.echo(row)


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


def _summary(parsed: ScheduleFile, pack_v: float) -> dict[str, object]:
    """Duration, charge (Ah) and energy (kWh) each way; + discharge. One of the two follows from the pack's voltage.

    Steps with an end condition count as if it were never met: all sums are then the most there can be.
    """
    steps = parsed.steps
    amounts = [step.duration_s * step.setpoint / _S_PER_H for step in steps]
    ah, kwh = (1.0, pack_v / 1000.0) if parsed.unit == "A" else (1000.0 / pack_v, 1.0)
    out, back = (sum(max(sign * amount, 0.0) for amount in amounts) for sign in (1.0, -1.0))
    return {
        "unit": parsed.unit,
        "steps": len(steps),
        "duration_s": sum(step.duration_s for step in steps),
        "end_conditions": sum(step.end is not None for step in steps),
        "discharged_ah": round(out * ah, 6),
        "charged_ah": round(back * ah, 6),
        "discharged_kwh": round(out * kwh, 6),
        "charged_kwh": round(back * kwh, 6),
        "largest": max((abs(step.setpoint) for step in steps), default=0.0),
    }


def _sentence(file: Path, summary: dict[str, object], pack_v: float) -> str:
    duration = timedelta(seconds=float(str(summary["duration_s"])))
    ends = summary["end_conditions"]
    most = f" at most, for {ends} of them may end early" if ends else ""
    return (
        f"{file}: {summary['steps']} steps in {summary['unit']}, {duration} (h:mm:ss){most}, at most {summary['largest']} "
        f"{summary['unit']}; discharges {summary['discharged_ah']} Ah = {summary['discharged_kwh']} kWh, "
        f"charges {summary['charged_ah']} Ah = {summary['charged_kwh']} kWh (at {pack_v:g} V)"
    )
