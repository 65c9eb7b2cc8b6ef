"""Reads stored messages back in the order of time: from an archive folder or from a node's spool file, without changing them."""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from collector.sinks.archive_file import FILE_NAME, decompressed
from shared.errors import CellguardError, ConfigError

_PAGE = 200
_SPOOL_NODE = "local"
_MAX_US = 2**63 - 1


class Stored(NamedTuple):
    """One message as it was received. `source` is the kind in lane event; times are Unix µs."""

    site: str
    node: str
    lane: str
    seq: int
    source: str
    t_min: int
    t_max: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages: those that touch `since_us` ≤ time < `until_us`; an empty text selects all."""

    source: str = ""
    node: str = ""
    since_us: int = 0
    until_us: int = _MAX_US

    def parameters(self) -> dict[str, str | int]:
        """The values of a query's named places."""
        return {"source": self.source, "node": self.node, "since": self.since_us, "until": self.until_us}


_WHERE = (
    "t_min < :until AND t_max >= :since AND (:node = '' OR node = :node)"
    " AND (:source = '' OR lane = 'event' OR source = :source)"
)


class ArchiveReader:
    """The messages of an archive folder. Safe beside a running collector: it reads page by page and holds nothing open long."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME if folder.is_dir() else folder

    def nodes(self) -> list[str]:
        """The nodes that have anything stored."""
        with _reading(self._path) as db:
            return [row[0] for row in db.execute("SELECT DISTINCT node FROM message ORDER BY node")]

    def count(self, selection: Selection) -> int:
        """How many messages `messages` will give."""
        with _reading(self._path) as db:
            return int(db.execute(f"SELECT COUNT(*) FROM message WHERE {_WHERE}", selection.parameters()).fetchone()[0])  # noqa: S608 (no value is in the text)

    def messages(self, selection: Selection) -> Iterator[Stored]:
        """In the order of their first row's time."""
        with _reading(self._path) as db:
            lanes = (_in_lane(db, lane, selection) for lane in ("tele", "event"))
            yield from heapq.merge(*lanes, key=lambda stored: stored.t_min)


def _in_lane(db: sqlite3.Connection, lane: str, selection: Selection) -> Iterator[Stored]:
    query = (
        f"SELECT t_min, rowid, site, node, seq, source, t_max, payload FROM message WHERE lane = :lane AND {_WHERE}"  # noqa: S608 (no value is in the text)
        f" AND (t_min, rowid) > (:at, :id) ORDER BY t_min, rowid LIMIT {_PAGE}"
    )
    at, row_id = -1, -1
    while page := db.execute(query, {**selection.parameters(), "lane": lane, "at": at, "id": row_id}).fetchall():
        for t_min, _, site, node, seq, source, t_max, payload in page:
            yield Stored(site, node, lane, seq, source, t_min, t_max, decompressed(payload))
        at, row_id = page[-1][:2]


class SpoolReader:
    """The messages of a node's spool file; it does not know its node's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def nodes(self) -> list[str]:
        """One node, whose name the file does not know."""
        return [_SPOOL_NODE]

    def count(self, selection: Selection) -> int:
        """How many messages `messages` will give."""
        query = "SELECT COUNT(*) FROM messages WHERE t_from < :until AND t_to >= :since"
        with _reading(self._path) as db:
            return int(db.execute(query, selection.parameters()).fetchone()[0])

    def messages(self, selection: Selection) -> Iterator[Stored]:
        """In the order of their first row's time: the order is made once, on disk when it is large."""
        make = (
            "CREATE TEMP TABLE in_time AS SELECT lane, seq FROM messages WHERE t_from < :until AND t_to >= :since"
            " AND (:source = '' OR lane = 'event' OR source = :source) ORDER BY t_from"
        )
        query = (
            "SELECT m.lane, m.seq, m.source, m.t_from, m.t_to, m.payload FROM temp.in_time AS k JOIN messages AS m"
            " ON m.lane = k.lane AND m.seq = k.seq WHERE k.rowid > ? AND k.rowid <= ? ORDER BY k.rowid"
        )
        with _reading(self._path) as db:
            db.execute(make, selection.parameters())
            last = db.execute("SELECT COALESCE(MAX(rowid), 0) FROM temp.in_time").fetchone()[0]
            for start in range(0, last, _PAGE):
                for lane, seq, source, t_from, t_to, payload in db.execute(query, (start, start + _PAGE)).fetchall():
                    yield Stored("local", _SPOOL_NODE, lane, seq, source, t_from, t_to, bytes(payload))


def count_rows(folder: Path) -> dict[str, int]:
    """The store's side of the books: distinct rows (source and time) of telemetry, and events.

    Only where messages of one source overlap in time are their rows looked at; all others are counted by their size.
    """
    with _reading(folder / FILE_NAME) as db:
        events = db.execute("SELECT COUNT(*) FROM message WHERE lane = 'event'").fetchone()[0]
        spans = db.execute(
            "SELECT site, node, source, t_min, t_max, rows, rowid FROM message WHERE lane = 'tele'"
            " ORDER BY site, node, source, t_min"
        )
        total, reach, who = 0, -1, ""
        group: list[tuple[int, int]] = []
        for site, node, source, t_min, t_max, rows, row_id in spans:
            key = f"{site}/{node}/{source}"
            if key != who or t_min > reach:
                total, group, reach, who = total + _distinct(db, group), [], -1, key
            group.append((rows, row_id))
            reach = max(reach, t_max)
        return {"tele_rows": total + _distinct(db, group), "events": events}


def count_held(folder: Path, messages: Iterable[tuple[str, str, int, int]]) -> int:
    """How many rows and events of these (spool, lane, seq, rows) are stored: their receipts were lost on the way back."""
    query = "SELECT 1 FROM message WHERE spool = ? AND lane = ? AND seq = ? LIMIT 1"
    with _reading(folder / FILE_NAME) as db:
        return sum(rows for *identity, rows in messages if db.execute(query, identity).fetchone())


def _distinct(db: sqlite3.Connection, group: list[tuple[int, int]]) -> int:
    if len(group) < 2:
        return sum(rows for rows, _ in group)
    times: set[int] = set()
    for _, row_id in group:
        payload = db.execute("SELECT payload FROM message WHERE rowid = ?", (row_id,)).fetchone()[0]
        body: dict[str, Any] = orjson.loads(decompressed(payload))
        times.update(body["t0"] + offset for offset in body["t"])
    return len(times)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, for reading only; errors come out as sentences."""
    if not path.is_file():
        raise ConfigError(str(path), "", "an archive folder of a collector, or the spool file of a node, that exists")
    try:
        # SQLite's journal needs a writable folder even for reading; nobody can be writing where nobody can write
        how = "mode=ro" if os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
        db = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=5.0)
    except sqlite3.Error as error:
        raise CellguardError(f"{path} cannot be opened: {error}") from error
    try:
        yield db
    except sqlite3.Error as error:
        raise CellguardError(f"{path} cannot be read: {error}") from error
    finally:
        db.close()
