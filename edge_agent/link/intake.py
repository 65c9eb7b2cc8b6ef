"""PURE: guard's numbered packets → batches and events, with every number accounted for exactly once."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from edge_agent.link.encode import Bad, Batch
from shared import ipc
from shared.errors import WireError

_MOST = 2**50
"""No number and no time (µs since boot) reaches it: such a packet is damaged."""
_KIND = re.compile(r"[a-z_]{1,32}\Z")
PATIENCE = 10
"""Flushes that a hole waits for guard's own gap event, so that one loss has one record."""
_MALFORMED, _NEVER = "malformed", "never received: guard had to drop them"


class Numbers(NamedTuple):
    """What the next commit must say about the guard's numbering."""

    session: str
    highest: int
    gaps: int


class NumberedEvent(NamedTuple):
    """One event of the guard."""

    number: int
    mono_us: int
    kind: str
    body: dict[str, object]


class Skipped(NamedTuple):
    """Numbers that will never come: `first`..`last`, of which `rows` are really missing, when (Unix µs) and why."""

    first: int
    last: int
    rows: int
    t_from: int
    t_to: int
    reason: str


@dataclass(slots=True)
class _Hole:
    """A hole between two numbers and their times (monotonic µs). guard usually explains it itself, in a gap event of its own."""

    first: int
    last: int
    rows: int
    from_us: int
    to_us: int
    reason: str
    age: int = 0


class Rows:
    """Rows of one source since the last flush."""

    __slots__ = ("bad", "mono_us", "signals", "values")

    def __init__(self, signals: tuple[str, ...]) -> None:
        self.signals = signals
        self.mono_us: list[int] = []
        self.values: list[tuple[float, ...]] = []
        self.bad: list[Bad] = []

    def take(self) -> tuple[list[int], list[tuple[float, ...]], list[Bad]]:
        """The rows, leaving none."""
        taken = self.mono_us, self.values, self.bad
        self.mono_us, self.values, self.bad = [], [], []
        return taken


