"""Everything the rules know of one module: its parts, what follows from several of them, freshness, duplicates, standstill."""

from __future__ import annotations

import math
import re
from operator import lt

from edge_agent.guard.model import Reading
from edge_agent.guard.safety.interface import Settings, SignalInfo
from edge_agent.guard.safety.modules import ELECTRIC, REQUIRED_PARTS, PartJudge, Rows, part_checks, positions
from edge_agent.guard.safety.rule_checks import CELL
from edge_agent.guard.safety.trackers import Alarm, Condition, Scale, conditions

RATE_WINDOW_S = 60.0
NEVER = -math.inf
ANY_TEMPERATURE = re.compile(r"CMA_(Max_Temp|Temp\d+)\Z")


class Layout:
    """Where the derived rules find what they need; alike for all modules of a pack."""

    __slots__ = (
        "at_zero",
        "cells",
        "least_cell",
        "least_temp",
        "most_cell",
        "most_temp",
        "optional",
        "per_count",
        "required",
        "same_cycle_s",
        "scales",
        "temps",
        "voltage",
    )

    def __init__(self, settings: Settings) -> None:
        parts = settings.module_parts
        self.cells = [
            (part, where[0], where[-1] + 1)
            for part in ("pdo3", "pdo4")
            if (where := _present_cells(parts.get(part, ()), settings.cells))
        ]
        self.temps = {part: positions(signals, ANY_TEMPERATURE) for part, signals in parts.items()}
        first = parts.get("pdo1", ())
        self.voltage, self.least_cell, self.most_cell, self.least_temp, self.most_temp = (
            next(iter(positions(first, re.compile(name + r"\Z"))), None)
            for name in ("CMA_Voltage", "Min_Cell_Voltage", "Max_Cell_Voltage", "CMA_Min_Temp", "CMA_Max_Temp")
        )
        self.scales = {signal.name: Scale(signal.scale, signal.offset) for part in parts.values() for signal in part}
        # a layout without a cell in pdo4 (8 cells or fewer) does not wait for it
        used = {part for part, _, _ in self.cells}
        self.required = tuple(part for part in REQUIRED_PARTS if part in parts and (part != "pdo4" or "pdo4" in used))
        self.optional = tuple(part for part, where in self.temps.items() if where and part not in self.required)
        # parts of one cycle arrive within a few ms; anything older belongs to the cycle before
        self.same_cycle_s = 0.9 * settings.sync_period_s
        # Σ cells in counts of CMA_Voltage = counts · per_count + at_zero
        cell, total = (self.scales.get(name, Scale()) for name in ("Cell_1_Voltage", "CMA_Voltage"))
        self.per_count = cell.scale / total.scale
        self.at_zero = (settings.cells * cell.offset - total.offset) / total.scale


def _present_cells(signals: tuple[SignalInfo, ...], cells: int) -> list[int]:
    return [i for i, s in enumerate(signals) if (match := CELL.match(s.name)) and int(match[1]) <= cells]


