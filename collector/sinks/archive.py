"""The sink without a database server: received messages, compressed, in one SQLite file with a cap."""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from collector.ingest import Record
from collector.sinks.archive_file import FILE_NAME, decompressed, is_unreadable, open_archive, set_file_aside
from collector.sinks.ports import Outcome, SetAside, StoreUnavailable

log = logging.getLogger(__name__)

MB = 1_000_000
_SELECT = "SELECT payload FROM message WHERE spool=? AND lane=? AND seq=? AND site=? AND node=?"
_INSERT = "INSERT OR IGNORE INTO message VALUES (?,?,?,?,?,?,?,?,?,?)"
_ASIDE_PART = 10
"""What is set aside may fill one part in so many of the cap: rubbish must not push the records out. The oldest goes."""
_ASIDE_BYTES = "SELECT total(length(payload)) FROM quarantine"
_DROP_ASIDE = "DELETE FROM quarantine WHERE rowid IN (SELECT rowid FROM quarantine ORDER BY since, rowid LIMIT 10)"
_DROP_AT_ONCE = 500
_DROP_ROUNDS = 200
_LANES = ("tele", "event")
Result = TypeVar("Result")


class ArchiveSink:
    """Implements `ports.Sink`. One transaction a batch, synced before `write` returns.

    A number that comes again with other content is refused: one of the two would be lost. Beyond `max_mb` the oldest
    telemetry goes first, then the oldest events; what went is a row of `dropped` and a counter.
    """

    def __init__(self, folder: Path, *, max_mb: float = 10_000.0) -> None:
        self._folder = folder
        self._max_bytes = int(max_mb * MB)
        self._connection: sqlite3.Connection | None = None
        self._counts: dict[str, float] = dict.fromkeys(
            (
                "tele_rows", "events", "duplicates", "set_aside", "aside_dropped", "dropped_rows", "dropped_events",
                "files_set_aside",
            ),
            0,
        )  # fmt: skip

    def prepare(self, record: Record) -> Record:
        """With its payload compressed."""
        return record._replace(ready=zlib.compress(record.payload, 1))

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store a batch in one transaction."""
        return self._in_transaction(lambda connection: self._write(connection, records))

    def set_aside(self, messages: Sequence[SetAside]) -> None:
        """Keep what cannot be stored."""
        self._in_transaction(lambda connection: self._set_aside(connection, messages))
        self._counts["set_aside"] += len(messages)

    def counters(self) -> dict[str, float]:
        """Rows, messages and megabytes so far."""
        return dict(self._counts)

    def close(self) -> None:
        """Let go of the file; it opens again at the next write."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def open(self) -> None:
        """Open the file now instead of at the first write; raises StoreUnavailable when it cannot be."""
        self._in_transaction(lambda _connection: None)

    def _in_transaction(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = action(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except (OSError, sqlite3.OperationalError) as error:
            self.close()
            raise StoreUnavailable(f"archive {self._folder}: {error}") from error
        except sqlite3.DatabaseError as error:
            self.close()
            if not is_unreadable(error):
                raise
            set_file_aside(self._folder / FILE_NAME, str(error))
            self._counts["files_set_aside"] += 1
            raise StoreUnavailable(f"archive {self._folder}: {error}; a new file begins") from error
        else:
            self._count_totals(connection)
            return result

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_archive(self._folder)
            self._count_rows(self._connection)
        return self._connection

    def _count_rows(self, connection: sqlite3.Connection) -> None:
        totals = dict(connection.execute("SELECT lane, rows FROM totals").fetchall())
        self._counts["tele_rows"], self._counts["events"] = (totals[lane] for lane in _LANES)

    def _write(self, connection: sqlite3.Connection, records: Sequence[Record]) -> Outcome:
        stored, refused, added = [], [], dict.fromkeys(_LANES, 0)
        for record in records:
            identity = record.identity
            values = (
                *identity,
                record.source,
                record.t_min,
                record.t_max,
                record.rows,
                record.ready or zlib.compress(record.payload, 1),
            )
            if connection.execute(_INSERT, values).rowcount:
                added[identity.lane] += record.rows
            elif self._stored_payload(connection, record) != record.payload:
                reason = "another message is stored under this number"
                refused.append(SetAside(identity, reason, record.payload, record.source))
                continue
            else:
                self._counts["duplicates"] += 1
            stored.append(record)
        for lane, rows in added.items():
            self._add_rows(connection, lane, rows)
        self._keep_below_cap(connection)
        return Outcome(stored, refused)

    def _add_rows(self, connection: sqlite3.Connection, lane: str, rows: int) -> None:
        connection.execute("UPDATE totals SET rows = rows + ? WHERE lane = ?", (rows, lane))
        self._counts["tele_rows" if lane == "tele" else "events"] += rows

    def _stored_payload(self, connection: sqlite3.Connection, record: Record) -> bytes:
        site, node, spool, lane, seq = record.identity
        row = connection.execute(_SELECT, (spool, lane, seq, site, node)).fetchone()
        return decompressed(row[0])

    def _set_aside(self, connection: sqlite3.Connection, messages: Sequence[SetAside]) -> None:
        since = time.time_ns() // 1000
        rows = [(*one.identity, one.reason, since, zlib.compress(one.payload, 1), one.source) for one in messages]
        connection.executemany("INSERT OR IGNORE INTO quarantine VALUES (?,?,?,?,?,?,?,?,?)", rows)
        while connection.execute(_ASIDE_BYTES).fetchone()[0] > self._max_bytes // _ASIDE_PART:
            self._counts["aside_dropped"] += connection.execute(_DROP_ASIDE).rowcount

    def _keep_below_cap(self, connection: sqlite3.Connection) -> None:
        """Free as much as the cap asks for, a bounded piece a batch so that no batch waits long."""
        for _ in range(_DROP_ROUNDS):
            if _used_bytes(connection) <= self._max_bytes:
                return
            if not any(self._drop_oldest(connection, lane) for lane in _LANES):
                return

    def _drop_oldest(self, connection: sqlite3.Connection, lane: str) -> bool:
        oldest = connection.execute(
            "SELECT rowid, rows, t_min, t_max FROM message WHERE lane=? ORDER BY t_min LIMIT ?", (lane, _DROP_AT_ONCE)
        ).fetchall()
        if not oldest:
            return False
        rows, first, last = sum(row[1] for row in oldest), oldest[0][2], max(row[3] for row in oldest)
        connection.executemany("DELETE FROM message WHERE rowid=?", [row[:1] for row in oldest])
        said = (time.time_ns() // 1000, lane, len(oldest), rows, first, last)
        connection.execute("INSERT INTO dropped VALUES (?,?,?,?,?,?)", said)
        self._add_rows(connection, lane, -rows)
        self._counts["dropped_rows" if lane == "tele" else "dropped_events"] += rows
        log.warning(
            "archive %s is full: the oldest %d messages of lane %s are dropped", self._folder, len(oldest), lane
        )
        return True

    def _count_totals(self, connection: sqlite3.Connection) -> None:
        self._counts["archive_mb"] = round(_used_bytes(connection) / MB, 1)


def _used_bytes(connection: sqlite3.Connection) -> int:
    (pages,), (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int(pages - free) * int(size)
