"""The rules of one battery module: a quiet frame passes in a microsecond, anything else is walked signal by signal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge_agent.guard.model import Level, Reading
from edge_agent.guard.safety.interface import Settings, SignalInfo
from edge_agent.guard.safety.rule_checks import CELL
from edge_agent.guard.safety.rules import BOTH_BLOCKED_BELOW_K, Rule
from edge_agent.guard.safety.trackers import Alarm, Condition, Register, Scale, Threshold, band, conditions

REQUIRED_PARTS = ("pdo1", "pdo3", "pdo4")
TEMPERATURE = re.compile(r"CMA_(Max_Temp|Min_Temp|Temp\d+)\Z")
VALID_C = (-40.0, 120.0)
CELL_COUNTS = (1, 254)
MOST_PATTERNS = 64
HEATING = ("inverter_zero", "relays_open", "cooling_on")
ELECTRIC = ("inverter_zero", "relays_open")

Counts = tuple[int | float | None, ...]


class Check(NamedTuple):
    """One judged signal of a part: where it is, which counts are possible at all, its conditions."""

    where: int
    scale: Scale
    lowest: float
    highest: float
    conditions: list[Condition]


class Rows(NamedTuple):
    """The built rule table with the settings it was built for."""

    settings: Settings
    rules: dict[str, Rule]
    register: Register


class PartJudge:
    """All conditions on single signals of one part of one module."""

    __slots__ = ("_bands", "_checks", "_known_bad", "_register", "_runs", "busy")

    def __init__(self, checks: list[Check], register: Register) -> None:
        self._checks = checks
        self._register = register
        self.busy = False
        self._known_bad: dict[tuple[tuple[int, str], ...], frozenset[int]] = {(): frozenset()}
        self._runs, self._bands = _screens(checks)

    def judge(self, reading: Reading) -> bool:
        """Feed one frame; True when every judged signal of it could be believed."""
        raw = reading.raw
        if not self.busy and not (reading.bad and self._doubtful(reading.bad)):
            try:
                for start, stop, low, high in self._runs:
                    piece = raw[start:stop]
                    if min(piece) < low or max(piece) > high:  # type: ignore[type-var,operator]  # None: TypeError below
                        break
                else:
                    for index, low, high in self._bands:
                        if not low <= raw[index] <= high:  # type: ignore[operator]  # None: TypeError below
                            break
                    else:
                        return True
            except TypeError:
                pass  # an absent multiplexed signal: the walk below sees which
        return self._walk(reading)

    def _walk(self, reading: Reading) -> bool:
        raw, t = reading.raw, reading.t_mono
        bad = self._doubtful(reading.bad)
        believed = [
            (check, count)
            for check in self._checks
            if check.where not in bad
            and (count := raw[check.where]) is not None
            and check.lowest <= count <= check.highest
        ]
        clean = len(believed) == len(self._checks)
        busy = False
        for check, count in believed:
            for condition in check.conditions:
                if condition.sample(count, t, may_clear=clean):
                    self._register.update(condition, count * check.scale.scale + check.scale.offset)
                busy = busy or condition.active or condition.count > 0
        self.busy = busy or (self.busy and not clean)
        return clean

    def _doubtful(self, bad: tuple[tuple[int, str], ...]) -> frozenset[int]:
        """Indices that must not be believed. An absent cell is as it should be; a present one without counts fails its range."""
        known = self._known_bad.get(bad)
        if known is None:
            known = frozenset(index for index, reason in bad if reason != "not_populated")
            if len(self._known_bad) < MOST_PATTERNS:
                self._known_bad[bad] = known
        return known


def _screens(
    checks: list[Check],
) -> tuple[list[tuple[int, int, float, float]], list[tuple[int, float, float]]]:
    """Runs of neighbours with one band (judged by min and max of a slice), and single signals with their own."""
    bands = [(check.where, *_quiet(check)) for check in checks]
    runs: list[tuple[int, int, float, float]] = []
    singles: list[tuple[int, float, float]] = []
    position = 0
    while position < len(bands):
        index, low, high = bands[position]
        length = 1
        while position + length < len(bands) and bands[position + length] == (index + length, low, high):
            length += 1
        if length > 2:
            runs.append((index, index + length, low, high))
        else:
            singles += bands[position : position + length]
        position += length
    return runs, singles


def _quiet(check: Check) -> tuple[float, float]:
    low, high = band(check.conditions)
    return max(low, check.lowest), min(high, check.highest)


class SignalPlan(NamedTuple):
    """How to judge a signal of this name: possible physical range or counts, and the conditions it gets."""

    name: re.Pattern[str]
    build: Callable[[Rows, str, SignalInfo], Check | None]


def part_checks(rows: Rows, source: str, signals: tuple[SignalInfo, ...]) -> list[Check]:
    """The checks of one part of module `source`, in the order of its signals."""
    found: list[Check] = []
    for index, signal in enumerate(signals):
        check = next((plan.build(rows, source, signal) for plan in PLANS if plan.name.match(signal.name)), None)
        if check is not None:
            found.append(check._replace(where=index))
    return found


def _scale(signal: SignalInfo) -> Scale:
    return Scale(signal.scale, signal.offset)


def _cell(rows: Rows, source: str, signal: SignalInfo) -> Check | None:
    match = CELL.match(signal.name)
    assert match is not None
    cell = int(match[1])
    scale = _scale(signal)
    if cell > rows.settings.cells:
        alarm = Alarm(f"{source}.cell-{cell:02d}.extra", effects=ELECTRIC)
        return Check(0, scale, 0, 254, conditions(alarm, rows.rules["extra_cell"], 1, Scale()))
    name = f"{source}.cell-{cell:02d}.voltage_"
    high, low = Alarm(name + "high", ("charge",), ELECTRIC), Alarm(name + "low", ("discharge",), ELECTRIC)
    found = [
        condition
        for key in ("cell_voltage", "cell_voltage_fast")
        for alarm, side in ((low, 0), (high, 1))
        for condition in conditions(alarm, rows.rules[key], side, scale)
    ]
    return Check(0, scale, *CELL_COUNTS, found)


def _module_voltage(rows: Rows, source: str, signal: SignalInfo) -> Check | None:
    scale, rule = _scale(signal), rows.rules["module_voltage"]
    low = Alarm(f"{source}.voltage_low", ("discharge",), ELECTRIC)
    high = Alarm(f"{source}.voltage_high", ("charge",), ELECTRIC)
    found = [*conditions(low, rule, 0, scale), *conditions(high, rule, 1, scale)]
    most = 5.0 * rows.settings.cells
    return Check(0, scale, 1, (most - scale.offset) / scale.scale, found)


def _temperature(rows: Rows, source: str, signal: SignalInfo) -> Check | None:
    scale = _scale(signal)
    high = Alarm(f"{source}.temperature_high", effects=HEATING)
    found: list[Condition] = []
    if not signal.name.endswith("Min_Temp"):
        found += conditions(high, rows.rules["temperature"], 1, scale)
        found += conditions(high, rows.rules["temperature_fast"], 1, scale)
    if not signal.name.endswith("Max_Temp"):
        found += temperature_low(f"{source}.temperature_low", rows.rules["temperature_low"], scale)
    low, high_count = ((limit - scale.offset) / scale.scale for limit in VALID_C)
    return Check(0, scale, low, high_count, found)


def temperature_low(alarm_id: str, rule: Rule, scale: Scale) -> list[Condition]:
    """Warning, then charging blocked, then neither direction allowed: cold blocks, it does not trip."""
    if rule.action == "record":
        return []
    steps: list[tuple[float | None, tuple[str, ...]]] = [(rule.warning[0], ())]
    if rule.danger[0] is not None:
        steps += [(rule.danger[0], ("charge",)), (rule.danger[0] - BOTH_BLOCKED_BELOW_K, ("charge", "discharge"))]
    margin = rule.hysteresis[0] or 0.0
    return [
        Condition(Alarm(alarm_id, blocks), rule, Threshold(Level.WARNING, limit, margin, high=False), scale)
        for limit, blocks in steps
        if limit is not None
    ]


PLANS = (
    SignalPlan(CELL, _cell),
    SignalPlan(re.compile(r"CMA_Voltage\Z"), _module_voltage),
    SignalPlan(TEMPERATURE, _temperature),
)
"""Which signals of a module are judged by themselves. Module currents are not among them: recorded, never judged."""


def positions(signals: Iterable[SignalInfo], pattern: re.Pattern[str]) -> list[int]:
    """Where the signals of that name stand in their part."""
    return [index for index, signal in enumerate(signals) if pattern.match(signal.name)]
