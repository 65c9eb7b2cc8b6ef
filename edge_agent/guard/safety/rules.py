"""The rule table: every limit with its gate, levels, hysteresis, N and T_on; overrides applied and judged here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal, NamedTuple

from edge_agent.guard.model import Level
from edge_agent.guard.safety.interface import LimitOverride, Settings

Bound = float | None
Pair = tuple[Bound, Bound]
"""(low, high): violated at or below low, at or above high; None: not judged on that side."""

NOTHING: Pair = (None, None)
CLEAR_SAMPLES = 5
LEAST_T_OFF_S = 1.0
LAB_CELLS, LAB_SERIES = 12, 8


class Gate(Enum):
    """When a rule is judged: always, only while the main relays are commanded closed, or only while they are open."""

    ALWAYS = "always"
    CLOSED = "closed"
    OPEN = "open"


class Rule(NamedTuple):
    """One row. `shape` says which sides of a pair may be given; `level` is what the danger column means.

    `action`: trip = as the level says, warn = never above WARNING, record = no alarm at all. `warning_off_s`: a WARNING stays so long
    after its samples have come back, where they are known to jump to and fro.
    """

    key: str
    shape: Literal["pair", "high", "low", "flag"]
    when: Gate
    unit: str
    warning: Pair
    danger: Pair
    hysteresis: Pair
    n: int
    t_on_s: float
    level: Level = Level.DANGER
    action: Literal["trip", "warn", "record"] = "trip"
    warning_off_s: float = 0.0

    def t_off_s(self, level: Level) -> float:
        """How long samples must lie inside the hysteresis before a condition of this level clears."""
        return max(self.t_on_s, LEAST_T_OFF_S, self.warning_off_s if level is Level.WARNING else 0.0)


def _high(warning: Bound, danger: Bound = None, hysteresis: float = 0.0) -> tuple[Pair, Pair, Pair]:
    return (None, warning), (None, danger), (None, hysteresis)


def _flag(*, warning: bool = False) -> tuple[Pair, Pair, Pair]:
    return (None, 1.0 if warning else None), (None, None if warning else 1.0), (None, 1.0)


DEFAULTS: dict[str, Rule] = {
    rule.key: rule
    for rule in (
        Rule("cell_voltage", "pair", Gate.ALWAYS, "V", (2.80, 4.10), (2.70, 4.20), (0.05, 0.03), 3, 0.4),
        Rule("cell_voltage_fast", "pair", Gate.ALWAYS, "V", NOTHING, (2.50, 4.25), (0.05, 0.03), 2, 0.2),
        Rule("module_voltage", "pair", Gate.ALWAYS, "V", (34.0, 48.0), (33.0, 49.0), (0.3, 0.3), 3, 0.4),
        Rule("bus_voltage", "pair", Gate.CLOSED, "V", (268.0, 384.0), (264.0, 390.0), (2.0, 2.0), 3, 0.6),
        Rule("temperature", "high", Gate.ALWAYS, "°C", *_high(40.0, 50.0, 3.0), 3, 0.6),
        Rule("temperature_fast", "high", Gate.ALWAYS, "°C", *_high(None, 60.0, 3.0), 2, 0.2),
        # the lab's jump between two values every 6 s: one WARNING that stays, not one every 12 s
        Rule("thermistor", "high", Gate.ALWAYS, "°C", *_high(40.0, 50.0, 3.0), 5, 2.0, warning_off_s=30.0),
        # danger = charging blocked; BOTH_BLOCKED_BELOW_K further down neither direction is allowed
        Rule("temperature_low", "low", Gate.ALWAYS, "°C", (5.0, None), (0.0, None), (2.0, None), 3, 2.0, Level.WARNING),
        Rule("temperature_rate", "high", Gate.ALWAYS, "°C/min", *_high(2.0, None, 1.0), 1, 0.0, action="warn"),
        Rule("temperature_spread", "high", Gate.ALWAYS, "K", *_high(8.0, None, 2.0), 5, 2.0, action="warn"),
        Rule("cell_spread", "high", Gate.ALWAYS, "V", *_high(0.10, None, 0.02), 5, 2.0, action="warn"),
        Rule("cell_sum", "high", Gate.ALWAYS, "V", *_high(0.15, 0.50, 0.05), 5, 2.0, Level.FAULT),
        Rule("module_sum", "high", Gate.CLOSED, "%", *_high(1.5, 3.0, 0.5), 5, 2.0, Level.FAULT),
        Rule("min_max", "high", Gate.ALWAYS, "V", *_high(0.02, 0.05, 0.01), 5, 2.0, Level.FAULT),
        Rule("current_agree", "high", Gate.ALWAYS, "A", *_high(3.0, 8.0, 1.0), 5, 1.0, Level.FAULT),
        Rule("current_envelope", "high", Gate.CLOSED, "A", *_high(3.0, None, 1.0), 5, 2.0),
        Rule("over_current", "high", Gate.CLOSED, "%", *_high(102.0, 110.0, 2.0), 3, 0.3),
        Rule("over_power", "high", Gate.CLOSED, "%", *_high(102.0, 110.0, 2.0), 3, 0.3),
        Rule("current_open", "high", Gate.OPEN, "A", *_high(None, 2.0, 0.5), 3, 0.3, Level.CRITICAL),
        Rule("contradiction", "flag", Gate.ALWAYS, "", *_flag(), 1, 0.0),
        Rule("frozen", "high", Gate.CLOSED, "s", *_high(120.0, 600.0, 60.0), 1, 0.0, Level.FAULT),
        Rule("pressure", "pair", Gate.ALWAYS, "", NOTHING, NOTHING, (1.0, 1.0), 5, 1.0),
        Rule("ground_fault", "flag", Gate.ALWAYS, "", *_flag(), 2, 0.1),
        Rule("inverter_fault", "flag", Gate.ALWAYS, "", *_flag(), 1, 0.0),
        Rule("inverter_warning", "flag", Gate.ALWAYS, "", *_flag(warning=True), 1, 0.0),
        Rule("overrun", "high", Gate.ALWAYS, "s", *_high(0.150, 1.0, 0.1), 1, 0.0, Level.FAULT),
    )
}
"""Default row of every name of `[limits.…]` (SAFETY §2), for 8 modules of 12 cells."""

BOTH_BLOCKED_BELOW_K = 20.0

# Rows that do not come from [limits]: the topology, the link to the inverter.
FIXED: dict[str, Rule] = {
    rule.key: rule
    for rule in (
        Rule("extra_cell", "flag", Gate.ALWAYS, "", *_flag(), 5, 1.0, Level.FAULT),
        Rule("extra_module", "flag", Gate.ALWAYS, "", *_flag(), 5, 1.0, Level.FAULT),
        Rule("thermistors_missing", "flag", Gate.ALWAYS, "", *_flag(warning=True), 3, 2.0),
        Rule("duplicate", "flag", Gate.ALWAYS, "", *_flag(), 5, 0.0, Level.FAULT),
        # bits 0 and 3 of 30272 clear by themselves when 125 and 41025 are written again: time for that first
        Rule("inverter_comm_fault", "flag", Gate.ALWAYS, "", *_flag(), 3, 2.0),
        Rule("inverter_trip", "flag", Gate.ALWAYS, "", *_flag(warning=True), 1, 0.0),
        Rule("inverter_readback", "flag", Gate.CLOSED, "", *_flag(), 4, 2.0, Level.FAULT),
        Rule("sensor", "flag", Gate.ALWAYS, "", *_flag(warning=True), 5, 1.0),
    )
}

NOISE_FLOORS = {"current_agree": (3.0, 8.0), "current_open": (None, 2.0)}
"""Rows whose thresholds are at least 4σ of the trusted current."""


def _cell_scale(settings: Settings) -> float:
    return settings.cells / LAB_CELLS


def _pack_scale(settings: Settings) -> float:
    return settings.cells * settings.series / (LAB_CELLS * LAB_SERIES)


_SCALED = {"module_voltage": _cell_scale, "bus_voltage": _pack_scale}


def small_current_a(settings: Settings) -> float:
    """Below this a trusted current counts as none: max(2 A, 4σ)."""
    return max(2.0, 4.0 * settings.current_noise_a)


def build(settings: Settings) -> dict[str, Rule]:
    """Every row with the settings' pack, noise and overrides worked in; assumes `check` found nothing."""
    rows = dict(FIXED)
    for key, rule in DEFAULTS.items():
        row = _for_pack(rule, settings)
        override = settings.limits.get(key)
        rows[key] = row if override is None else _override(row, override)
    return rows


