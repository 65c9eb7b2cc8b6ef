"""The dashboard Modules: one row a module with its cells, temperatures and spread."""

from __future__ import annotations

from cellguard.dashboards.catalog import LIMITS, matching, unit
from cellguard.dashboards.layout import Dashboard, Row
from cellguard.dashboards.panel import Panel
from cellguard.dashboards.query import MODULE, mean, series


def dashboard() -> Dashboard:
    """The whole of it."""
    row = Row("Module $module", (_cells(), _temperatures(), _cell_spread(), _temperature_spread()), repeat="module")
    return Dashboard("cellguard-modules", "Modules", "Every module: cells, temperatures, spread.", (row,), modules=True)


def _cells() -> Panel:
    columns = {f"cell {label}": mean(signal) for label, signal in matching("module", r"Cell_(\d+)_Voltage\Z").items()}
    volts = unit("module", "Cell_1_Voltage")
    return Panel(
        "Cells", (series("module", columns, MODULE),), unit=volts, limits=LIMITS["cell_voltage"], width=12, height=9
    )


def _temperatures() -> Panel:
    columns = {f"sensor {label}": mean(signal) for label, signal in matching("module", r"CMA_Temp(\d+)\Z").items()}
    degrees = unit("module", "CMA_Temp1")
    return Panel(
        "Temperatures",
        (series("module", columns, MODULE),),
        unit=degrees,
        limits=LIMITS["temperature"],
        width=12,
        height=9,
    )


def _cell_spread() -> Panel:
    query = series("module", {"spread": 'MEAN("Max_Cell_Voltage") - MEAN("Min_Cell_Voltage")'}, MODULE)
    return Panel("Spread of the cells", (query,), unit="V", limits=LIMITS["cell_spread"], width=8, height=6)


def _temperature_spread() -> Panel:
    query = series("module", {"spread": 'MEAN("CMA_Max_Temp") - MEAN("CMA_Min_Temp")'}, MODULE)
    return Panel(
        "Spread of the temperatures", (query,), unit="K", limits=LIMITS["temperature_spread"], width=8, height=6
    )
