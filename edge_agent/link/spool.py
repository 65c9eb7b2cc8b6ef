"""The spool: one SQLite file that keeps every message until a receipt says it is stored. One thread owns it.

A commit is one transaction, durable when it returns (WAL, synchronous=FULL): messages, the guard's numbers they came from and
the totals of the books change together or not at all, so that a kill at any moment leaves books that balance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from edge_agent.link import spool_file, waiting
from edge_agent.link.waiting import Anchor

Lane = Literal["tele", "event"]
LANES: tuple[Lane, ...] = ("event", "tele")
PENDING, RELEASED, QUARANTINED = 0, 1, 2


_INSERT = "INSERT INTO messages (lane, seq, source, rows, t_from, t_to, state, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SETTLE = (
    "UPDATE messages SET state = ? WHERE lane = ? AND seq = ? AND state = 0 RETURNING seq, source, rows, t_from, t_to"
)


class Entry(NamedTuple):
    """One message as published. `rows` is its weight in the books: rows of telemetry, 1 for an event. Times in Unix µs."""

    lane: Lane
    seq: int
    source: str
    rows: int
    t_from: int
    t_to: int
    payload: bytes


class Ended(NamedTuple):
    """A guard session that is over: it numbered up to `last`, `missing` of them never came; what it never sent is unknown."""

    session: str
    last: int
    missing: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What becomes durable together.

    Attributes:
        entries: messages; `own` of them are link's own events.
        session: the guard session the numbers below belong to, "" when there are none.
        highest: every number of the session up to it is now accounted for; 0 leaves it as it is.
        early: numbers above `highest` that are durable already (events do not wait for the batch).
        gaps: numbers that will never come.
        ended: guard sessions that are over, as `unfinished` told them.
        waits: the clock is not set yet: the entries' times come from this anchor, and they are not sent before `rebase`.
    """

    entries: tuple[Entry, ...] = ()
    session: str = ""
    highest: int = 0
    early: tuple[int, ...] = ()
    gaps: int = 0
    own: int = 0
    ended: tuple[Ended, ...] = ()
    waits: Anchor | None = None


class Dropped(NamedTuple):
    """Messages that had to go for want of room: sequence numbers (rising), times and weight, for the gap record."""

    lane: Lane
    seqs: list[int]
    t_from: int
    t_to: int
    rows: int


class Settled(NamedTuple):
    """One message that a receipt has settled just now."""

    seq: int
    source: str
    rows: int
    t_from: int
    t_to: int


