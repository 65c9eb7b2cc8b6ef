"""What the pump asks of a store. All methods are called on the storer's one thread, but `prepare` and `counters` on any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collector.ingest import Identity, Record
from shared.errors import Unavailable


class SetAside(NamedTuple):
    """A message that cannot be stored, why, and as it came. `source` is the last level of its topic."""

    identity: Identity
    reason: str
    payload: bytes
    source: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: every record is in exactly one of the two."""

    stored: Sequence[Record] = ()
    refused: Sequence[SetAside] = ()


class StoreUnavailable(Unavailable):
    """The store cannot take anything now; nothing is known about the batch, write the whole of it again later."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Sink(Protocol):
    """A store. Writing is idempotent: a record written again, also after an unknown outcome, is there once.

    Not promised: order, and that a batch is all or nothing. What `write` returns as stored survives a power cut.
    """

    def prepare(self, record: Record) -> Record:
        """The record with `ready` set: work that is done while another batch is written. `write` takes any record without it."""

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store a batch; raises StoreUnavailable when the store cannot, and nothing else."""

    def set_aside(self, messages: Sequence[SetAside]) -> None:
        """Keep what cannot be stored for a person to look at; raises StoreUnavailable when that cannot be done now."""

    def counters(self) -> dict[str, float]:
        """Numbers for the health topic, names with their unit."""

    def close(self) -> None:
        """Let go of files and connections; never raises for what is already gone."""
