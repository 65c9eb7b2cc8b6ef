"""The 1-minute series: which minutes have to be made anew, the question to the store, and the points out of its answer; pure.

Every write of records carries a mark for each minute it touches, in the same request: `stored`, drawn anew each time, and
`reduced` 0. A minute is made from the store's own raw points, and its points are written in one request with `reduced` = the
`stored` that was seen before the raw points were read. So a minute whose marks differ is not finished, whoever wrote it, whenever
it came and whatever was killed in between; and doing it twice writes the same points again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from collector.ingest import Record
from collector.lines import head, number

MARK = "minute_mark"
SUFFIX = "_1m"
MINUTE_US = 60_000_000
MINUTE_NS = 60_000_000_000
SOURCES = ("module", "inverter", "arduino")
SPAN_MINUTES = 10
"""So many minutes are asked for at once: of a full bus about a second of work for the engine."""
REDUCERS = ("min", "mean", "max")
_RANDOM_BITS = 52
_NEAR_US = 10 * MINUTE_US
_MOST_MARKS = 5000


class Series(NamedTuple):
    """One series of an answer of the store: the tags that tell it apart, and its rows, times in ns."""

    tags: dict[str, str]
    columns: tuple[str, ...]
    rows: list[list[Any]]


class Minute(NamedTuple):
    """One minute of one source: `series` is the measurement with its tags as they stand in a line, `start_ns` its time."""

    series: str
    start_ns: int

    @property
    def measurement(self) -> str:
        """`module`, `inverter` or `arduino`."""
        return self.series.partition(",")[0]


Marks = dict[Minute, float]
"""The minutes that are not finished, with the `stored` that was seen."""


class Span(NamedTuple):
    """Minutes of one measurement that are made of one answer: those that are due, between two times in ns."""

    measurement: str
    first_ns: int
    end_ns: int
    due: Marks


def marks(records: Iterable[Record]) -> list[str]:
    """The lines that go along with the records' own."""
    minutes = {
        (head(record.identity.site, record.identity.node, record.source), minute)
        for record in records
        if record.identity.lane == "tele"
        for minute in _touched(record)
    }
    stored = random.getrandbits(_RANDOM_BITS) + 1
    return [f"{MARK},of={series} stored={stored},reduced=0 {minute * MINUTE_NS}" for series, minute in sorted(minutes)]


def _touched(record: Record) -> Iterable[int]:
    if record.t_max - record.t_min < _NEAR_US:
        return range(record.t_min // MINUTE_US, record.t_max // MINUTE_US + 1)
    t0: int = record.body["t0"]
    return {(t0 + offset) // MINUTE_US for offset in record.body["t"]}


def unfinished(since_ns: int, until_ns: int) -> str:
    """Asks for the minutes to be made, from `since_ns` on, before `until_ns`."""
    return (
        f'SELECT "stored", "reduced" FROM "{MARK}" WHERE "stored" != "reduced"'  # noqa: S608 (our own names)
        f" AND time >= {since_ns} AND time < {until_ns} GROUP BY * LIMIT {_MOST_MARKS}"
    )


def read_marks(answer: Sequence[Series]) -> Marks:
    """The minutes of an answer to `unfinished`."""
    return {
        Minute(_series_of(one.tags), row[0]): row[1]
        for one in answer
        if one.tags.get("of") in SOURCES
        for row in one.rows
    }


def spans(due: Marks) -> Iterator[Span]:
    """The due minutes in few spans, none longer than `SPAN_MINUTES`."""
    span_ns = SPAN_MINUTES * MINUTE_NS
    parts: dict[tuple[str, int], Marks] = {}
    for minute, stored in due.items():
        parts.setdefault((minute.measurement, minute.start_ns // span_ns), {})[minute] = stored
    for (measurement, _), part in sorted(parts.items()):
        starts = [minute.start_ns for minute in part]
        yield Span(measurement, min(starts), max(starts) + MINUTE_NS, part)


def reduce(span: Span) -> str:
    """Asks for minimum, mean and maximum of every signal, by the minute."""
    chosen = ", ".join(f"{reducer.upper()}(*)" for reducer in REDUCERS)
    return (
        f'SELECT {chosen} FROM "{span.measurement}"'  # noqa: S608 (our own names)
        f" WHERE time >= {span.first_ns} AND time < {span.end_ns} GROUP BY time(1m), * fill(none)"
    )


def points(span: Span, answer: Sequence[Series]) -> list[str]:
    """For each due minute its line and the mark that it is made, in one text; a minute without raw points has only the mark.

    Other minutes of the answer are left alone: nobody has seen their marks before they were read.
    """
    made = {minute: _line(minute, fields) for minute, fields in _rows(span, answer) if minute in span.due}
    return [
        f"{made.get(minute, '')}{MARK},of={minute.series} reduced={number(stored)} {minute.start_ns}"
        for minute, stored in span.due.items()
    ]


def _rows(span: Span, answer: Sequence[Series]) -> Iterator[tuple[Minute, str]]:
    for one in answer:
        series = _series_of({**one.tags, "of": span.measurement})
        names = [_field(column) for column in one.columns[1:]]
        for start_ns, *values in one.rows:
            pairs = zip(names, values, strict=True)
            yield (
                Minute(series, start_ns),
                ",".join(f"{name}={number(value)}" for name, value in pairs if value is not None),
            )


def _line(minute: Minute, fields: str) -> str:
    return f"{minute.series.replace(minute.measurement, minute.measurement + SUFFIX, 1)} {fields} {minute.start_ns}\n"


def _series_of(tags: Mapping[str, str]) -> str:
    rest = "".join(f",{name}={tags[name]}" for name in sorted(tags) if name != "of" and tags[name])
    return f"{tags['of']}{rest}"


def _field(column: str) -> str:
    """`CMA_Voltage_min` for the engine's `min_CMA_Voltage`."""
    reducer, _, name = column.partition("_")
    return f"{name}_{reducer}"
