"""Messages that are kept somewhere, a spool, an archive, the quarantine, into a store: idempotent, so it may be done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from collector.batcher import BatchLimits
from collector.export import Reader
from collector.ingest import Poison, Record, ingest
from collector.sinks.archive_reader import Selection, Stored
from collector.sinks.ports import Outcome, SetAside, Sink, StoreUnavailable
from collector.sinks.quarantine import Kept, Quarantine
from shared import topics

TRIES, PAUSE_S = 5, 1.0


class Place(NamedTuple):
    """Whose messages they are, where the file does not know it (a spool)."""

    site: str
    node: str


class Filled(NamedTuple):
    """What became of the messages; `refused` are named with their reasons, at most the first few."""

    messages: int = 0
    rows: int = 0
    unreadable: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()

    def plus(self, outcome: Outcome) -> Filled:
        """With one batch more."""
        refused = [f"{one.identity.lane} {one.identity.seq}: {one.reason}" for one in outcome.refused]
        return Filled(
            self.messages + len(outcome.stored),
            self.rows + sum(record.rows for record in outcome.stored),
            self.unreadable,
            self.refused + len(refused),
            (*self.reasons, *refused)[:5],
        )


def backfill(
    reader: Reader, selection: Selection, sink: Sink, place: Place | None, on_message: Callable[[], None]
) -> Filled:
    """Write every message that touches the selection. Raises StoreUnavailable when the store cannot for some seconds."""
    filled = Filled()
    records: list[Record] = []
    for stored in reader.messages(selection):
        on_message()
        try:
            records.append(ingest(_topic(stored, place), stored.payload))
        except Poison as poison:
            filled = filled._replace(
                unreadable=filled.unreadable + 1, reasons=(*filled.reasons, f"{stored.lane} {stored.seq}: {poison}")[:5]
            )
        if sum(record.rows for record in records) >= BatchLimits().rows:
            filled, records = filled.plus(_write(sink, records)), []
    return filled.plus(_write(sink, records)) if records else filled


def retry(quarantine: Quarantine, sink: Sink) -> Iterator[tuple[Kept, str]]:
    """Try every message set aside once more: with "" it is stored and forgotten there, else why it still cannot be."""
    for kept in list(quarantine.messages()):
        try:
            record = ingest(kept.topic, kept.payload)
        except Poison as poison:
            yield kept, str(poison)
            continue
        refused: Iterable[SetAside] = _write(sink, [record]).refused
        reason = next((one.reason for one in refused), "")
        if not reason:
            quarantine.remove(kept)
        yield kept, reason


def _topic(stored: Stored, place: Place | None) -> str:
    site, node = place or (stored.site, stored.node)
    return f"{topics.node_root(site, node)}/{stored.lane}/{stored.source}"


def _write(sink: Sink, records: Sequence[Record]) -> Outcome:
    for _ in range(TRIES - 1):
        try:
            return sink.write(records)
        except StoreUnavailable as error:
            threading.Event().wait(max(PAUSE_S, error.retry_after_s))
    return sink.write(records)
