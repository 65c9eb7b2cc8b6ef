"""The dashboard Pack: the whole battery at a glance, live and by the minute."""

from __future__ import annotations

from cellguard.dashboards.catalog import LIMITS, unit
from cellguard.dashboards.layout import Dashboard, Row
from cellguard.dashboards.panel import Panel
from cellguard.dashboards.query import Query, changes, high, last, low, mean, series, where

VOLTAGE = "sum of the modules heard"

_SUM = Query(
    f'SELECT SUM("v") AS "{VOLTAGE}" FROM (SELECT MEAN("CMA_Voltage") AS "v" FROM "module" {where()} '
    'GROUP BY time($__interval), "module" fill(none)) WHERE $timeFilter GROUP BY time($__interval) fill(null)'
)
_OUTPUTS = ("pump", "fan", "relay1", "relay2", "relay3")


def dashboard() -> Dashboard:
    """The whole of it."""
    rows = (
        Row("Now", _now()),
        Row("Electrical", _electrical()),
        Row("Thermal", _thermal()),
        Row("By the minute", _minutes()),
    )
    return Dashboard(
        "cellguard-pack", "Pack", "The pack as a whole: voltages, current, power, temperatures, outputs.", rows
    )


def _tile(title: str, query: Query, signal: tuple[str, str], limits: str = "") -> Panel:
    return Panel(title, (query,), "stat", unit(*signal), LIMITS.get(limits), width=4, height=4, live=True)


def _now() -> tuple[Panel, ...]:
    tiles = (
        _tile("Current", series("inverter", {"current": last("current")}), ("inverter", "current")),
        _tile("Power", series("inverter", {"power": last("power")}), ("inverter", "power")),
        _tile(
            "Lowest cell",
            series("module", {"low": low("Min_Cell_Voltage")}),
            ("module", "Min_Cell_Voltage"),
            "cell_voltage",
        ),
        _tile(
            "Highest cell",
            series("module", {"high": high("Max_Cell_Voltage")}),
            ("module", "Max_Cell_Voltage"),
            "cell_voltage",
        ),
        _tile("Hottest", series("module", {"hot": high("CMA_Max_Temp")}), ("module", "CMA_Max_Temp"), "temperature"),
    )
    state = Panel("State", (changes("safety", {"word": "state"}),), "word", width=4, height=4, live=True)
    guard = changes("safety", {"state": "state", "level": "level"})
    pins = changes("outputs", {output: f"{output}_readback" for output in _OUTPUTS})
    return (
        state,
        *tiles,
        Panel("Guard", (guard,), "state-timeline", height=6),
        Panel("Outputs", (pins,), "state-timeline", height=6, about="What was read back at the pins."),
    )


def _electrical() -> tuple[Panel, ...]:
    inverter = series("inverter", {"pack side": mean("battery_voltage"), "link side": mean("dc_bus_voltage")})
    by_module = series("module", {"v": mean("CMA_Voltage")}, by="module", alias="module $tag_module")
    cells = {"lowest": low("Min_Cell_Voltage"), "highest": high("Max_Cell_Voltage")}
    charge = series("module", {"soc": mean("SOC")}, by="module", alias="module $tag_module")
    volts = unit("inverter", "battery_voltage")
    return (
        Panel("Voltage", (_SUM, inverter), unit=volts, limits=LIMITS["bus_voltage"]),
        Panel("Current", (series("inverter", {"current": mean("current")}),), unit=unit("inverter", "current")),
        Panel("Module voltages", (by_module,), unit=unit("module", "CMA_Voltage"), limits=LIMITS["module_voltage"]),
        Panel("Cells of the pack", (series("module", cells),), unit=unit("module", "Min_Cell_Voltage"), limits=LIMITS["cell_voltage"]),
        Panel("Power", (series("inverter", {"power": mean("power")}),), unit=unit("inverter", "power")),
        Panel("State of charge", (charge,), unit=unit("module", "SOC")),
        Panel("Phases", (series("inverter", {phase: mean(f"phase_{phase}_voltage") for phase in "abc"}),), unit=volts),
        Panel("Pressure", (series("arduino", {"pressure": mean("press")}),), unit=unit("arduino", "press"), limits=LIMITS["pressure"]),
    )  # fmt: skip


def _thermal() -> tuple[Panel, ...]:
    cells = {"hottest": high("CMA_Max_Temp"), "coldest": low("CMA_Min_Temp")}
    inverter = {"heat sink": mean("heat_sink_temperature"), "cabinet": mean("ambient_temperature")}
    sensors = {name: mean(name) for name in ("temp1", "temp2")}
    return (
        Panel(
            "Modules",
            (series("module", cells),),
            unit=unit("module", "CMA_Max_Temp"),
            limits=LIMITS["temperature"],
            width=8,
        ),
        Panel(
            "Thermistors",
            (series("arduino", sensors),),
            unit=unit("arduino", "temp1"),
            limits=LIMITS["thermistor"],
            width=8,
        ),
        Panel("Inverter", (series("inverter", inverter),), unit=unit("inverter", "heat_sink_temperature"), width=8),
    )


def _minutes() -> tuple[Panel, ...]:
    """From the 1-minute series: months at once, and no peak is lost."""
    current = {"min": low("current_min"), "mean": mean("current_mean"), "max": high("current_max")}
    cells = {"lowest": low("Min_Cell_Voltage_min"), "highest": high("Max_Cell_Voltage_max")}
    hot = {"hottest": high("CMA_Max_Temp_max"), "coldest": low("CMA_Min_Temp_min")}
    return tuple(
        Panel(title, (series(measurement, columns),), unit=unit(*signal), limits=LIMITS.get(limits), width=8, step="1m")
        for title, measurement, columns, signal, limits in (
            ("Current by the minute", "inverter_1m", current, ("inverter", "current"), ""),
            ("Cells by the minute", "module_1m", cells, ("module", "Min_Cell_Voltage"), "cell_voltage"),
            ("Temperatures by the minute", "module_1m", hot, ("module", "CMA_Max_Temp"), "temperature"),
        )
    )
