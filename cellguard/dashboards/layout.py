"""A dashboard around its panels: rows on Grafana's grid, template variables, annotations, links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cellguard.dashboards.panel import DATASOURCE, Json, Panel, render
from cellguard.dashboards.query import SITE_NODE, changes

SCHEMA_VERSION = 42
"""The last version of the classic schema: Grafana 12.1 and newer read it as it is."""
GRID_WIDTH = 24
TAG = "cellguard"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading; `repeat` names a variable, the row comes again for each of its values."""

    title: str
    panels: tuple[Panel, ...]
    repeat: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One file. `modules`: the person may choose modules."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    modules: bool = False
    span: str = "now-1h"


class _Annotation(NamedTuple):
    name: str
    colour: str
    query: str
    text: str


_ANNOTATIONS = (
    _Annotation("Trips", "red", changes("event", {"why": "why"}, "\"to_state\" = 'LATCHED'").text, "why"),
    _Annotation(
        "Commands",
        "blue",
        changes("event", {"target": "target"}, "\"kind\" = 'command'", "\"status\" = 'done'").text,
        "target",
    ),
)


def document(dashboard: Dashboard) -> Json:
    """The JSON that Grafana reads from a provisioned file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": dashboard.span, "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_annotation(one) for one in _ANNOTATIONS]},
        "links": [_link()],
        "templating": {"list": list(_variables(modules=dashboard.modules))},
        "panels": list(_panels(dashboard.rows)),
    }


def _panels(rows: tuple[Row, ...]) -> Iterator[Json]:
    number, top = 1, 0
    for row in rows:
        yield _heading(row, number, top)
        number, left, top, height = number + 1, 0, top + 1, 0
        for panel in row.panels:
            if left + panel.width > GRID_WIDTH:
                left, top, height = 0, top + height, 0
            yield render(panel, {"x": left, "y": top, "w": panel.width, "h": panel.height}, number)
            number, left, height = number + 1, left + panel.width, max(height, panel.height)
        top += height


def _heading(row: Row, number: int, top: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": GRID_WIDTH, "h": 1},
        "panels": [],
        **({"repeat": row.repeat} if row.repeat else {}),
    }


def _variables(*, modules: bool) -> Iterator[Json]:
    yield _variable("site", 'SHOW TAG VALUES FROM "module" WITH KEY = "site"')
    yield _variable("node", 'SHOW TAG VALUES FROM "module" WITH KEY = "node" WHERE "site" =~ /^${site:regex}$/')
    if modules:
        text = f'SHOW TAG VALUES FROM "module" WITH KEY = "module" WHERE {SITE_NODE}'
        yield {**_variable("module", text), "multi": True, "includeAll": True, "current": _ALL}


_ALL = {"text": ["All"], "value": ["$__all"]}


def _variable(name: str, text: str) -> Json:
    """A choice of the values of a tag, asked again whenever the dashboard is opened."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": text, "refId": name},
        "definition": text,
        "refresh": 1,
        "sort": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "current": {},
        "options": [],
        "regex": "",
    }


def _annotation(one: _Annotation) -> Json:
    target = {
        "refId": "Anno",
        "query": one.query,
        "rawQuery": True,
        "resultFormat": "time_series",
        "textColumn": one.text,
        "fromAnnotations": True,
    }
    return {"name": one.name, "datasource": DATASOURCE, "enable": True, "iconColor": one.colour, "target": target}


def _link() -> Json:
    """The other dashboards, with node and time kept."""
    return {
        "type": "dashboards",
        "title": "cellguard",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "url": "",
    }
