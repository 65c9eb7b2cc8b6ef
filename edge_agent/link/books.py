"""The books of a closed spool file, for whoever balances them against a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from edge_agent.link import spool_file
from shared.errors import Unavailable


def books(path: Path) -> dict[str, int]:
    """`produced`, `gaps`, `quarantined`, `spooled`, `released` and `unknown_gaps`, in rows plus events.

    `produced = gaps + quarantined + spooled + released` always holds. Raises Unavailable when the file cannot be read.
    """
    with closing(_read_only(path)) as db:
        try:
            return spool_file.read_books(db)
        except (sqlite3.Error, TypeError) as error:
            raise Unavailable(f"spool {path}: {error}") from error


def pending(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """(spool, lane, seq, rows) of every message without a receipt: it may be stored all the same, when a receipt was lost."""
    with closing(_read_only(path)) as db:
        spool = db.execute("SELECT value FROM meta WHERE key = 'spool'").fetchone()[0]
        for lane, seq, rows in db.execute("SELECT lane, seq, rows FROM messages WHERE state = 0 ORDER BY lane, seq"):
            yield spool, lane, seq, rows


def _read_only(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)
    except sqlite3.Error as error:
        raise Unavailable(f"spool {path}: {error}") from error
