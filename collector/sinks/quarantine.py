"""The messages a collector has set aside, in its archive's file: to look at, to take out, to try again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

from collector.ingest import Identity, Lane
from collector.sinks.archive_file import FILE_NAME, decompressed
from shared import topics
from shared.errors import ConfigError, Unavailable

_WAIT_S = 5.0
_COLUMNS = "rowid, site, node, spool, lane, seq, source, reason, since, payload"


class Kept(NamedTuple):
    """One message set aside: why, since when (Unix µs), and as it came. `number` is its place in the file."""

    number: int
    identity: Identity
    source: str
    reason: str
    since_us: int
    payload: bytes

    @property
    def topic(self) -> str:
        """Where it was published."""
        return f"{topics.node_root(self.identity.site, self.identity.node)}/{self.identity.lane}/{self.source}"


class Quarantine:
    """The quarantine of an archive folder. Safe beside a running collector. Raises Unavailable when the file cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        if not self._path.is_file():
            raise ConfigError(f"[archive] path {folder}", "", "a folder in which a collector has stored something")

    def messages(self) -> Iterator[Kept]:
        """Oldest first; holds nothing open between two of them."""
        last = (-1, -1)
        while (found := self._after(*last)) is not None:
            yield found
            last = (found.since_us, found.number)

    def remove(self, kept: Kept) -> None:
        """Forget one: it is stored now."""
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None, timeout=_WAIT_S)) as db:
                db.execute("PRAGMA synchronous=FULL")
                db.execute("DELETE FROM quarantine WHERE rowid = ?", (kept.number,))
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _after(self, since_us: int, number: int) -> Kept | None:
        query = f"SELECT {_COLUMNS} FROM quarantine WHERE (since, rowid) > (?, ?) ORDER BY since, rowid LIMIT 1"  # noqa: S608 (columns are ours)
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)) as db:
                row = db.execute(query, (since_us, number)).fetchone()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        if row is None:
            return None
        found, site, node, spool, lane, seq, source, reason, since, payload = row
        identity = Identity(site, node, spool, cast("Lane", lane), seq)
        return Kept(found, identity, source, reason, since, decompressed(payload))

    def _unavailable(self, error: sqlite3.Error) -> Unavailable:
        return Unavailable(f"quarantine in {self._path}: {error}")
