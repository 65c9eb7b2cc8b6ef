"""Judging the limits before they are used: ordering, resolution, coverage and reaction budget, as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_agent.guard.model import Level
from edge_agent.guard.safety.interface import LimitOverride, Settings
from edge_agent.guard.safety.rules import DEFAULTS, Rule, build, unknown_keys

BUDGET_S = 3.0
# after the decision: zero written and read back, the inverter's own fall, two samples, relay 2 after relays 1 and 3
SHUTDOWN_S = 1.8
FAST_T_ON_S = 0.6
CELL = re.compile(r"Cell_?0*(\d+)_Voltage\Z")

_RESOLUTION_OF = {
    "cell_voltage": "Cell_1_Voltage",
    "cell_voltage_fast": "Cell_1_Voltage",
    "cell_spread": "Cell_1_Voltage",
    "min_max": "Cell_1_Voltage",
    "cell_sum": "CMA_Voltage",
    "module_voltage": "CMA_Voltage",
    "temperature": "CMA_Max_Temp",
    "temperature_fast": "CMA_Max_Temp",
    "temperature_low": "CMA_Min_Temp",
    "temperature_spread": "CMA_Max_Temp",
}
_INVERTER_ROWS = frozenset({"bus_voltage", "over_current", "over_power", "current_open"})
REQUIRED_SIGNALS = ("CMA_Voltage", "Min_Cell_Voltage", "Max_Cell_Voltage", "CMA_Min_Temp", "CMA_Max_Temp")


def check(settings: Settings) -> list[str]:
    """What is wrong with the limits, each as a sentence naming key, number and what is allowed; empty when all is right."""
    found = [f"[limits.{key}]: no such rule; allowed: {', '.join(DEFAULTS)}" for key in unknown_keys(settings.limits)]
    for key, override in settings.limits.items():
        if key in DEFAULTS:
            found += _shape(DEFAULTS[key], override)
    if found:
        return found
    rows = build(settings)
    for rule in rows.values():
        found += [*_order(rule), *_resolution(rule, settings), *_budget(rule, settings)]
    return [*found, *_across(rows), *_coverage(settings), *_roles(settings)]


def _shape(rule: Rule, override: LimitOverride) -> Iterator[str]:
    for name in ("warning", "danger"):
        bounds = getattr(override, name)
        where = f"[limits.{rule.key}] {name}"
        if bounds is None:
            continue
        if rule.shape == "flag":
            yield f"{where} {bounds}: this rule has no threshold, only n, t_on_s and action"
        elif isinstance(bounds, tuple) and rule.shape != "pair":
            yield f"{where} {list(bounds)}: a single number, in {rule.unit or 'counts'}"
        elif not isinstance(bounds, tuple) and rule.shape == "pair":
            yield f"{where} {bounds}: a pair [low, high], in {rule.unit or 'the unit of the sensor'}"


def _order(rule: Rule) -> Iterator[str]:
    if rule.shape == "flag":
        return
    for side, sign in ((0, -1.0), (1, 1.0)):
        warning, danger, margin = rule.warning[side], rule.danger[side], rule.hysteresis[side]
        if warning is not None and danger is not None and sign * (danger - warning) <= 0:
            yield (
                f"[limits.{rule.key}] danger {danger} {rule.unit}: {'above' if sign > 0 else 'below'} warning {warning}"
            )
        if margin is not None and margin <= 0 and (warning is not None or danger is not None):
            yield f"[limits.{rule.key}] hysteresis {margin} {rule.unit}: above 0, so that it clears before it trips again"
    yield from _room_between(rule)


def _room_between(rule: Rule) -> Iterator[str]:
    for name, (low, high) in (("warning", rule.warning), ("danger", rule.danger)):
        room = (rule.hysteresis[0] or 0.0) + (rule.hysteresis[1] or 0.0)
        if low is not None and high is not None and high - low <= room:
            yield f"[limits.{rule.key}] {name} [{low}, {high}]: more than the hysteresis ({room} {rule.unit}) apart"


def _resolution(rule: Rule, settings: Settings) -> Iterator[str]:
    wanted = _RESOLUTION_OF.get(rule.key)
    scale = next((abs(s.scale) for part in settings.module_parts.values() for s in part if s.name == wanted), 0.0)
    margin = max((side for side in rule.hysteresis if side is not None), default=scale)
    if scale and margin < scale * 0.999:
        yield f"[limits.{rule.key}] hysteresis {margin} {rule.unit}: at least the resolution of {wanted}, {scale} {rule.unit}"
    difference = rule.key in {"cell_spread", "min_max", "cell_sum", "temperature_spread"}
    for name, (_, high) in (("warning", rule.warning), ("danger", rule.danger)):
        if difference and scale and high is not None and high < scale * 0.999:
            yield f"[limits.{rule.key}] {name} {high} {rule.unit}: at least the resolution of {wanted}, {scale}"


def _budget(rule: Rule, settings: Settings) -> Iterator[str]:
    """Rows that promise the fast budget: the deciding sample must come early enough for the shutdown to fit in."""
    if rule.t_on_s > FAST_T_ON_S or rule.action != "trip" or rule.danger == (None, None) or rule.level < Level.DANGER:
        return
    if rule.key in _RESOLUTION_OF:
        key, period_s = "[can] sync_period_s", settings.sync_period_s
    elif rule.key in _INVERTER_ROWS and settings.inverter is not None:
        key, period_s = "[inverter] poll_period_s", settings.inverter.poll_period_s
    else:
        return
    decided_s = max(rule.n * period_s, rule.t_on_s + period_s)
    if decided_s > BUDGET_S - SHUTDOWN_S + 1e-9:
        yield (
            f"[limits.{rule.key}] n {rule.n}, t_on_s {rule.t_on_s} with {key} {period_s}: decides after {decided_s:.2f} s;"
            f" at most {BUDGET_S - SHUTDOWN_S:.1f} s, so that the circuit is open within {BUDGET_S} s"
        )


def _across(rows: dict[str, Rule]) -> Iterator[str]:
    """The fast rows must lie outside the slow ones they overtake."""
    for slow, fast in (("cell_voltage", "cell_voltage_fast"), ("temperature", "temperature_fast")):
        for side, sign in ((0, -1.0), (1, 1.0)):
            slow_limit, fast_limit = rows[slow].danger[side], rows[fast].danger[side]
            if slow_limit is not None and fast_limit is not None and sign * (fast_limit - slow_limit) < 0:
                yield (
                    f"[limits.{fast}] danger {fast_limit}: {'not below' if sign > 0 else 'not above'}"
                    f" [limits.{slow}] danger {slow_limit}"
                )


def _coverage(settings: Settings) -> Iterator[str]:
    names = {signal.name for part in settings.module_parts.values() for signal in part}
    cells = {int(match[1]) for name in names if (match := CELL.match(name))}
    for cell in range(1, settings.cells + 1):
        if cell not in cells:
            yield f"[pack] cells {settings.cells}: the DBC has no Cell_{cell}_Voltage to judge"
    for name in REQUIRED_SIGNALS:
        if name not in names:
            yield f"[can] dbc: no signal {name}, which the rules need"


def _roles(settings: Settings) -> Iterator[str]:
    """Only what the rules really read may be given a role: a name that is silently ignored would be a false promise."""
    trusted = ("inverter.current",)
    if settings.inverter is not None and tuple(settings.pack_current) != trusted:
        yield f"[signals] pack_current {list(settings.pack_current)}: {list(trusted)}, the one current that is judged"
