"""The dashboard Test run: the schedule against what was measured, charge and energy."""

from __future__ import annotations

from cellguard.dashboards.catalog import LIMITS, unit
from cellguard.dashboards.layout import Dashboard, Row
from cellguard.dashboards.panel import Panel
from cellguard.dashboards.query import Query, changes, high, last, low, mean, series, where

SAMPLE_S = 10
"""Charge is summed up from means of this many seconds: where nothing was measured, nothing is counted."""

_WAYS = {"discharged": "{0} + ABS({0})", "charged": "ABS({0}) - {0}"}
"""Twice the current of one direction, + is discharge."""


def dashboard() -> Dashboard:
    """The whole of it."""
    rows = (Row("Schedule", _schedule()), Row("Charge and energy", _charge()), Row("Battery", _battery()))
    return Dashboard("cellguard-test-run", "Test run", "A schedule and what the pack did.", rows)


def _schedule() -> tuple[Panel, ...]:
    step = series("schedule", {"step": last("step"), "of": last("steps")})
    elapsed = series("schedule", {"elapsed": last("elapsed_s")})
    return (
        Panel("State", (changes("schedule", {"word": "state"}),), "word", width=4, height=4, live=True),
        Panel("Step", (step,), "stat", width=4, height=4, step="5s", live=True),
        Panel("Elapsed", (elapsed,), "stat", "s", width=4, height=4, step="5s", live=True),
        Panel("Schedule", (changes("schedule", {"state": "state", "file": "file"}),), "state-timeline", height=4),
        _followed("Current: setpoint and measured", "current", "A"),
        _followed("Power: setpoint and measured", "power", "kW"),
    )


def _followed(title: str, field: str, unit_of_schedule: str) -> Panel:
    setpoint = series("schedule", {"setpoint": last("setpoint")}, f"\"unit\" = '{unit_of_schedule}'")
    measured = series("inverter", {"measured": mean(field)})
    return Panel(title, (setpoint, measured), unit=unit("inverter", field), height=9, step="2s")


def _charge() -> tuple[Panel, ...]:
    charge = tuple(_running(label, "current", way) for label, way in _WAYS.items())
    energy = tuple(_running(label, "power", way) for label, way in _WAYS.items())
    return (
        Panel("Charge", charge, unit="Ah", width=9, step=f"{SAMPLE_S}s"),
        Panel("Charge in the time shown", charge, "stat", "Ah", width=3, step=f"{SAMPLE_S}s"),
        Panel("Energy", energy, unit="kWh", width=9, step=f"{SAMPLE_S}s"),
        Panel("Energy in the time shown", energy, "stat", "kWh", width=3, step=f"{SAMPLE_S}s"),
    )


def _samples(field: str, way: str) -> str:
    """Ah or kWh of each sample, of one direction."""
    once = way.format(f'"{field}"')
    inner = f'SELECT ({once}) / 2 AS "x" FROM "inverter" {where()}'
    return f'SELECT MEAN("x") * {SAMPLE_S} / 3600 AS "x" FROM ({inner}) WHERE $timeFilter GROUP BY time({SAMPLE_S}s) fill(none)'


def _running(label: str, field: str, way: str) -> Query:
    outer = f'SELECT CUMULATIVE_SUM(SUM("x")) AS "{label}" FROM ({_samples(field, way)})'
    return Query(f"{outer} WHERE $timeFilter GROUP BY time($__interval) fill(none)")


def _battery() -> tuple[Panel, ...]:
    cells = {"lowest": low("Min_Cell_Voltage"), "highest": high("Max_Cell_Voltage")}
    hot = {"hottest": high("CMA_Max_Temp"), "coldest": low("CMA_Min_Temp")}
    return (
        Panel(
            "Cells", (series("module", cells),), unit=unit("module", "Min_Cell_Voltage"), limits=LIMITS["cell_voltage"]
        ),
        Panel(
            "Temperatures", (series("module", hot),), unit=unit("module", "CMA_Max_Temp"), limits=LIMITS["temperature"]
        ),
    )
