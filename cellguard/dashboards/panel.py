"""What a panel is, and its JSON: units and limits as the catalog and the rule table say them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cellguard.dashboards.query import Query
from edge_agent.guard.safety.rules import Rule

DATASOURCE = {"type": "influxdb", "uid": "cellguard"}
Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "word", "table", "state-timeline"]
"""`word` is a stat that shows a text."""

SILENT_MS = 30_000
"""A state that was not told again for this long is not known any more."""

_UNITS = {
    "V": "volt", "A": "amp", "kW": "kwatt", "°C": "celsius", "K": "kelvin", "%": "percent", "s": "s", "ms": "ms", "kWh": "kwatth",
    "Ah": "suffix: Ah", "B": "bytes", "kB": "deckbytes", "rows/s": "suffix: rows/s", "": "none",
}  # fmt: skip
"""Unit of the catalog → Grafana's name for it."""

STATES = {
    "0": "text", "1": "green",
    "OK": "green", "READY": "green", "RUN": "green", "running": "green", "done": "green", "synced": "green",
    "STANDBY": "blue", "idle": "blue", "rebased": "blue",
    "BOOT": "yellow", "CONNECTING": "yellow", "STOPPING": "yellow", "HOLD": "yellow", "SERVICE": "yellow", "paused": "yellow",
    "WARNING": "yellow", "unsynced": "yellow", "stepped": "orange", "FAULT": "orange", "aborted": "orange",
    "LATCHED": "red", "DANGER": "red", "CRITICAL": "dark-red",
}  # fmt: skip
"""Colour of each state a timeline or a tile shows."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` as in the catalog, `limits` a row of the rule table, shown as dashed lines.

    `step` is the shortest interval of a point: longer than the source's own period, or a line would break between two samples.
    `live`: of what is older than a minute nothing is shown. `holds`: a value of a timeline is true until the next one comes; others are
    told again every 10 s and break off when they are not.
    """

    title: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = ""
    limits: Rule | None = None
    width: int = 12
    height: int = 8
    step: str = "1s"
    about: str = ""
    live: bool = False
    holds: bool = False


def render(panel: Panel, place: Mapping[str, int], number: int) -> Json:
    """The panel's JSON at its place on the grid."""
    return {
        "id": number,
        "type": "stat" if panel.kind == "word" else panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": dict(place),
        "interval": panel.step,
        **({"timeFrom": "1m", "hideTimeOverride": True} if panel.live else {}),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
    }


def _target(query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "rawQuery": True,
        "query": query.text,
        "alias": "" if query.table else query.alias,
        "resultFormat": "table" if query.table else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    return {
        "unit": _UNITS[panel.unit],
        "thresholds": {"mode": "absolute", "steps": _steps(panel.limits)},
        "mappings": [_mapping()] if panel.kind in {"word", "state-timeline"} else [],
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "custom": _CUSTOM[panel.kind](panel),
    }


def _steps(limits: Rule | None) -> list[Json]:
    """From below: danger, warning, fine, warning, danger, as far as the rule has them."""
    if limits is None:
        return [{"color": "green", "value": None}]
    found: list[Json] = [{"color": "green", "value": None}]
    below = [(limits.danger[0], "orange"), (limits.warning[0], "green")]
    given = [(value, colour) for value, colour in below if value is not None]
    if given:
        found[0]["color"] = "red" if limits.danger[0] is not None else "orange"
    above = [(limits.warning[1], "orange"), (limits.danger[1], "red")]
    given += [(value, colour) for value, colour in above if value is not None]
    return found + [{"color": colour, "value": value} for value, colour in given]


def _mapping() -> Json:
    options = {name: {"color": colour, "index": index} for index, (name, colour) in enumerate(STATES.items())}
    return {"type": "value", "options": options}


def _line(panel: Panel) -> Json:
    return {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 0,
        "showPoints": "auto",
        "spanNulls": False,
        "insertNulls": False,
        "thresholdsStyle": {"mode": "off" if panel.limits is None else "dashed"},
        "axisSoftMin": None,
        "axisSoftMax": None,
    }


_CUSTOM: dict[Kind, Callable[[Panel], Json]] = {
    "timeseries": _line,
    "stat": lambda _: {},
    "word": lambda _: {},
    "table": lambda _: {"align": "auto", "filterable": True},
    "state-timeline": lambda panel: {
        "lineWidth": 0,
        "fillOpacity": 80,
        "spanNulls": False,
        "insertNulls": False if panel.holds else SILENT_MS,
    },
}


def _tile(fields: str) -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": fields, "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "value",
        "orientation": "auto",
    }


_OPTIONS: dict[Kind, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": _tile(""),
    # without a name Grafana reduces numbers only
    "word": _tile("/^word$/"),
    "table": {"showHeader": True, "cellHeight": "sm"},
    "state-timeline": {
        "mergeValues": True,
        "showValue": "auto",
        "rowHeight": 0.9,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    },
}