class Intake:
    """What has been received of one guard session and is not yet durable."""

    def __init__(
        self, session: str, highest: int, early: set[int], last_us: dict[str, int], counts: Counter[str]
    ) -> None:
        self.session = session
        self._received = highest
        self._early = set(early)
        self._last_us = dict(last_us)
        self.ahead_us: dict[str, int] = {}
        self._clock_us: dict[str, int] = {}
        self._names: list[str] = []
        self._rows: list[Rows] = []
        self._gaps = 0
        self.events: list[NumberedEvent] = []
        self._holes: list[_Hole] = []
        self._newest_us = 0
        self.counts = counts

    def describe(self, sources: Mapping[str, tuple[str, ...]]) -> None:
        """Take over the source list of a HELLO; only when no row is waiting."""
        self._names = list(sources)
        self._rows = [Rows(signals) for signals in sources.values()]

    @property
    def waiting(self) -> int:
        """Rows and events received and not yet handed out."""
        return sum(len(rows.mono_us) for rows in self._rows) + len(self.events)

    def packet(self, packet: bytes) -> None:
        """Take one ROW or EVENT packet; a number already received is skipped, a hole before it is accounted for."""
        try:
            number, mono_us = ipc.number_of(packet), ipc.mono_of(packet)
        except struct.error:
            number = mono_us = _MOST
        if max(number, mono_us) >= _MOST:
            self.counts["unnumbered"] += 1
            return
        if number <= self._received or number in self._early:
            self._received = max(self._received, number)
            self.counts["resent_by_guard"] += 1
            return
        self._hole(number, mono_us)
        self._received, self._newest_us = number, mono_us
        try:
            if packet[:1] == ipc.ROW:
                self._row(packet)
            else:
                self._event(packet)
        except (WireError, LookupError) as error:
            self._gaps += 1
            self._holes.append(_Hole(number, number, 1, mono_us, mono_us, f"{_MALFORMED}: {error}", PATIENCE))
            self.counts["malformed"] += 1

    def _hole(self, number: int, mono_us: int) -> None:
        first = self._received + 1
        missing = number - first - sum(first <= early < number for early in self._early)
        if missing > 0:
            self._gaps += missing
            self._holes.append(_Hole(first, number - 1, missing, self._newest_us or mono_us, mono_us, _NEVER))

    def _row(self, packet: bytes) -> None:
        row = ipc.unpack_row(packet)
        rows = self._rows[row.source]
        if len(row.values) != len(rows.signals) or any(index >= len(rows.signals) for index, _ in row.bad):
            raise WireError(f"row of {self._names[row.source]} has {len(row.values)} values, not {len(rows.signals)}")
        rows.mono_us.append(row.mono_us)
        rows.values.append(row.values)
        rows.bad.append(row.bad)

    def _event(self, packet: bytes) -> None:
        event = ipc.unpack_event(packet)
        kind = event.body.get("kind")
        if not isinstance(kind, str) or not _KIND.match(kind):
            raise WireError(f"event without a kind: {str(kind)[:40]!r}")
        if kind == "gap":
            self.counts["guard_gaps"] += 1
            self._explained(event.body.get("from"), event.body.get("to"))
        self.events.append(NumberedEvent(event.number, event.mono_us, kind, event.body))

    def take_events(self) -> list[NumberedEvent]:
        """The events, leaving none; they become durable ahead of the rows before them."""
        events, self.events = self.events, []
        self._early.update(event.number for event in events)
        return events

    def _explained(self, first: object, last: object) -> None:
        """Guard's own gap event tells of these numbers: what is left of a hole beside them still needs a record."""
        if not isinstance(first, int) or not isinstance(last, int):
            return
        left: list[_Hole] = []
        for hole in self._holes:
            if hole.age < PATIENCE and hole.first <= last and first <= hole.last:
                parts = ((hole.first, min(hole.last, first - 1)), (max(hole.first, last + 1), hole.last))
                left += [_part(hole, *part) for part in parts if part[0] <= part[1]]
            else:
                left.append(hole)
        self._holes = left

    def take_skipped(self, offset_us: int, *, at_once: bool = False) -> list[Skipped]:
        """The holes that guard has not explained in good time, leaving the younger ones; `at_once` takes those too."""
        due = [hole for hole in self._holes if at_once or hole.age >= PATIENCE]
        self._holes = [hole for hole in self._holes if not at_once and hole.age < PATIENCE]
        for hole in self._holes:
            hole.age += 1
        return [
            Skipped(hole.first, hole.last, hole.rows, hole.from_us + offset_us, hole.to_us + offset_us, hole.reason)
            for hole in due
        ]

    def take_rows(self, offset_us: int) -> list[Batch]:
        """All rows as batches in Unix time (monotonic + offset), leaving none; times of a source rise strictly."""
        pairs = zip(self._names, self._rows, strict=True)
        return [self._batch(name, rows, offset_us) for name, rows in pairs if rows.mono_us]

    def _batch(self, name: str, rows: Rows, offset_us: int) -> Batch:
        mono_us, values, bad = rows.take()
        times = [mono + offset_us for mono in mono_us]
        last = self._last_us.get(name, 0)
        if times[0] <= last or any(after <= before for before, after in pairwise(times)):
            times = self._ahead(name, times, last)
        else:
            self.ahead_us.pop(name, None)
        self._last_us[name] = times[-1]
        self._clock_us[name] = mono_us[-1] + offset_us
        return Batch(name, rows.signals, times, values, bad)

    def _ahead(self, name: str, times: list[int], last: int) -> list[int]:
        """The clock went back behind what is recorded: go on from there at half speed until it has caught up."""
        found, before = [], self._clock_us.get(name, times[0])
        ahead_us = self.ahead_us.get(name, 0)
        for time_us in times:
            ahead_us = max(0, ahead_us - max(0, time_us - before) // 2, last + 1 - time_us)
            before, last = time_us, time_us + ahead_us
            found.append(last)
        self.counts["times_ahead"] += len(times)
        self.ahead_us[name] = ahead_us
        return found

    def follow(self, last_us: Mapping[str, int]) -> None:
        """What is recorded ends here: waiting messages were given their times."""
        self._last_us = dict(last_us)

    @property
    def last_us(self) -> dict[str, int]:
        """The latest time handed out of each source (Unix µs)."""
        return dict(self._last_us)

    def numbers(self) -> Numbers:
        """The numbering once everything taken so far is durable."""
        gaps, self._gaps = self._gaps, 0
        self._early = {number for number in self._early if number > self._received}
        return Numbers(self.session, self._received, gaps)


def _part(hole: _Hole, first: int, last: int) -> _Hole:
    return _Hole(first, last, min(hole.rows, last - first + 1), hole.from_us, hole.to_us, hole.reason, hole.age)
