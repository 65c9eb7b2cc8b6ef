"""The demo's last line: what was produced, and where all of it is, counted in the files themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Books = dict[str, int]
_SPOOL_SIDE = ("produced", "gaps", "quarantined", "spooled", "unknown_gaps")


def books_of(spool: Mapping[str, int], archive: Mapping[str, int]) -> Books:
    """The books of CONTRACT §2 from link's side and the store's side."""
    stored = archive["tele_rows"] + archive["events"]
    ordered = {"produced": spool.get("produced", 0), "stored": stored}
    return ordered | {name: spool.get(name, 0) for name in _SPOOL_SIDE[1:]}


def balanced(books: Books) -> bool:
    """Whether every record that was produced is accounted for exactly."""
    return books["produced"] == books["stored"] + books["gaps"] + books["quarantined"] + books["spooled"]


def read_books(state_dir: Path, archive: Path) -> Books:
    """Count in the spool and in the archive; both programs must have ended."""
    from collector.sinks.archive import count_rows
    from edge_agent.link.books import books

    return books_of(books(state_dir / "spool.sqlite"), count_rows(archive))
