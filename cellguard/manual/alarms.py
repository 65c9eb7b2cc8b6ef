"""`docs/alarms.md`: one entry an alarm, its limits taken from the rule table. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.guard.model import Level
from edge_agent.guard.safety.alarm_text import AlarmText
from edge_agent.guard.safety.alarm_texts import CHAPTERS
from edge_agent.guard.safety.interlocks import FINE_BEFORE_RESET_S, LOCAL_LATCHES
from edge_agent.guard.safety.rules import CLEAR_SAMPLES, DEFAULTS, FIXED, Bound, Gate, Rule
from edge_agent.link.own_alarms import CALM_S, WATCHES

RULES = {**DEFAULTS, **FIXED}
GATES = {Gate.ALWAYS: "always", Gate.CLOSED: "while the contactors are closed", Gate.OPEN: "while they are open"}

_HEAD = f"""# Alarms

Made by `python -m cellguard.manual` from the guard's tables; a test fails when they differ. NN is a number of two digits.

| level | what happens |
|---|---|
| WARNING | told; the direction that makes it worse is blocked |
| DANGER | zero at once, then open without load; latched |
| FAULT | what is needed to judge is missing or contradicts itself: as DANGER |
| CRITICAL | a protective action was ordered and not confirmed: as DANGER, and somebody must look at the hardware |

A rule is entered after N new violating samples in a row that span at least T_on, and cleared after {CLEAR_SAMPLES} new ones
inside the hysteresis. What is DANGER or above stays latched until `reset_latch` names it, with every rule fine for
{FINE_BEFORE_RESET_S:.0f} s and the opening confirmed. Limits are those of the lab's pack; `[limits.NAME]` changes them, and
voltages of modules and bus follow `[pack]`.

Each trip leaves what was seen, decided and confirmed in `event/state`, `event/output` and `event/alarm`, and the minute before and
after it as a file in `STATE_DIR/trips` (the newest 50, 256 MB at most). `cellguard replay FILE` runs it through the same rules again;
with `--config OTHER.toml`, whole or only the keys that differ, it shows what would have come out otherwise.
"""


def page() -> str:
    """The whole page."""
    chapters = (chapter for title, rows in CHAPTERS.items() for chapter in (f"## {title}", *map(_entry, rows)))
    return "\n".join([_HEAD, *chapters, *_link()])


def _entry(row: AlarmText) -> str:
    reset = ["- **Reset:** only through the local door."] if row.id.startswith(LOCAL_LATCHES) else []
    level = [] if row.level is None else [f"- **Level:** {row.level.name}."]
    limits = [line for key in row.rules for line in _limits(RULES[key], row.side)]
    lines = [
        f"### `{row.id}`",
        f"{row.meaning}",
        "",
        *level,
        *limits,
        f"- **Cause:** {row.cause}",
        f"- **What to do:** {row.remedy}",
        *reset,
        "",
    ]
    return "\n".join(lines)


def _limits(rule: Rule, side: int) -> Iterator[str]:
    found = list(_levels(rule, side))
    name = f"`[limits.{rule.key}]`" if rule.key in DEFAULTS else f"{rule.key} (fixed)"
    after = f"{rule.n} sample{'s' if rule.n > 1 else ''}" + (f" and {rule.t_on_s:g} s" if rule.t_on_s else "")
    stays = f"; a WARNING clears after {rule.warning_off_s:g} s inside the hysteresis" if rule.warning_off_s else ""
    yield f"- **Rule:** {name}, {GATES[rule.when]}: {'; '.join(found) or 'no limit by default'}; N / T_on: {after}{stays}."


def _levels(rule: Rule, side: int) -> Iterator[str]:
    levels = {"WARNING": rule.warning[side], _danger(rule): rule.danger[side]}
    sign = "≥" if side else "≤"
    for level, bound in levels.items():
        if bound is not None:
            yield f"{level} {_bound(rule, sign, bound)}"
    margin = rule.hysteresis[side]
    if margin and rule.shape != "flag" and any(bound is not None for bound in levels.values()):
        yield f"hysteresis {margin:g}{_unit(rule)}"


def _danger(rule: Rule) -> str:
    if rule.action == "warn" or rule.level is Level.WARNING:
        return "WARNING and block"
    return rule.level.name


def _bound(rule: Rule, sign: str, bound: Bound) -> str:
    return "when it is so" if rule.shape == "flag" else f"{sign} {bound:g}{_unit(rule)}"


def _unit(rule: Rule) -> str:
    return f" {rule.unit}" if rule.unit else ""


def _link() -> Iterator[str]:
    yield "## Link"
    yield f"Counters of `state/health` that grow; WARNING, cleared when one has stood still for {CALM_S:.0f} s.\n"
    yield "| alarm | meaning | counter |"
    yield "|---|---|---|"
    for watch in WATCHES:
        yield f"| `{watch.alarm}` | {watch.meaning} | `{watch.counter}` |"
    yield ""
