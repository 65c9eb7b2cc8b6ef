"""The demo's last line: what was produced, and where all of it is, counted in the files themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Books = dict[str, int]
SPOOL_NAME = "spool.sqlite"
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
    from collector.sinks.archive_reader import count_held, count_rows
    from edge_agent.link.books import books, pending

    spool = books(state_dir / SPOOL_NAME)
    # a message whose receipt was lost lies in both, and is counted where it was going
    twice = count_held(archive, pending(state_dir / SPOOL_NAME))
    return books_of({**spool, "spooled": spool["spooled"] - twice}, count_rows(archive))


def spooled(state_dir: Path) -> int:
    """How much still waits for a receipt; 0 while there is no spool."""
    from edge_agent.link.books import books

    path = state_dir / SPOOL_NAME
    return books(path)["spooled"] if path.is_file() else 0