class Spool:
    """The open file. Errors of the disk come out as sqlite3.Error: nothing was changed, and the file may be opened again."""

    def __init__(self, path: Path) -> None:
        self.set_aside: Path | None
        self._db, self.set_aside = spool_file.open_or_set_aside(path)
        self.id: str = self._value("SELECT value FROM meta WHERE key = 'spool'")
        self._next: dict[Lane, int] = {lane: 1 + self._last(lane) for lane in LANES}

    def close(self) -> None:
        """Write the log back into the file and give it free; may be called twice."""
        self._db.close()

    def shrink(self) -> None:
        """Write the log back into the file and give its room to the disk."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def next_seq(self, lane: Lane) -> int:
        """The number the next message of the lane must carry."""
        return self._next[lane]

    # ---- writing ----------------------------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        """Make it durable: when this returns the numbers may be released by the guard."""
        with self._transaction():
            self._insert(commit.entries, own=commit.own, state=PENDING if commit.waits is None else waiting.WAITING)
            if commit.waits is not None and commit.entries:
                waiting.note(self._db, commit.waits)
            if commit.session:
                self._number(commit)
            for session in commit.ended:
                self._end(session)
            self._add(gaps=commit.gaps)

    def _insert(self, entries: Sequence[Entry], *, own: int, state: int = PENDING) -> None:
        for entry in entries:
            self._db.execute(_INSERT, (*entry[:-1], state, entry.payload))
            self._next[entry.lane] = entry.seq + 1
        for lane in {entry.lane for entry in entries}:
            self._db.execute("UPDATE meta SET value = ? WHERE key = ?", (str(self._next[lane] - 1), f"last_{lane}"))
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(waiting.TIME_OF + e.source, str(e.t_to)) for e in entries if e.lane == "tele" and state == PENDING],
        )
        self._add(own=own, spooled=sum(entry.rows for entry in entries))

    def rebase(self, now: Anchor, *, was_set: bool) -> int:
        """The clock is believed now: give what waits for it its times. Returns how many messages there were."""
        if not waiting.any_waits(self._db):
            return 0
        with self._transaction():
            return waiting.rebase(self._db, now, was_set=was_set)

    def _end(self, ended: Ended) -> None:
        self._db.execute("DELETE FROM early WHERE session = ?", (ended.session,))
        self._db.execute(
            "UPDATE sessions SET ended = 1, highest = ?, gaps = gaps + ? WHERE session = ?",
            (ended.last, ended.missing, ended.session),
        )
        self._add(gaps=ended.missing, unknown=1)

    def _number(self, commit: Commit) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO sessions (session, highest, gaps, ended) VALUES (?, 0, 0, 0)", (commit.session,)
        )
        self._db.execute("UPDATE sessions SET gaps = gaps + ? WHERE session = ?", (commit.gaps, commit.session))
        if commit.early:
            pairs = [(commit.session, number) for number in commit.early]
            self._db.executemany("INSERT OR IGNORE INTO early (session, number) VALUES (?, ?)", pairs)
        if commit.highest:
            self._db.execute(
                "UPDATE sessions SET highest = max(highest, ?) WHERE session = ?", (commit.highest, commit.session)
            )
            self._db.execute("DELETE FROM early WHERE session = ? AND number <= ?", (commit.session, commit.highest))

    def settle(self, lane: Lane, seqs: Iterable[int], state: int) -> list[Settled]:
        """Mark pending messages as released or quarantined; returns those that changed."""
        column = "released" if state == RELEASED else "quarantined"
        changed: list[Settled] = []
        with self._transaction():
            for seq in seqs:
                row = self._db.execute(_SETTLE, (state, lane, seq)).fetchone()
                if row is not None:
                    changed.append(Settled(*row))
            rows = sum(one.rows for one in changed)
            self._add(**{column: rows}, spooled=-rows)
        return changed

    def drop_settled(self, messages: int) -> int:
        """Forget the oldest settled messages (they are stored elsewhere); returns how many there were."""
        return self._db.execute(
            "DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE state IN (1, 2) ORDER BY rowid LIMIT ?)",
            (messages,),
        ).rowcount

    def drop_pending(
        self, lane: Lane, messages: int, keep: Sequence[int], record: Callable[[Dropped], Entry]
    ) -> Dropped | None:
        """Give up the oldest unstored messages of a lane but `keep`: their rows become gaps, told by the event `record` makes."""
        with self._transaction():
            chosen = self._db.execute(
                "SELECT rowid, seq, t_from, t_to, rows FROM messages WHERE state = 0 AND lane = ?"
                " AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
                (lane, orjson.dumps(keep).decode(), messages),
            ).fetchall()
            if not chosen:
                return None
            self._db.executemany("DELETE FROM messages WHERE rowid = ?", [(row[0],) for row in chosen])
            rows = sum(row[4] for row in chosen)
            t_from, t_to = min(row[2] for row in chosen), max(row[3] for row in chosen)
            dropped = Dropped(lane, [row[1] for row in chosen], t_from, t_to, rows)
            self._add(gaps=rows, spooled=-rows)
            self._insert((record(dropped),), own=1)
        return dropped

    def remember_command(self, identifier: str, at_s: int, answer: dict[str, object], keep: int) -> None:
        """Remember a command's first answer, so that its id stays used across restarts; the oldest are forgotten."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO commands VALUES (?, ?, ?)", (identifier, at_s, orjson.dumps(answer))
            )
            self._db.execute(
                "DELETE FROM commands WHERE at < ? OR rowid <= (SELECT max(rowid) FROM commands) - ?",
                (at_s - 86_400, keep),
            )

    # ---- reading ----------------------------------------------------------------------------------------------------

    def pending(self, lane: Lane, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """(seq, source, payload) of the next unstored messages after a sequence number, oldest first."""
        return self._db.execute(
            "SELECT seq, source, payload FROM messages WHERE state = 0 AND lane = ? AND seq > ? ORDER BY seq LIMIT ?",
            (lane, after, limit),
        ).fetchall()

    def message(self, lane: Lane, seq: int) -> tuple[int, str, bytes] | None:
        """(seq, source, payload) of one unstored message, None when it is stored or gone."""
        found: tuple[int, str, bytes] | None = self._db.execute(
            "SELECT seq, source, payload FROM messages WHERE lane = ? AND seq = ? AND state = 0", (lane, seq)
        ).fetchone()
        return found

    def since(self, lane: Lane, t_us: int) -> int:
        """The number from which on the lane's messages reach beyond a time (Unix µs), stored ones among them."""
        return spool_file.first_since(self._db, lane, t_us)

    def kept(self, lane: Lane, first: int, limit: int) -> list[tuple[int, str, int, bytes]]:
        """(seq, source, first time, payload) of the messages from a number on, stored or not, as far as there was room."""
        return self._db.execute(
            "SELECT seq, source, t_from, payload FROM messages WHERE lane = ? AND seq >= ? ORDER BY seq LIMIT ?",
            (lane, first, limit),
        ).fetchall()

    def last_times(self) -> dict[str, int]:
        """The latest time of each source's telemetry ever spooled (Unix µs): what comes next must be later."""
        rows = self._db.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{waiting.TIME_OF}*",))
        return {key.removeprefix(waiting.TIME_OF): int(value) for key, value in rows}

    def commands(self) -> dict[str, dict[str, object]]:
        """The remembered commands: id → first answer, oldest first."""
        rows = self._db.execute("SELECT id, answer FROM commands ORDER BY rowid")
        return {identifier: orjson.loads(answer) for identifier, answer in rows}

    def unfinished(self, alive: str) -> list[Ended]:
        """The sessions that have not ended although another one lives now."""
        found = []
        for session in self.open_sessions():
            highest, early, last = self._session(session)
            if session != alive:
                found.append(Ended(session, last, last - highest - len(early)))
        return found

    def numbers(self, session: str) -> tuple[int, set[int]]:
        """(highest, early) of a guard session; (0, empty) of an unknown one."""
        highest, early, _ = self._session(session)
        return highest, early

    def open_sessions(self) -> dict[str, int]:
        """Sessions that have not ended → the number up to which they are durable."""
        return dict(self._db.execute("SELECT session, highest FROM sessions WHERE ended = 0"))

    def books(self) -> dict[str, int]:
        """The books as this file knows them, in rows plus events."""
        return spool_file.read_books(self._db)

    def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        pages = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
        return int(pages * self._value("PRAGMA page_size"))

    def _session(self, session: str) -> tuple[int, set[int], int]:
        highest = self._value("SELECT highest FROM sessions WHERE session = ?", session) or 0
        early = {row[0] for row in self._db.execute("SELECT number FROM early WHERE session = ?", (session,))}
        return highest, early, max(early, default=highest)

    def _last(self, lane: Lane) -> int:
        return int(self._value("SELECT value FROM meta WHERE key = ?", f"last_{lane}"))

    def _value(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 a cell of any column
        row = self._db.execute(query, arguments).fetchone()
        return None if row is None else row[0]

    def _add(self, **changes: int) -> None:
        for name, change in changes.items():
            if change:
                self._db.execute(f"UPDATE totals SET {name} = {name} + ?", (change,))  # noqa: S608 column names are ours

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = dict(self._next)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            self._next = before
            raise
