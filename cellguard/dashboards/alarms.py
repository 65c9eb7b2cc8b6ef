"""The dashboard Alarms & commands: who and what did something, and what it led to."""

from __future__ import annotations

from cellguard.dashboards.layout import Dashboard, Row
from cellguard.dashboards.panel import Panel
from cellguard.dashboards.query import Query, changes, rows, where


def dashboard() -> Dashboard:
    """The whole of it."""
    found = (
        Row("Alarms", _alarms()),
        Row("Guard and outputs", _guard()),
        Row("Commands", _commands()),
        Row("Record", _record()),
    )
    return Dashboard(
        "cellguard-alarms", "Alarms & commands", "Alarms, states, outputs, commands: the audit.", found, span="now-6h"
    )


def _alarms() -> tuple[Panel, ...]:
    columns = {
        "alarm": '"alarm"::tag',
        "level": '"level"::tag',
        "state": '"state"',
        "value": '"value"',
        "limit": '"limit"',
        "unit": '"unit"',
    }
    by_level = Query(
        f'SELECT SUM("active") AS "raised" FROM "alarm" {where()} GROUP BY time($__interval), "level" fill(null)',
        "$tag_level",
    )
    timeline = changes("alarm", {"state": "state"}, by="alarm", alias="$tag_alarm")
    return (
        Panel("Alarms over time", (timeline,), "state-timeline", width=24, height=9, holds=True),
        Panel("Changes of alarms", (rows("alarm", columns),), "table", width=16, height=10),
        Panel("Raised, by level", (by_level,), width=8, height=10, step="10s"),
    )  # fmt: skip


def _guard() -> tuple[Panel, ...]:
    states = {
        "from": '"from_state"',
        "to": '"to_state"',
        "why": '"why"',
        "current": '"current_a"',
        "latches": '"latches"',
    }
    outputs = {
        "output": '"output"',
        "commanded": '"commanded"',
        "read back": '"readback"',
        "by": '"by"',
        "took ms": '"took_ms"',
    }
    return (
        _table("Changes of state", states, "state"),
        _table("Outputs", outputs, "output"),
    )


def _commands() -> tuple[Panel, ...]:
    columns = {name: f'"{name}"' for name in ("actor", "target", "status", "code", "reason", "state", "took_ms", "id")}
    return (_table("Commands and their answers", columns, "command", width=24),)


def _record() -> tuple[Panel, ...]:
    sessions = {"session": '"session"', "details": '"text"'}
    gaps = {name: f'"{name}"' for name in ("of", "from", "to", "rows", "missing", "reason")}
    about = "Numbers that were made and are nowhere; the store says so instead of hiding it."
    return (
        _table("Starts", sessions, "session"),
        Panel("Gaps", (rows("gap", gaps),), "table", about=about),
    )


def _table(title: str, columns: dict[str, str], kind: str, width: int = 12) -> Panel:
    return Panel(title, (rows("event", columns, f"\"kind\" = '{kind}'"),), "table", width=width, height=9)
