"""The pack on a terminal: tables of modules, inverter and outputs, alarms, drawn from a `View`."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cellguard.tolerant import Body, listed, printable, table
from cellguard.view import View

STALE_S = 2.0
_FILE_COLUMNS = 200
_LEVEL_STYLE = {"WARNING": "yellow", "DANGER": "red", "FAULT": "red", "CRITICAL": "bold white on red"}
_STATE_STYLE = {
    "RUN": "green",
    "READY": "green",
    "HOLD": "yellow",
    "LATCHED": "bold red",
    "online": "green",
    "degraded": "yellow",
}
MODULE_COLUMNS = (
    ("V", "CMA_Voltage", 2),
    ("A", "CMA_Current", 1),
    ("cell min V", "Min_Cell_Voltage", 2),
    ("cell max V", "Max_Cell_Voltage", 2),
    ("min °C", "CMA_Min_Temp", 0),
    ("max °C", "CMA_Max_Temp", 0),
    ("SOC %", "SOC", 1),
)
"""Heading, signal, decimals."""
INVERTER_CELLS = (
    ("current", "current", "A", 1),
    ("power", "power", "kW", 2),
    ("link", "dc_bus_voltage", "V", 1),
    ("pack", "battery_voltage", "V", 1),
    ("mode", "mode", "", 0),
    ("setpoint", "setpoint", "", 1),
)


def console() -> Console:
    """Standard output; what is not a terminal has no width that words would have to fit in."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_FILE_COLUMNS)


def draw(view: View, node: str, now: float) -> RenderableType:
    """Everything at a glance; `now` is the same clock with which the view took its messages."""
    return Group(
        _heading(view, node), "", _modules(view, now), "", _inverter(view, now), _outputs(view), "", _alarms(view)
    )


def clock(value: object, form: str = "%H:%M:%S") -> str:
    """A time in Unix µs as local time; what is none as it stands."""
    if not isinstance(value, int):
        return "-"
    try:
        return datetime.fromtimestamp(value / 1e6).astimezone().strftime(form)
    except (OverflowError, OSError, ValueError):  # no time that a calendar has
        return str(value)


def as_table(view: View, node: str) -> dict[str, object]:
    """The same for programs: `cellguard watch --once --json`."""
    return {
        "node": node,
        "status": view.status,
        "states": view.states,
        "modules": view.modules(),
        "alarms": view.current_alarms(),
    }


def _heading(view: View, node: str) -> Text:
    status, safety, schedule = view.status, view.state("safety"), view.state("schedule")
    text = Text(f"{node}  ", style="bold")
    text.append(_words(status.get("state"), "never heard"), _STATE_STYLE.get(str(status.get("state")), "red"))
    text.append(_after(" (", listed(status, "why"), ")"))
    text.append("  safety ")
    text.append(_words(safety.get("state")), _STATE_STYLE.get(str(safety.get("state")), ""))
    text.append(_after("  latches ", listed(safety, "latches")), "bold red")
    text.append(_blocked(table(safety, "blocked")), "yellow")
    text.append(f"  schedule {_words(schedule.get('state'))}")
    if schedule.get("file"):
        text.append(f" {schedule['file']} step {schedule.get('step')}/{schedule.get('steps')}")
        if schedule.get("rounds") not in {None, 1}:
            text.append(f" round {schedule.get('round')}/{schedule.get('rounds')}")
        text.append(f" {_number(schedule.get('setpoint'), 1)} {_words(schedule.get('unit'))}")
    return text


def _blocked(blocked: Body) -> str:
    return "".join(_after(f"  no {direction}: ", listed(blocked, direction)) for direction in blocked)


def _modules(view: View, now: float) -> Table:
    rows = Table("module", *(name for name, _, _ in MODULE_COLUMNS), "bad", "age", box=None, pad_edge=False)
    for column in rows.columns[1:]:
        column.justify = "right"
    for source in view.modules():
        body, age = view.state(source), _age(view, source, now)
        cells = [_number(body.get(signal), decimals) for _, signal, decimals in MODULE_COLUMNS]
        rows.add_row(source, *cells, str(len(table(body, "bad")) or ""), age)
    return rows


def _inverter(view: View, now: float) -> Text:
    body = view.state("inverter")
    cells = [
        f"{name} {_number(body.get(signal), decimals)} {unit}".rstrip()
        for name, signal, unit, decimals in INVERTER_CELLS
    ]
    return Text("inverter  ").append("  ".join(cells)).append("  ").append_text(_age(view, "inverter", now))


def _outputs(view: View) -> Text:
    text = Text("outputs   ")
    for name in ("pump", "fan", "relay1", "relay2", "relay3"):
        body = table(view.state("outputs"), name)
        commanded, readback = body.get("commanded"), body.get("readback")
        text.append(f"{name} {_switch(readback)}", "green" if readback else "")
        text.append(f" (wanted {_switch(commanded)})" if commanded != readback else "", "bold red")
        text.append("  ")
    return text


def _alarms(view: View) -> RenderableType:
    found = view.current_alarms()
    if not found:
        return Text("no alarms", "green")
    rows = Table("level", "alarm", "state", "value", "limit", "since", box=None, pad_edge=False)
    for body in found:
        unit = body.get("unit") or ""
        cells = (
            body.get("alarm"),
            body.get("state"),
            f"{body.get('value')} {unit}",
            f"{body.get('limit')} {unit}",
            clock(body.get("since")),
        )
        level = str(body.get("level"))
        rows.add_row(Text(level, _LEVEL_STYLE.get(level, "")), *(Text(_words(cell)) for cell in cells))
    return rows


def _age(view: View, source: str, now: float) -> Text:
    age = view.age_s(f"state/{source}", now)
    if age is None:
        return Text("not live", "yellow")
    return Text(f"{age:.1f} s", "red" if age > STALE_S else "")


def _switch(value: object) -> str:
    return "?" if value is None else "on" if value else "off"


def _number(value: object, decimals: int) -> str:
    return f"{value:.{decimals}f}" if isinstance(value, int | float) else "-"


def _words(value: object, absent: str = "-") -> str:
    return absent if value is None else printable(str(value))


def _after(before: str, words: str, end: str = "") -> str:
    return f"{before}{words}{end}" if words else ""