class ModuleJudge:
    """One module, `source` = `module-NN`. Feed every reading of it; ask for the rest."""

    __slots__ = (
        "_cycle", "_derived", "_derived_busy", "_doubled", "_duplicate", "_layout", "_parts", "_quiet", "_rate", "_rows",
        "last", "rate_at", "rate_mean", "rate_n", "rate_sum", "source", "standstill", "t_any", "t_good",
    )  # fmt: skip

    def __init__(self, source: str, rows: Rows, layout: Layout) -> None:
        self.source, self._rows, self._layout = source, rows, layout
        parts = rows.settings.module_parts
        self._parts = {
            part: PartJudge(part_checks(rows, source, signals), rows.register) for part, signals in parts.items()
        }
        self._derived = _derived(source, rows, layout)
        self._quiet = tuple(min((c.trip for c in found), default=math.inf) for _, found in self._derived)
        self._derived_busy = False
        self._duplicate = conditions(Alarm(f"{source}.duplicate", effects=ELECTRIC), rows.rules["duplicate"], 1)
        # a mean of hundreds of counts: half a count of one of them is no tolerance for it
        exact = Scale(half=1e-9)
        self._rate = conditions(Alarm(f"{source}.temperature_rate"), rows.rules["temperature_rate"], 1, exact)
        self.t_good = dict.fromkeys(layout.required, NEVER)
        self.t_any: dict[str, float] = {}
        self.last: dict[str, tuple[float | None, ...]] = {}
        self._cycle, self._doubled = -1, False
        self.standstill = True
        self.rate_sum, self.rate_n, self.rate_mean, self.rate_at = 0.0, 0, math.nan, NEVER

    def feed(self, reading: Reading, cycle: int) -> None:
        """Judge one frame that arrived in SYNC cycle `cycle`."""
        part, t, raw = reading.part, reading.t_mono, reading.raw
        judge = self._parts.get(part)
        if judge is None:
            return
        if self.standstill and raw != self.last.get(part):
            self.standstill = False
        self.t_any[part] = t
        if not judge.judge(reading):
            return
        self.last[part] = raw
        if part in self.t_good:
            self.t_good[part] = t
        if part == "pdo1":
            self._first(raw, t, cycle)
        elif part == "pdo4" or (part == "pdo3" and "pdo4" not in self.t_good):
            self._together(t)

    def note_duplicate(self) -> None:
        """The codec saw a second sender; two answers in one cycle alone are none, one may be late from the cycle before."""
        self._doubled = True

    def _first(self, raw: tuple[float | None, ...], t: float, cycle: int) -> None:
        most = self._layout.most_temp
        if most is not None and (count := raw[most]) is not None:
            self.rate_sum += count
            self.rate_n += 1
        if cycle != self._cycle:
            self._cycle = cycle
            if self._doubled or not all(condition.idle for condition in self._duplicate):
                self._judge_duplicate(t)

    def _judge_duplicate(self, t: float) -> None:
        """Cycle by cycle: a frame disturbed on the wire doubles one cycle, a second sender doubles each."""
        for condition in self._duplicate:
            if condition.sample(float(self._doubled), t):
                self._rows.register.update(condition, 1.0)
        self._doubled = False

    def _together(self, t: float) -> None:
        """Cell sum, reported minimum and maximum, spreads: only from parts of one cycle."""
        layout = self._layout
        if layout.voltage is None or t - min(self.t_good.values()) > layout.same_cycle_s:
            return
        first, cells = self.last["pdo1"], self._cells()
        low, high = min(cells), max(cells)
        values = (
            abs(sum(cells) * layout.per_count + layout.at_zero - (first[layout.voltage] or 0)),
            max(_apart(low, first, layout.least_cell), _apart(high, first, layout.most_cell)),
            high - low,
            _difference(first, layout.most_temp, layout.least_temp),
        )
        quiet = self._quiet
        if not self._derived_busy and all(map(lt, values, quiet)):
            return
        busy = False
        for value, (scale, found) in zip(values, self._derived, strict=True):
            for condition in found:
                if condition.sample(value, t):
                    self._rows.register.update(condition, round(value * scale, 4))
                busy = busy or not condition.idle
        self._derived_busy = busy

    def _cells(self) -> list[float]:
        """Counts of the cells as last believed: in a believed part none of them is absent."""
        found: list[float] = []
        for part, start, stop in self._layout.cells:
            found += self.last[part][start:stop]  # type: ignore[arg-type]  # see above
        return found

    def close_rate_window(self, now: float) -> None:
        """Once a minute: the mean of this window against that of the one before."""
        if now - self.rate_at < RATE_WINDOW_S:
            return
        scale = self._layout.scales.get("CMA_Max_Temp", Scale())
        mean = self.rate_sum / self.rate_n * scale.scale + scale.offset if self.rate_n else math.nan
        change = (mean - self.rate_mean) * 60.0 / RATE_WINDOW_S
        if self.rate_at > NEVER and not math.isnan(change):
            for condition in self._rate:
                if condition.sample(change, now):
                    self._rows.register.update(condition, round(change, 2))
        self.rate_at, self.rate_mean, self.rate_sum, self.rate_n = now, mean, 0.0, 0

    def oldest_good(self) -> float:
        """When the most overdue required part was last believed; -inf when one never was."""
        return min(self.t_good.values(), default=NEVER)

    def lacks_temperatures(self, now: float, limit_s: float) -> bool:
        """Whether a part with thermistors has been silent for so long; what it last said still counts."""
        return any(now - self.t_any.get(part, NEVER) > limit_s for part in self._layout.optional)

    def voltage_v(self) -> float | None:
        """Its terminal voltage as last believed."""
        where, raw = self._layout.voltage, self.last.get("pdo1")
        count = None if where is None or raw is None else raw[where]
        scale = self._layout.scales["CMA_Voltage"] if count is not None else Scale()
        return None if count is None else count * scale.scale + scale.offset

    def hottest_c(self) -> float:
        """The highest of its temperatures as last believed; -inf when none ever was."""
        hottest = NEVER
        for part, where in self._layout.temps.items():
            raw = self.last.get(part)
            if where and raw is not None:
                scale = self._layout.scales["CMA_Max_Temp"]
                hottest = max(hottest, max(raw[i] or 0 for i in where) * scale.scale + scale.offset)
        return hottest


def _apart(computed: float, raw: tuple[float | None, ...], where: int | None) -> float:
    reported = None if where is None else raw[where]
    return 0.0 if reported is None else abs(computed - reported)


def _difference(raw: tuple[float | None, ...], most: int | None, least: int | None) -> float:
    high, low = (None if where is None else raw[where] for where in (most, least))
    return 0.0 if high is None or low is None else high - low


Derived = tuple[float, list[Condition]]


def _derived(source: str, rows: Rows, layout: Layout) -> tuple[Derived, ...]:
    """Conditions on values in counts of the signal they compare with: the difference of two counts has no offset."""
    voltage, cell, kelvin = (
        layout.scales.get(name, Scale()) for name in ("CMA_Voltage", "Cell_1_Voltage", "CMA_Max_Temp")
    )
    found = []
    for key, scale in (
        ("cell_sum", voltage),
        ("min_max", cell),
        ("cell_spread", cell),
        ("temperature_spread", kelvin),
    ):
        counts = Scale(scale.scale)
        group = conditions(Alarm(f"{source}.{key}", effects=ELECTRIC), rows.rules[key], 1, counts)
        found.append((scale.scale, group))
    return tuple(found)
