"""Assembles readings into sample rows: one per SYNC cycle and module, one per inverter poll, one per Arduino line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from edge_agent.guard.model import NoData, Opened, Reading
from shared.ipc import NAN, REASONS, Row

MICROSECONDS = 1_000_000
_KNOWN_REASONS = frozenset(REASONS)

Part = tuple[str, tuple[str | None, ...]]
"""A part's name and its signals in the order of its readings; None where a signal is not recorded."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a row of one source holds. `cycled`: its parts answer a SYNC and share one row; else each part is a row."""

    source: str
    parts: tuple[Part, ...]
    cycled: bool

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the row's values, in their order."""
        return tuple(name for _, names in self.parts for name in names if name is not None)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the values of one part stand in the row: `targets[i]` is the row's index of the reading's value i."""

    start: int
    size: int
    targets: tuple[int | None, ...]


@dataclass(slots=True)
class _Filling:
    """A row that is being filled: one SYNC cycle of a module, or one poll."""

    time_us: int
    values: list[float]
    bad: list[tuple[int, str]] = field(default_factory=list)
    arrived: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """What is open of one source, and what is known of it since start.

    `before` is the row of the cycle before while parts of it are missing: a busy bus carries the last frames of a cycle only
    after the next SYNC. Then a part comes twice in the new cycle, and the first one belongs to `before`.
    """

    index: int
    width: int
    places: Mapping[str, _Place]
    cycled: bool
    now: _Filling | None = None
    before: _Filling | None = None
    awaited: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)
    closed: bool = False
    last_us: int = -1


class Rows:
    """Turns arrivals into rows (numbered 0; the ring numbers them). Times are whole µs and rise strictly in each source.

    A row is complete when every part of the cycle before has arrived. An incomplete one is held for one more cycle.
    """

    def __init__(self, schemas: Sequence[Schema]) -> None:
        self._open = {schema.source: _opened(index, schema) for index, schema in enumerate(schemas)}
        self._cycled = [row for row in self._open.values() if row.cycled]
        self._cycle_us = -1
        self.counters = dict.fromkeys(
            ("rows", "not_recorded", "after_row_was_closed", "before_first_sync", "after_next_sync", "replaced"), 0
        )

    def feed(self, arrivals: Sequence[Reading | NoData | Opened]) -> list[Row]:
        """The rows that are complete after these arrivals."""
        done: list[Row] = []
        for arrival in arrivals:
            if type(arrival) is Reading:
                self._reading(arrival, done)
            elif type(arrival) is NoData and arrival.part:
                self._no_data(arrival)
        self.counters["rows"] += len(done)
        return done

    def _reading(self, reading: Reading, done: list[Row]) -> None:
        if reading.part == "sync":
            self._sync(int(reading.t_mono * MICROSECONDS), done)
            return
        row = self._open.get(reading.source)
        place = row.places.get(reading.part) if row is not None else None
        if row is None or place is None:  # such as the board's own state: for the core, not for the record
            self.counters["not_recorded"] += 1
        elif not row.cycled:
            poll = _Filling(int(reading.t_mono * MICROSECONDS), [NAN] * row.width)
            _fill(row, poll, reading, place)
            done.append(_close(row, poll))
        elif self._cycle_us < 0:
            self.counters["before_first_sync"] += 1
        else:
            self._answer(row, reading, place, done)

    def _answer(self, row: _Open, reading: Reading, place: _Place, done: list[Row]) -> None:
        if row.closed:  # a part seen for the first time: it is waited for from now on
            row.awaited.add(reading.part)
            row.ever.add(reading.part)
            self.counters["after_row_was_closed"] += 1
            return
        now = row.now
        if now is None:
            row.now = now = _Filling(self._cycle_us, [NAN] * row.width)
        elif reading.part in now.arrived:
            self._again(row, now, reading.part, done)
        _fill(row, now, reading, place)
        if len(now.arrived) >= len(row.awaited) and row.before is None and row.awaited and now.arrived >= row.awaited:
            done.append(_close(row, now))
            row.closed = True

    def _again(self, row: _Open, now: _Filling, part: str, done: list[Row]) -> None:
        before = row.before
        if before is None or part in before.arrived:  # a bus so late that two cycles' answers came in one
            self.counters["replaced"] += 1
            return
        self.counters["after_next_sync"] += 1
        _move(row.places[part], now, before)
        before.arrived.add(part)
        if before.arrived >= row.awaited:
            done.append(_close(row, before))
            row.before = None

    def _no_data(self, missing: NoData) -> None:
        row = self._open.get(missing.source)
        if row is not None and missing.part in row.places and missing.reason in _KNOWN_REASONS:
            if row.now is None:
                row.now = _Filling(self._cycle_us, [NAN] * row.width)
            row.now.reasons[missing.part] = missing.reason

    def _sync(self, mono_us: int, done: list[Row]) -> None:
        for row in self._cycled:
            if row.before is not None:
                done.append(_close(row, row.before))
                row.awaited &= row.before.arrived
                row.before = None
            now = row.now
            if now is not None and now.arrived and not row.closed:
                if now.arrived >= row.awaited:
                    done.append(_close(row, now))
                    row.awaited = now.arrived
                else:
                    row.awaited |= now.arrived
                    row.before = now
            row.now = None
            row.closed = False
        self._cycle_us = mono_us


def _opened(index: int, schema: Schema) -> _Open:
    places: dict[str, _Place] = {}
    start = 0
    for part, names in schema.parts:
        targets: list[int | None] = []
        size = 0
        for name in names:
            targets.append(None if name is None else start + size)
            size += name is not None
        places[part] = _Place(start, size, tuple(targets))
        start += size
    return _Open(index, start, places, schema.cycled)


def _fill(row: _Open, filling: _Filling, reading: Reading, place: _Place) -> None:
    values = reading.values
    if len(values) == place.size and None not in values:
        filling.values[place.start : place.start + place.size] = cast("tuple[float, ...]", values)
    else:
        for target, value in zip(place.targets, values, strict=False):
            if target is not None:
                filling.values[target] = NAN if value is None else value
    if filling.bad and reading.part in filling.arrived:  # sent twice in one cycle: the newer one counts
        filling.bad = [entry for entry in filling.bad if not _within(place, entry)]
    for index, reason in reading.bad:
        target = place.targets[index] if index < len(place.targets) else None
        if target is not None:
            filling.values[target] = NAN
            if reason != "not_populated":
                filling.bad.append((target, reason))
    filling.arrived.add(reading.part)
    row.ever.add(reading.part)


def _move(place: _Place, now: _Filling, before: _Filling) -> None:
    here = slice(place.start, place.start + place.size)
    before.values[here] = now.values[here]
    before.bad += [entry for entry in now.bad if _within(place, entry)]


def _within(place: _Place, entry: tuple[int, str]) -> bool:
    return place.start <= entry[0] < place.start + place.size


def _close(row: _Open, filling: _Filling) -> Row:
    """The row as it stands; what was seen before and is missing now is stale."""
    for part in row.ever - filling.arrived:
        place = row.places[part]
        reason = filling.reasons.get(part, "stale")
        filling.bad.extend((index, reason) for index in range(place.start, place.start + place.size))
    row.last_us = max(filling.time_us, row.last_us + 1)
    return Row(0, row.last_us, row.index, tuple(filling.values), tuple(filling.bad))
