"""The lab's old CSV logs as messages: `date,time,BMU01_…,Ardu_…,modbus_…`, one row every few seconds, local times."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import NamedTuple

import orjson

from collector.export import WIDE_NAMES
from collector.sinks.archive_reader import Selection, Stored
from shared.errors import CellguardError
from shared.signals import ARDUINO, INVERTER, module_source

BLOCK_ROWS = 100
NAMED = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MODULE = re.compile(r"BMU(?P<module>\d\d)_(?P<signal>[A-Za-z0-9_]{1,60})\Z")
_CELL = re.compile(r"Cell_?\d+_Voltage\Z")
_RAW_ZERO_V = 2.2
"""What count 0 of a cell decodes to: a cell that is not there."""
_DIGITS = 6
_OWN_NAMES = {
    f"{prefix}_{signal.name}": (source, signal.name)
    for prefix, source, signals in (("Ardu", "arduino", ARDUINO), ("modbus", "inverter", INVERTER))
    for signal in signals
}
_NAMES = {**_OWN_NAMES, **{name: place for place, name in WIDE_NAMES.items()}}
"""Column → (source, signal), as `cellguard export --wide` writes them and as the lab did."""

Place = tuple[str, str]


class Findings:
    """What was not taken over: the first ones in words, all of them counted."""

    def __init__(self) -> None:
        self.rows = 0
        self.bad_rows = 0
        self.bad_values = 0
        self.no_logs = 0
        self.words: list[str] = []
        self.columns: set[str] = set()

    def note(self, where: Path, line: int, what: str) -> None:
        """One more, named by file and line."""
        if len(self.words) < NAMED:
            self.words.append(f"{where}:{line}: {what}")


class Block:
    """Some rows of one file, by source."""

    def __init__(self) -> None:
        self.times_us: list[int] = []
        self.values: dict[Place, list[float | None]] = {}

    def add(self, time_us: int, values: Sequence[tuple[Place, float | None]]) -> None:
        """One row."""
        self.times_us.append(time_us)
        for place, value in values:
            self.values.setdefault(place, []).append(value)


class Whose(NamedTuple):
    """Under which node the rows are stored, and in which zone their times are; None: this computer's."""

    site: str
    node: str
    zone: tzinfo | None


class LogReader:
    """Implements `export.Reader` over files, one after the other, a block of rows in memory at a time.

    A message's identity is the file's content and the place in it, so that the same file gives the same messages, whatever its
    name. Raises CellguardError for a file that cannot be read.
    """

    def __init__(self, files: Sequence[Path], whose: Whose, on_row: Callable[[], None] = lambda: None) -> None:
        self._files, self._whose, self.on_row = files, whose, on_row
        self.findings = Findings()

    def count(self) -> int:
        """How many lines all files have."""
        return sum(_digest(path)[1] for path in self._files)

    def messages(self, selection: Selection) -> Iterator[Stored]:
        """Every row of every file; the selection is for other readers."""
        del selection
        for path in self._files:
            yield from self._messages(path)

    def _messages(self, path: Path) -> Iterator[Stored]:
        spool, seq = _digest(path)[0], 0
        for block in self._blocks(path):
            for source in sorted({source for source, _ in block.values}):
                seq += 1
                yield _message(self._whose, spool, seq, source, block)

    def _blocks(self, path: Path) -> Iterator[Block]:
        block = Block()
        for time_us, values in self._rows(path):
            # a clock that was set back begins a new block: within one, times rise
            if len(block.times_us) >= BLOCK_ROWS or (block.times_us and time_us < block.times_us[-1]):
                yield block
                block = Block()
            block.add(time_us, values)
        if block.times_us:
            yield block

    def _rows(self, path: Path) -> Iterator[tuple[int, list[tuple[Place, float | None]]]]:
        found = self.findings
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            table = csv.reader(stream)
            try:
                header = next(table, [])
                if [name.strip() for name in header[:2]] != ["date", "time"]:
                    found.no_logs += 1
                    found.note(path, 1, "no old log: its header does not begin with date,time")
                    return
                places = [_place(name.strip()) for name in header]
                found.columns |= {name for name, place in zip(header[2:], places[2:], strict=True) if place is None}
                yield from self._data(path, table, places)
            except csv.Error as error:
                found.bad_rows += 1
                found.note(path, table.line_num, f"no CSV ({error}); the rest of the file was not read")

    def _data(
        self, path: Path, table: Iterator[list[str]], places: list[Place | None]
    ) -> Iterator[tuple[int, list[tuple[Place, float | None]]]]:
        found, before_us = self.findings, -1
        for line, cells in enumerate(table, 2):
            self.on_row()
            if not cells:
                continue
            try:
                time_us = _judged_time(cells, len(places), self._whose.zone, before_us)
            except ValueError as error:
                found.bad_rows += 1
                found.note(path, line, str(error))
                continue
            before_us = time_us
            found.rows += 1
            yield (
                time_us,
                [self._value(path, line, place, cell) for place, cell in zip(places, cells, strict=True) if place],
            )

    def _value(self, path: Path, line: int, place: Place, cell: str) -> tuple[Place, float | None]:
        text = cell.strip()
        value = _number(text)
        if value is None and text:
            self.findings.bad_values += 1
            self.findings.note(
                path, line, f"{'.'.join(place)}: {text[:40]!r} is no number; the rest of the row was taken"
            )
        absent = value == _RAW_ZERO_V and _CELL.match(place[1])
        return place, None if absent else value


