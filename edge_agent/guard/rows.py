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
class _Open:
    """The row of one source that is being filled, and what is known of its source since start.

    `awaited`: the parts of the cycle before in their order. `late`: the last of them, which a busy bus carries only after the
    next SYNC; the row stays open for them, as long as they come first and in their order.
    """

    index: int
    width: int
    places: Mapping[str, _Place]
    cycled: bool
    values: list[float] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    arrived: dict[str, None] = field(default_factory=dict)  # an ordered set
    reasons: dict[str, str] = field(default_factory=dict)
    awaited: tuple[str, ...] = ()
    late: list[str] = field(default_factory=list)
    ever: set[str] = field(default_factory=set)
    closed: bool = False
    time_us: int = 0
    last_us: int = -1


class Rows:
    """Turns arrivals into rows (numbered 0; the ring numbers them). Times are whole µs and rise strictly in each source."""

    def __init__(self, schemas: Sequence[Schema]) -> None:
        self._open = {schema.source: _opened(index, schema) for index, schema in enumerate(schemas)}
        self._cycled = [row for row in self._open.values() if row.cycled]
        self._cycle_us = -1
        self.counters = {
            "rows": 0,
            "not_recorded": 0,
            "after_row_was_closed": 0,
            "before_first_sync": 0,
            "after_next_sync": 0,
        }

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
            _fill(row, reading, place)
            row.time_us = int(reading.t_mono * MICROSECONDS)
            done.append(_close(row))
            _begin(row)
        elif self._cycle_us < 0:
            self.counters["before_first_sync"] += 1
        else:
            self._answer(row, reading, place, done)

    def _answer(self, row: _Open, reading: Reading, place: _Place, done: list[Row]) -> None:
        if row.late:
            is_late = reading.part == row.late[0]
            if is_late:
                self.counters["after_next_sync"] += 1
                _fill(row, reading, place)
                del row.late[0]
                if row.late:
                    return
            done.append(_close(row))
            _begin(row)
            if is_late:
                return
        if row.closed:
            # first seen, or after a cycle in which it was missing: it is waited for from now on
            row.arrived[reading.part] = None
            row.ever.add(reading.part)
            self.counters["after_row_was_closed"] += 1
            return
        if not row.arrived:
            row.time_us = self._cycle_us
        _fill(row, reading, place)
        if row.awaited and row.arrived.keys() >= set(row.awaited):
            done.append(_close(row))

    def _no_data(self, missing: NoData) -> None:
        row = self._open.get(missing.source)
        if row is not None and missing.part in row.places and missing.reason in _KNOWN_REASONS:
            row.reasons[missing.part] = missing.reason

    def _sync(self, mono_us: int, done: list[Row]) -> None:
        for row in self._cycled:
            if row.arrived and not row.closed:
                if not row.late and (late := _tail(row)):
                    row.late = late
                    continue
                done.append(_close(row))
            _begin(row)
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
    return _Open(index, start, places, schema.cycled, [NAN] * start)


def _fill(row: _Open, reading: Reading, place: _Place) -> None:
    values = reading.values
    if len(values) == place.size and None not in values:
        row.values[place.start : place.start + place.size] = cast("tuple[float, ...]", values)
    else:
        for target, value in zip(place.targets, values, strict=False):
            if target is not None:
                row.values[target] = NAN if value is None else value
    if reading.part in row.arrived and row.bad:  # sent twice in one cycle: the newer one counts
        row.bad = [entry for entry in row.bad if not place.start <= entry[0] < place.start + place.size]
    for index, reason in reading.bad:
        target = place.targets[index] if index < len(place.targets) else None
        if target is not None:
            row.values[target] = NAN
            if reason != "not_populated":
                row.bad.append((target, reason))
    row.arrived[reading.part] = None
    row.ever.add(reading.part)


def _tail(row: _Open) -> list[str]:
    """The awaited parts that are missing, if they are the last ones of their order and not all."""
    missing = [part for part in row.awaited if part not in row.arrived]
    count = len(missing)
    return missing if 0 < count < len(row.awaited) and row.awaited[-count:] == tuple(missing) else []


def _close(row: _Open) -> Row:
    """The row as it stands; what was seen before and is missing now is stale."""
    for part in row.ever - row.arrived.keys():
        place = row.places[part]
        reason = row.reasons.get(part, "stale")
        row.bad.extend((index, reason) for index in range(place.start, place.start + place.size))
    row.last_us = max(row.time_us, row.last_us + 1)
    done = Row(0, row.last_us, row.index, tuple(row.values), tuple(row.bad))
    row.values = [NAN] * row.width
    row.bad = []
    row.closed = True
    return done


def _begin(row: _Open) -> None:
    """A new cycle."""
    row.awaited = tuple(row.arrived)
    row.arrived.clear()
    row.reasons.clear()
    row.late.clear()
    row.closed = False
