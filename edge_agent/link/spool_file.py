"""The spool's SQLite file: its tables, how it is opened whatever state it is in, and its books."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

log = logging.getLogger(__name__)

LAYOUT = 1
BOOKS = ("produced", "gaps", "quarantined", "spooled", "released", "unknown_gaps")
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "cache_size = -4000",
    "temp_store = MEMORY",
    "wal_autocheckpoint = 256",
)
"""A log of 1 MB instead of 4: on a full disk it and what it makes the file grow by must fit into the reserve."""
_CHECK_WHOLE_BELOW_BYTES = 64 * 1024 * 1024

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE messages (
    lane TEXT NOT NULL, seq INTEGER NOT NULL, source TEXT NOT NULL, rows INTEGER NOT NULL,
    t_from INTEGER NOT NULL, t_to INTEGER NOT NULL, state INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (lane, seq)
);
CREATE INDEX by_state ON messages (state, lane, seq);
CREATE TABLE sessions (session TEXT PRIMARY KEY, highest INTEGER NOT NULL, gaps INTEGER NOT NULL, ended INTEGER NOT NULL);
CREATE TABLE early (session TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (session, number)) WITHOUT ROWID;
CREATE TABLE totals (
    own INTEGER NOT NULL, spooled INTEGER NOT NULL, released INTEGER NOT NULL, quarantined INTEGER NOT NULL,
    gaps INTEGER NOT NULL, unknown INTEGER NOT NULL
);
CREATE TABLE commands (id TEXT PRIMARY KEY, at INTEGER NOT NULL, answer BLOB NOT NULL);
INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0);
INSERT INTO meta VALUES ('spool', lower(hex(randomblob(4)))), ('last_tele', '0'), ('last_event', '0');
"""


def open_or_set_aside(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """An open, usable spool: the file there, or a new one when what is there cannot be read.

    Returns the connection and where an unreadable file was moved to. Raises sqlite3.OperationalError or OSError when the
    folder or disk does not let anything be opened: try again later.
    """
    try:
        return _open(path), None
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = set_aside(path)
        log.error("spool %s cannot be read (%s): kept as %s, starting a new one", path.name, error, aside.name)  # noqa: TRY400 the sentence says it all
        return _open(path), aside


def is_unreadable(error: Exception) -> bool:
    """Whether the file itself is broken, as against full, locked or absent."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def set_aside(path: Path) -> Path:
    """Rename the file and its journal to the next free `.corrupt-N`."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        for pragma in _PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        _check(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    layout = db.execute("PRAGMA user_version").fetchone()[0]
    if layout == 0 and not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
    elif layout != LAYOUT:
        message = f"layout {layout}, this program writes layout {LAYOUT}"
        raise sqlite3.DatabaseError(message)
    if path.stat().st_size < _CHECK_WHOLE_BELOW_BYTES:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    try:
        read_books(db)
    except (sqlite3.OperationalError, TypeError) as error:
        message = f"its tables are not a spool's: {error}"
        raise sqlite3.DatabaseError(message) from error


def first_since(db: sqlite3.Connection, lane: str, t_us: int) -> int:
    """Number of the oldest message kept of the lane that reaches beyond a time (Unix µs); past the newest when none does."""
    found: int | None = None
    for seq, t_to in db.execute("SELECT seq, t_to FROM messages WHERE lane = ? ORDER BY seq DESC", (lane,)):
        if t_to < t_us:
            return int(seq) + 1
        found = seq
    return 0 if found is None else found


def read_books(db: sqlite3.Connection) -> dict[str, int]:
    """The books: produced = gaps + quarantined + spooled + released, in rows plus events."""
    own, spooled, released, quarantined, gaps, unknown = db.execute(
        "SELECT own, spooled, released, quarantined, gaps, unknown FROM totals"
    ).fetchone()
    numbered = db.execute("SELECT coalesce(sum(highest), 0) FROM sessions").fetchone()[0]
    early = db.execute("SELECT count(*) FROM early").fetchone()[0]
    return dict(zip(BOOKS, (numbered + early + own, gaps, quarantined, spooled, released, unknown), strict=True))