def log_files(given: Sequence[Path]) -> list[Path]:
    """The files themselves, and of folders every .csv below, in order of their names; raises CellguardError when one is not there."""
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            files += sorted(one for one in path.rglob("*") if one.suffix.lower() == ".csv" and one.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise CellguardError(f"{path}: no such file or folder")
    return files


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return round(value, _DIGITS) if math.isfinite(value) else None


def _place(name: str) -> Place | None:
    match = _MODULE.match(name)
    return (module_source(int(match["module"])), match["signal"]) if match else _NAMES.get(name)


def _judged_time(cells: list[str], width: int, zone: tzinfo | None, before_us: int) -> int:
    if len(cells) != width:
        raise ValueError(f"{len(cells)} columns, the header has {width}")
    try:
        when = datetime.strptime(f"{cells[0].strip()} {cells[1].strip()}", _form(cells[1]))  # noqa: DTZ007 - the zone follows
    except ValueError:
        shown = f"{cells[0][:20]} {cells[1][:20]}"
        raise ValueError(f"{shown!r} is no date and time like 31-03-2021 12:52:01") from None
    time_us = _unix_us(when.replace(tzinfo=zone))
    # the hour that comes twice in autumn: what would go back in time is its second pass
    if time_us < before_us and (second := _unix_us(when.replace(tzinfo=zone, fold=1))) > before_us:
        time_us = second
    if time_us < 0:
        raise ValueError(f"{cells[0]} lies before 1970")
    if time_us == before_us:
        raise ValueError("the same time as the row before")
    return time_us


def _form(time: str) -> str:
    return "%d-%m-%Y %H:%M:%S.%f" if "." in time else "%d-%m-%Y %H:%M:%S"


def _unix_us(when: datetime) -> int:
    return (when.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _message(whose: Whose, spool: str, seq: int, source: str, block: Block) -> Stored:
    t0 = block.times_us[0]
    columns = {name: column for (of, name), column in block.values.items() if of == source}
    body = {
        "spool": spool,
        "lane": "tele",
        "seq": seq,
        "clock": "imported",
        "t0": t0,
        "t": [time_us - t0 for time_us in block.times_us],
        "v": {name: column for name, column in columns.items() if any(value is not None for value in column)},
    }
    return Stored(whose.site, whose.node, "tele", seq, source, t0, block.times_us[-1], orjson.dumps(body))


def _digest(path: Path) -> tuple[str, int]:
    """8 hex digits of the file's content, and its lines."""
    digest, lines = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                lines += chunk.count(b"\n")
    except OSError as error:
        raise CellguardError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:8], lines
