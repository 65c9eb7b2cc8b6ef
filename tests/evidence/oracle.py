"""The rules as SAFETY §2 words them, slow and plain: on each sample every row looks at all samples since it last changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from edge_agent.guard.model import Level

EARLY_S = 0.03
"""T_on is a whole number of periods; a sample may come so much early."""
NEVER_S = -math.inf
W, D, F, C = Level.WARNING, Level.DANGER, Level.FAULT, Level.CRITICAL


Way = Callable[[float], bool]


class Sample(NamedTuple):
    """A believed value. `whole`: everything that came with it was believed too; else it moves nothing towards OK."""

    t: float
    value: float
    whole: bool = True


class Row:
    """One threshold of one rule on one signal, in counts."""

    def __init__(  # noqa: PLR0917 - a row of a table
        self, alarm: str, level: Level, trip: Way, calm: Way, n: int, t_on_s: float, gate: str = "always"
    ) -> None:
        self.alarm, self.level, self.trip, self.calm, self.n, self.t_on_s = alarm, level, trip, calm, n, t_on_s
        self.gate = gate
        self.off_s = max(t_on_s, 1.0)
        self.forget()

    def forget(self) -> None:
        self.active = False
        self.since_change: list[Sample] = []

    def see(self, sample: Sample) -> None:
        wanted = self.calm if self.active else self.trip
        if not sample.whole and not self.trip(sample.value):
            # cannot be trusted to be good; what is neither good nor bad ends a run of good ones
            if self.active and not self.calm(sample.value):
                self.since_change.append(sample)
            return
        self.since_change.append(sample)
        run: list[Sample] = []
        for earlier in reversed(self.since_change):
            if not wanted(earlier.value):
                break
            run.insert(0, earlier)
        n, span_s = (5, self.off_s) if self.active else (self.n, self.t_on_s)
        if len(run) >= n and run[-1].t - run[0].t >= span_s - EARLY_S:
            self.active, self.since_change = not self.active, []


def above(limit: float, clear: float, half: float = 0.499) -> tuple[Way, Way]:
    """Trips at `limit`, is calm at or below `clear`; both give way by half a count, and what trips is never calm."""
    return lambda v: v >= limit - half, lambda v: v <= clear + half and not v >= limit - half


def below(limit: float, clear: float, half: float = 0.499) -> tuple[Way, Way]:
    """Trips at `limit`, is calm at or above `clear`."""
    return lambda v: v <= limit + half, lambda v: v >= clear - half and not v <= limit + half


class Stream:
    """One judged value: which counts are possible, and its rows."""

    def __init__(self, low: float, high: float, rows: list[Row]) -> None:
        self.low, self.high, self.rows = low, high, rows

    def believes(self, value: float | None) -> bool:
        return value is not None and self.low <= value <= self.high

    def see(self, sample: Sample, gates: tuple[str, ...] = ("always",)) -> None:
        for row in self.rows:
            if row.gate in gates:
                row.see(sample)


def counts(volts: float) -> float:
    """Of a cell's voltage."""
    return (volts - 2.2) / 0.01


def cell(alarm: str) -> Stream:
    high, low = f"{alarm}.voltage_high", f"{alarm}.voltage_low"
    rows = [
        Row(high, W, *above(counts(4.10), counts(4.07)), 3, 0.4),
        Row(high, D, *above(counts(4.20), counts(4.17)), 3, 0.4),
        Row(high, D, *above(counts(4.25), counts(4.22)), 2, 0.2),
        Row(low, W, *below(counts(2.80), counts(2.85)), 3, 0.4),
        Row(low, D, *below(counts(2.70), counts(2.75)), 3, 0.4),
        Row(low, D, *below(counts(2.50), counts(2.55)), 2, 0.2),
    ]
    return Stream(1, 254, rows)


def absent_cell(alarm: str) -> Stream:
    return Stream(0, 254, [Row(f"{alarm}.extra", F, *above(1, 0), 5, 1.0)])


def module_voltage(source: str, cells: int) -> Stream:
    part = cells / 12 * 100
    rows = [
        Row(f"{source}.voltage_{side}", level, *way(limit * part, clear * part), 3, 0.4)
        for side, way, level, limit, clear in (
            ("high", above, W, 48.0, 47.7), ("high", above, D, 49.0, 48.7),
            ("low", below, W, 34.0, 34.3), ("low", below, D, 33.0, 33.3),
        )
    ]  # fmt: skip
    return Stream(1, 500 * cells, rows)


def temperature(source: str, *, hot: bool, cold: bool) -> Stream:
    high, low = f"{source}.temperature_high", f"{source}.temperature_low"
    rows = []
    if hot:
        rows += [Row(high, W, *above(40, 37), 3, 0.6), Row(high, D, *above(50, 47), 3, 0.6)]
        rows += [Row(high, D, *above(60, 57), 2, 0.2)]
    if cold:
        rows += [Row(low, W, *below(limit, limit + 2), 3, 2.0) for limit in (5, 0, -20)]
    return Stream(-40, 120, rows)


def difference(alarm: str, warning: float, danger: float | None, hysteresis: float) -> Stream:
    """Differences of counts: cell sum, spreads, reported against computed."""
    rows = [Row(alarm, W, *above(warning, warning - hysteresis), 5, 2.0)]
    if danger is not None:
        rows.append(Row(alarm, F, *above(danger, danger - hysteresis), 5, 2.0))
    return Stream(NEVER_S, math.inf, rows)


def flag(alarm: str, level: Level, n: int, t_on_s: float, gate: str = "always") -> Stream:
    return Stream(NEVER_S, math.inf, [Row(alarm, level, *above(1, 0, 1e-9), n, t_on_s, gate)])


def rows_of(alarm: str, gate: str, half: float, n_on: tuple[int, float], *limits: tuple[Level, float, float]) -> Stream:
    """Rows upwards: (level, limit, hysteresis)."""
    found = [Row(alarm, level, *above(limit, limit - margin, half), *n_on, gate) for level, limit, margin in limits]
    return Stream(NEVER_S, math.inf, found)
