"""Collects records until a batch is worth a write: pure, the clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from collector.ingest import Identity, Record


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is due at `rows` rows, at `size_bytes` of payload, or `wait_s` after its first record."""

    rows: int = 5000
    size_bytes: int = 4 * 1024 * 1024
    wait_s: float = 0.5


class Batcher:
    """One batch in the making. A message that comes twice is in it once."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._records: dict[Identity, Record] = {}
        self._rows = 0
        self._bytes = 0
        self._since_s = 0.0

    def add(self, record: Record, now_s: float) -> bool:
        """Take one record; False when the very same message is in the batch already."""
        known = self._records.get(record.identity)
        if known is not None and known.payload == record.payload:
            return False
        if not self._records:
            self._since_s = now_s
        self._records[record.identity] = record
        self._rows += record.rows
        self._bytes += len(record.payload)
        return True

    def clashes(self, record: Record) -> bool:
        """Whether the batch holds another message under the same identity: that batch must be written first."""
        known = self._records.get(record.identity)
        return known is not None and known.payload != record.payload

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until the batch is due, 0 when it is, None while it is empty."""
        if not self._records:
            return None
        if self._rows >= self._limits.rows or self._bytes >= self._limits.size_bytes:
            return 0.0
        return max(0.0, self._since_s + self._limits.wait_s - now_s)

    def take(self) -> list[Record]:
        """The records in order of arrival; the batch is empty afterwards."""
        records = list(self._records.values())
        self._records, self._rows, self._bytes = {}, 0, 0
        return records
