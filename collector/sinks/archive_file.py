"""The archive's SQLite file: opening, its tables, and setting aside what is no database any more."""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from pathlib import Path

FILE_NAME = "archive.sqlite"
log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    site TEXT NOT NULL, node TEXT NOT NULL, spool TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
    source TEXT NOT NULL, t_min INTEGER NOT NULL, t_max INTEGER NOT NULL, rows INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (spool, lane, seq, site, node)
);
CREATE INDEX IF NOT EXISTS message_in_time ON message (lane, t_min);
CREATE TABLE IF NOT EXISTS totals (lane TEXT PRIMARY KEY, rows INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES ('tele', 0), ('event', 0);
CREATE TABLE IF NOT EXISTS quarantine (
    site TEXT NOT NULL, node TEXT NOT NULL, spool TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
    reason TEXT NOT NULL, since INTEGER NOT NULL, payload BLOB NOT NULL, source TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (spool, lane, seq, site, node, reason)
);
CREATE TABLE IF NOT EXISTS dropped (
    since INTEGER NOT NULL, lane TEXT NOT NULL, messages INTEGER NOT NULL, rows INTEGER NOT NULL,
    t_min INTEGER NOT NULL, t_max INTEGER NOT NULL
);
"""
"""`message.source` is `module-05` … in lane tele, the kind of event in lane event; payloads are zlib-compressed JSON;
times are Unix µs; `dropped` says what the cap took away."""


def open_archive(folder: Path) -> sqlite3.Connection:
    """The archive in `folder`, made when there is none; a file that cannot be read is renamed, said, and a new one begun.

    Raises:
        OSError, sqlite3.OperationalError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if not is_unreadable(error):
            raise
        set_file_aside(path, str(error))
        return _open(path)


def is_unreadable(error: sqlite3.Error) -> bool:
    """Whether the file is broken, as against full, locked or absent."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def decompressed(payload: bytes) -> bytes:
    """A stored payload as it was received, b"" when its bytes are broken."""
    try:
        return zlib.decompress(payload)
    except zlib.error:
        return b""


def set_file_aside(path: Path, reason: str) -> Path:
    """Rename a broken file and its companions, so that a new one can begin beside it."""
    aside = path.with_name(f"{path.name}.unreadable-{time.time_ns() // 1000}")
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    log.error("%s cannot be read (%s): kept as %s, a new archive begins", path, reason, aside.name)
    return aside


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
