"""One condition of one rule: N new consecutive violating samples and T_on to enter, 5 and T_off to clear."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_agent.guard.model import Level
from edge_agent.guard.safety.rules import CLEAR_SAMPLES, Bound, Gate, Rule

JITTER_S = 0.03
"""T_on is a whole number of sample periods; a sample may come this much early and still counts as in time."""


class Scale(NamedTuple):
    """physical = count · scale + offset; thresholds give way by `half` a count: `<= 2.8` trips at the count of 2.80 V."""

    scale: float = 1.0
    offset: float = 0.0
    half: float = 0.499


class Alarm(NamedTuple):
    """What a condition raises: the alarm's id, which directions it blocks, what its reaction adds."""

    id: str
    blocks: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()


class Evidence(NamedTuple):
    """What a condition was raised by: its rule, how many samples in a row, the first's and the last's time (s, monotonic)."""

    rule: str
    samples: int
    first: float
    last: float


class Threshold(NamedTuple):
    """Violated at and beyond `limit`, upwards when `high`."""

    level: Level
    limit: float
    hysteresis: float
    high: bool


class Condition:
    """One threshold on one side. Counts in, a level out; an invalid sample is simply never given to it."""

    __slots__ = (
        "active", "alarm", "at", "calm", "calm_since", "clear", "count", "gate", "high", "level", "limit", "n", "rule", "since",
        "t_off_s", "t_on_s", "trip", "unit", "zero",
    )  # fmt: skip

    def __init__(self, alarm: Alarm, rule: Rule, threshold: Threshold, scale: Scale) -> None:
        self.alarm, self.rule, self.gate, self.unit = alarm, rule.key, rule.when, rule.unit
        self.level, self.limit, hysteresis, self.high = threshold
        self.zero = False
        self.n, self.t_on_s, self.t_off_s = rule.n, rule.t_on_s, rule.t_off_s(self.level)
        self.count, self.since, self.at, self.calm, self.calm_since, self.active = 0, 0.0, 0.0, 0, 0.0, False
        sign = 1.0 if self.high else -1.0
        self.trip = (self.limit - scale.offset) / scale.scale - sign * scale.half
        clear = (self.limit - sign * hysteresis - scale.offset) / scale.scale + sign * scale.half
        # the count that trips never clears, however small the hysteresis
        self.clear = min(clear, self.trip - 1e-9) if self.high else max(clear, self.trip + 1e-9)

    @property
    def idle(self) -> bool:
        """Neither active nor counting."""
        return not self.active and not self.count

    def sample(self, count: float, t: float, *, may_clear: bool = True) -> bool:
        """Take one new valid sample; True when `active` changed. `may_clear` False: it can only make things worse."""
        violating = count >= self.trip if self.high else count <= self.trip
        if not self.active:
            return self._towards_active(violating, t, may_clear=may_clear)
        inside = count <= self.clear if self.high else count >= self.clear
        if not inside:
            self.calm = 0
        elif may_clear:
            if not self.calm:
                self.calm_since = t
            self.calm += 1
            if self.calm >= CLEAR_SAMPLES and t - self.calm_since >= self.t_off_s - JITTER_S:
                self.reset()
                return True
        return False

    def _towards_active(self, violating: bool, t: float, *, may_clear: bool) -> bool:
        if violating:
            if not self.count:
                self.since = t
            self.count += 1
            if self.count >= self.n and t - self.since >= self.t_on_s - JITTER_S:
                self.active, self.calm, self.at = True, 0, t
                return True
        elif may_clear:
            self.count = 0
        return False

    def reset(self) -> None:
        """Back to idle: cleared, or its gate has closed."""
        self.active, self.count, self.calm = False, 0, 0


def conditions(alarm: Alarm, rule: Rule, side: int, scale: Scale | None = None) -> list[Condition]:
    """The conditions of a rule on one side (0 low, 1 high), as its action allows."""
    if rule.action == "record":
        return []
    danger = min(rule.level, Level.WARNING) if rule.action == "warn" else rule.level
    margin = rule.hysteresis[side] or 0.0
    return [
        Condition(alarm, rule, Threshold(level, limit, margin, high=side == 1), scale or Scale())
        for level, limit in ((Level.WARNING, rule.warning[side]), (danger, rule.danger[side]))
        if limit is not None
    ]


def band(found: list[Condition]) -> tuple[float, float]:
    """The counts between which none of these conditions trips."""
    low = max((c.trip for c in found if not c.high), default=-math.inf)
    high = min((c.trip for c in found if c.high), default=math.inf)
    return math.nextafter(low, math.inf), math.nextafter(high, -math.inf)


class Active(NamedTuple):
    """One alarm that is present now: its worst condition, and what it says."""

    id: str
    level: Level
    value: float
    limit: Bound
    unit: str
    blocks: tuple[str, ...]
    effects: tuple[str, ...]
    zero: bool
    evidence: Evidence


class Register:
    """All conditions that are active, by alarm id; `version` rises with every change."""

    __slots__ = ("_held", "version")

    def __init__(self) -> None:
        self._held: dict[str, dict[Condition, float]] = {}
        self.version = 0

    def update(self, condition: Condition, value: float) -> None:
        """Take over that `condition.active` changed, with the physical value that did it."""
        held = self._held.setdefault(condition.alarm.id, {})
        if condition.active:
            held[condition] = value
        else:
            held.pop(condition, None)
            if not held:
                del self._held[condition.alarm.id]
        self.version += 1

    def drop_gate(self, gate: Gate) -> None:
        """Forget every active condition of a gate that no longer holds."""
        for held in list(self._held.values()):
            for condition, value in list(held.items()):
                if condition.gate is gate:
                    condition.reset()
                    self.update(condition, value)

    def actives(self) -> tuple[Active, ...]:
        """Every alarm that is present, by id."""
        return tuple(self._active(alarm_id, self._held[alarm_id]) for alarm_id in sorted(self._held))

    @staticmethod
    def _active(alarm_id: str, held: dict[Condition, float]) -> Active:
        worst = max(held, key=lambda c: (c.level, c.limit if c.high else -c.limit))
        return Active(
            id=alarm_id,
            level=worst.level,
            value=held[worst],
            limit=worst.limit,
            unit=worst.unit,
            blocks=tuple(sorted({block for c in held for block in c.alarm.blocks})),
            effects=tuple(dict.fromkeys(effect for c in held for effect in c.alarm.effects)),
            zero=any(c.zero for c in held),
            evidence=Evidence(worst.rule, worst.count, worst.since, worst.at),
        )
