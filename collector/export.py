"""Stored messages as rows in the order of time, and those as CSV, as a table like the lab's, or as line protocol."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple, Protocol

from collector.ingest import Poison, Record, ingest
from collector.lines import lines
from collector.sinks.archive_reader import Selection, Stored
from shared import topics
from shared.signals import module_number

CARRY_US = 1_000_000
"""How old a value of the inverter or the Arduino may be to stand in a row of `wide`: they have no time of their own there."""

WIDE_NAMES = {
    ("arduino", "press"): "Ardu_Press",
    ("arduino", "temp1"): "Ardu_Temp1",
    ("arduino", "temp2"): "Ardu_Temp2",
    ("inverter", "power"): "modbus_Power",
    ("inverter", "current"): "modbus_Current",
    ("inverter", "battery_voltage"): "modbus_Voltage",
}
"""The lab's own column names, in its order; any other signal is `Ardu_NAME` or `modbus_NAME`."""

_NOTED = 20
_PREFIXES = {"arduino": "Ardu", "inverter": "modbus"}
Column = tuple[str, str]
Values = dict[str, float | None]


class Reader(Protocol):
    """Where messages come from: an archive or a spool."""

    def messages(self, selection: Selection) -> Iterator[Stored]:
        """In the order of their first row's time."""


class Row(NamedTuple):
    """One sample row, or one event with its body in `text` (line protocol) and no values."""

    time_us: int
    source: str
    values: Values
    text: str


class Tally:
    """What an export met on its way: `on_message` is called for each message read."""

    def __init__(self, on_message: Callable[[], None] = lambda: None) -> None:
        self.on_message = on_message
        self.rows = 0
        self.gaps = 0
        self.gap_notes: list[str] = []
        self.unreadable = 0

    def note_gap(self, body: dict[str, Any]) -> None:
        """Count a gap record, and say of the first few what is missing, when and why."""
        self.gaps += 1
        if len(self.gap_notes) < _NOTED:
            first, last = (_moment(body.get(key)) for key in ("t_from", "t_to"))
            count = body.get("rows", body.get("missing"))
            what = f"{body.get('of', '?')} {body.get('from')}..{body.get('to') or '?'}"
            weight = f" ({count} rows)" if count else ""
            self.gap_notes.append(f"{what}{weight}, {first} to {last}: {body.get('reason', '?')}")


def rows_in_time(reader: Reader, selection: Selection, tally: Tally, *, as_lines: bool = False) -> Iterator[Row]:
    """Every row of the selection once its turn in time has come; no more is held than messages that overlap.

    Rows of telemetry carry their values, or with `as_lines` their text; events come only with `as_lines`, and of one source's
    export only the gaps.
    """
    waiting: list[tuple[int, int, Row]] = []
    count = 0
    for message in reader.messages(selection):
        tally.on_message()
        while waiting and waiting[0][0] < message.t_min:
            yield heapq.heappop(waiting)[2]
        if message.lane == "event" and message.source != "gap" and (selection.source or not as_lines):
            continue
        for row in _rows(message, tally, as_lines=as_lines):
            if selection.since_us <= row.time_us < selection.until_us:
                count += 1
                tally.rows += 1
                heapq.heappush(waiting, (row.time_us, count, row))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _moment(time_us: object) -> str:
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z" if isinstance(time_us, int) else "?"


def _rows(message: Stored, tally: Tally, *, as_lines: bool) -> Iterable[Row]:
    topic = f"{topics.node_root(message.site, message.node)}/{message.lane}/{message.source}"
    try:
        record = ingest(topic, message.payload)
    except Poison:
        tally.unreadable += 1
        return []
    if message.lane == "event":
        if message.source == "gap":
            tally.note_gap(record.body)
        return [Row(message.t_min, message.source, {}, lines(record))] if as_lines else []
    return _text_rows(record) if as_lines else _value_rows(record)


def _text_rows(record: Record) -> Iterator[Row]:
    for line in filter(None, lines(record).split("\n")):
        yield Row(int(line.rpartition(" ")[2]) // 1000, record.source, {}, line)


def _value_rows(record: Record) -> Iterator[Row]:
    columns: dict[str, list[float | None]] = record.body["v"]
    t0: int = record.body["t0"]
    for index, offset in enumerate(record.body["t"]):
        yield Row(t0 + offset, record.source, {name: column[index] for name, column in columns.items()}, "")


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """`time,source,signal,value`: one line a value, time in Unix µs, the value as it was sent."""
    yield "time,source,signal,value\n"
    for row in rows:
        yield "".join(
            f"{row.time_us},{row.source},{name},{value!r}\n" for name, value in row.values.items() if value is not None
        )


def as_line_protocol(rows: Iterable[Row]) -> Iterator[str]:
    """Line protocol in ns, telemetry, events, alarms and gaps alike."""
    return (f"{row.text}\n" for row in rows)


def columns_of(rows: Iterable[Row]) -> list[Column]:
    """Every (source, signal) that occurs, in the lab's order: modules, Arduino, inverter; a module's signals by name."""
    return sorted({(row.source, name) for row in rows for name in row.values}, key=_place)


def _place(column: Column) -> tuple[int, str, int, str]:
    source, name = column
    known = list(WIDE_NAMES)
    rank = known.index(column) if column in known else len(known)
    group = (
        0
        if module_number(source) is not None
        else 1 + ["arduino", "inverter"].index(source)
        if source in _PREFIXES
        else 3
    )
    return group, source, rank, name


def as_wide(rows: Iterable[Row], columns: list[Column], zone: tzinfo = UTC) -> Iterator[str]:
    """One line a time and one column a signal, as the lab's files have it: `date,time,BMU01_…,Ardu_…,modbus_…`.

    A line is one SYNC: the modules share its time. The inverter and the Arduino have times of their own, so each line carries
    their latest values not older than `CARRY_US`. Without any module in the selection every time is a line.
    """
    yield ",".join(["date", "time", *map(_wide_name, columns)]) + "\n"
    paced_by_modules = any(module_number(source) is not None for source, _ in columns)
    latest: dict[str, Row] = {}
    line: dict[str, Row] = {}
    at_us = -1
    for row in rows:
        if line and row.time_us != at_us:
            yield _wide_line(at_us, line, latest, columns, zone)
            line = {}
        if module_number(row.source) is None:
            latest[row.source] = row
        if not paced_by_modules or module_number(row.source) is not None:
            at_us, line[row.source] = row.time_us, row
    if line:
        yield _wide_line(at_us, line, latest, columns, zone)


def _wide_name(column: Column) -> str:
    source, name = column
    module = module_number(source)
    if module is not None:
        return f"BMU{module:02d}_{name}"
    return WIDE_NAMES.get(column) or f"{_PREFIXES.get(source, source)}_{name}"


def _wide_line(at_us: int, line: dict[str, Row], latest: dict[str, Row], columns: list[Column], zone: tzinfo) -> str:
    carried = {source: row for source, row in latest.items() if at_us - row.time_us <= CARRY_US}
    present = {**carried, **line}
    seconds, micros = divmod(at_us, 1_000_000)
    when = datetime.fromtimestamp(seconds, zone).replace(microsecond=micros)
    values = (present[source].values.get(name) if source in present else None for source, name in columns)
    texts = ("" if value is None else repr(value) for value in values)
    return ",".join([f"{when:%d-%m-%Y}", f"{when:%H:%M:%S.%f}", *texts]) + "\n"
