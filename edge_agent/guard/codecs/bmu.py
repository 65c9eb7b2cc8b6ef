"""BMU frames to readings: what of a frame may be believed (SAFETY §1), judged in raw counts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.guard.model import NoData, Reading
from shared.errors import WireError

if TYPE_CHECKING:
    from edge_agent.guard.codecs.dbc import Decoder, SignalSpec

Counts = tuple[int | float | None, ...]
Bad = tuple[tuple[int, str], ...]
Read = Callable[[bytes, float], Reading | NoData]
"""(data, t_mono) → what the frame says."""

NEVER_ALL_ZERO = frozenset({"pdo1", "pdo3"})
LOWEST_C, HIGHEST_C = -40.0, 120.0
LONG_SPAN = 2
"""Up to so many neighbours are compared one by one, more by their minimum and maximum."""

_CELL = re.compile(r"Cell_?0*(?P<cell>\d+)_Voltage\Z")
_CELL_EXTREME = re.compile(r"(Min|Max)_Cell_Voltage\Z")
_TEMPERATURE = re.compile(r"CMA_(Min_|Max_)?Temp\d*\Z")


class Bounds(NamedTuple):
    """Counts between which a signal is physical; `outside` is the reason when it is not."""

    low: int
    high: int
    outside: str


class Span(NamedTuple):
    """Neighbouring signals with the same bounds."""

    place: slice
    low: int
    high: int


def reader(source: str, part: str, decoder: Decoder, cells: int) -> Read:
    """The function that turns one part's frames of one module into readings.

    `cells` is how many cells a module has: those beyond must read 0 and are reported as `not_populated`. A frame of wrong
    length, of all ones, or of all zeros where that cannot be, is no reading but NoData with its reason.
    """
    spec = decoder.spec
    bounds = [_bounds(signal, cells) for signal in spec.signals]
    ordinary = _screen(bounds)
    absent = tuple((i, "not_populated") for i, signal in enumerate(spec.signals) if _cell(signal) > cells)
    length = spec.length
    refused = {b"\xff" * length: "all_ones"} if length else {}
    if part in NEVER_ALL_ZERO:
        refused[bytes(length)] = "all_zeros"
    raw_of, values_of = decoder.raw, decoder.values

    new = tuple.__new__  # Reading(…) costs twice as much, thousands of times a second
    last: bytes | None = None
    raw: Counts = ()
    values: Counts = ()
    bad: Bad = ()

    def read(data: bytes, t_mono: float) -> Reading | NoData:
        nonlocal last, raw, values, bad
        if data != last:  # most frames say the same as the one before
            if data in refused:
                return NoData(source, part, t_mono, refused[data], data.hex())
            last = None  # nothing is known to belong to a frame until all of it is
            try:
                raw, values = raw_of(data), values_of(data)
            except WireError as error:
                reason = "decoder" if len(data) == length else "wrong_length"
                return NoData(source, part, t_mono, reason, str(error))
            bad = absent if ordinary(raw) else _judged(bounds, raw, absent)
            last = data
        return new(Reading, (source, part, t_mono, raw, values, bad))

    return read


def _screen(bounds: list[Bounds | None]) -> Callable[[Counts], bool]:
    """The short answer for nearly every frame: nothing to complain about."""
    spans = _spans(bounds)
    long = [(span.place, span.low, span.high) for span in spans if span.place.stop - span.place.start > LONG_SPAN]
    single = [
        (index, span.low, span.high)
        for span in spans
        if span.place.stop - span.place.start <= LONG_SPAN
        for index in range(span.place.start, span.place.stop)
    ]

    def ordinary(raw: Counts) -> bool:
        try:
            for place, low, high in long:
                counts = raw[place]
                if min(counts) < low or max(counts) > high:  # type: ignore[type-var,operator]  # None: caught
                    return False
            for index, low, high in single:
                if not low <= raw[index] <= high:  # type: ignore[operator]  # None: caught
                    return False
        except TypeError:  # a signal absent under this multiplexer has no count to compare
            return False
        return True

    return ordinary


def _cell(signal: SignalSpec) -> int:
    match = _CELL.match(signal.name)
    return int(match["cell"]) if match else 0


def _bounds(signal: SignalSpec, cells: int) -> Bounds | None:
    """The counts this signal may have; None when any will do."""
    if signal.is_float:
        return None
    if _cell(signal) > cells:
        return Bounds(0, 0, "invalid")
    if _cell(signal) or _CELL_EXTREME.match(signal.name):
        # the ends of the scale are what an unconnected or broken input reads
        return Bounds(1, (1 << signal.length) - 2, "out_of_range")
    if _TEMPERATURE.match(signal.name):
        low, high = sorted(((limit - signal.offset) / signal.scale) for limit in (LOWEST_C, HIGHEST_C))
        return Bounds(math.ceil(low), math.floor(high), "out_of_range")
    return None


def _spans(bounds: Iterable[Bounds | None]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for index, bound in enumerate(bounds):
        if bound is None:
            continue
        last = spans[-1] if spans else None
        if last is not None and last.place.stop == index and (last.low, last.high) == (bound.low, bound.high):
            spans[-1] = last._replace(place=slice(last.place.start, index + 1))
        else:
            spans.append(Span(slice(index, index + 1), bound.low, bound.high))
    return tuple(spans)


def _judged(bounds: list[Bounds | None], raw: Counts, absent: Bad) -> Bad:
    bad = dict(absent)
    for index, (bound, count) in enumerate(zip(bounds, raw, strict=True)):
        if bound is not None and count is not None and not bound.low <= count <= bound.high:
            bad[index] = bound.outside
    return tuple(sorted(bad.items()))