def _for_pack(rule: Rule, settings: Settings) -> Rule:
    if rule.key in _SCALED:
        factor = _SCALED[rule.key](settings)
        warning, danger, hysteresis = (_times(pair, factor) for pair in (rule.warning, rule.danger, rule.hysteresis))
        return rule._replace(warning=warning, danger=danger, hysteresis=hysteresis)
    if rule.key in NOISE_FLOORS:
        noise_a = 4.0 * settings.current_noise_a
        warning, danger = ((None, None if p[1] is None else max(p[1], noise_a)) for p in (rule.warning, rule.danger))
        return rule._replace(warning=warning, danger=danger)
    return rule


def _times(pair: Pair, factor: float) -> Pair:
    low, high = (None if side is None else round(side * factor, 6) for side in pair)
    return low, high


def _override(rule: Rule, given: LimitOverride) -> Rule:
    margin = rule.hysteresis
    if given.hysteresis is not None:
        margin = (
            given.hysteresis if rule.shape in {"pair", "low"} else None,
            given.hysteresis if rule.shape in {"pair", "high"} else None,
        )
    return rule._replace(
        warning=rule.warning if given.warning is None else as_pair(rule, given.warning),
        danger=rule.danger if given.danger is None else as_pair(rule, given.danger),
        hysteresis=margin,
        n=rule.n if given.n is None else given.n,
        t_on_s=rule.t_on_s if given.t_on_s is None else given.t_on_s,
        action=rule.action if given.action is None else given.action,
    )


def as_pair(rule: Rule, bounds: Pair | float) -> Pair:
    """A bound as configured, on the side(s) the rule judges: a number means its only side."""
    if isinstance(bounds, tuple):
        return bounds
    return (bounds, None) if rule.shape == "low" else (None, bounds)


def unknown_keys(limits: Mapping[str, LimitOverride]) -> list[str]:
    """Names of `[limits.…]` that no rule has."""
    return sorted(set(limits) - set(DEFAULTS))
