"""Messages recorded before the clock was set: kept unsent with provisional times, re-based once, marked, then sent like others."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

import orjson

from edge_agent.link.clock import STEP_US

WAITING = 3
"""The state of such a message in the spool, beside pending, released and quarantined."""
TIME_OF = "time:"
"""Key of `meta` with the latest time of a source."""
_KEY = "waiting"
_TIMES = ("ts", "since", "t_from", "t_to")
_SELECT = "SELECT rowid, lane, source, t_from, t_to, payload FROM messages WHERE state = 3 ORDER BY lane, seq"
_UPDATE = "UPDATE messages SET state = 0, t_from = ?, t_to = ?, payload = ? WHERE rowid = ?"


class Anchor(NamedTuple):
    """Which boot, and what leads from its CLOCK_MONOTONIC to Unix time (µs)."""

    boot: str
    offset_us: int


class _Shift(NamedTuple):
    """How far the times were wrong, and how the messages are marked."""

    delta_us: int
    mark: str


def note(db: sqlite3.Connection, anchor: Anchor) -> None:
    """Remember by which anchor the waiting messages got their times; inside the transaction that keeps the first of them."""
    db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_KEY, orjson.dumps([*anchor]).decode()))


def any_waits(db: sqlite3.Connection) -> bool:
    """Whether anything waits."""
    return db.execute("SELECT 1 FROM meta WHERE key = ?", (_KEY,)).fetchone() is not None


def rebase(db: sqlite3.Connection, now: Anchor, *, was_set: bool) -> int:
    """Give all of them their right times and let them go; inside a transaction. Returns how many there were.

    `was_set`: the clock has been set meanwhile, as one that differs by more than a step shows too (it was set while link did
    not run). Otherwise, and where the messages are of an earlier boot, nothing can be mended: they keep their times and are
    marked `unsynced`. Times of a source rise.
    """
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    if row is None:
        return 0
    then = Anchor(*orjson.loads(row[0]))
    wrong_us = now.offset_us - then.offset_us
    mended = then.boot == now.boot and (was_set or abs(wrong_us) > STEP_US)
    shift = _Shift(wrong_us, "rebased") if mended else _Shift(0, "unsynced")
    last = {
        key: int(value) for key, value in db.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{TIME_OF}*",))
    }
    found = db.execute(_SELECT).fetchall()
    for row_id, lane, source, t_from, t_to, payload in found:
        key = TIME_OF + source
        moved_us = _telemetry_shift(shift, t_from, last.get(key, 0)) if lane == "tele" else shift.delta_us
        if lane == "tele":
            last[key] = t_to + moved_us
        body = _moved(orjson.loads(payload), moved_us, shift.mark)
        db.execute(_UPDATE, (t_from + moved_us, t_to + moved_us, orjson.dumps(body), row_id))
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in last.items()])
    db.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
    return len(found)


def _telemetry_shift(shift: _Shift, t_from: int, last: int) -> int:
    return max(shift.delta_us, last + 1 - t_from)


def _moved(body: dict[str, Any], moved_us: int, mark: str) -> dict[str, Any]:
    for key in ("t0",) if body["lane"] == "tele" else _TIMES:
        if isinstance(body.get(key), int):
            body[key] += moved_us
    return {**body, "clock": mark}
