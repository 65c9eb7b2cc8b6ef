"""The words after `cellguard send`, as a table: which targets exist, what can be done with them, what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cellguard.operator import Ambiguous

MOST_DIGITS = 9
USUAL_S, CONNECT_S = 10.0, 100.0
"""How long an answer may take; connecting waits for the link to bleed and be precharged."""


class Verb(NamedTuple):
    """What one word sends: fixed fields, the name of the field that the next word fills, and of a whole number that may follow."""

    body: Mapping[str, object] = {}
    argument: str = ""
    number: bool = False
    whole: str = ""
    timeout_s: float = USUAL_S


_SWITCH = {"on": Verb({"on": True}), "off": Verb({"on": False})}

VERBS: dict[str, dict[str, Verb]] = {
    "estop": {"": Verb()},
    "contactor": {"close": Verb({"action": "close"}, timeout_s=CONNECT_S), "open": Verb({"action": "open"})},
    "schedule": {
        "start": Verb({"action": "start"}, "file", whole="repeat"),
        "stop": Verb({"action": "stop"}),
        "pause": Verb({"action": "pause"}),
        "resume": Verb({"action": "resume"}),
    },
    "pump": _SWITCH,
    "fan": _SWITCH,
    "relay1": _SWITCH,
    "relay2": _SWITCH,
    "relay3": _SWITCH,
    "inverter": {
        "current": Verb({"mode": "current"}, "setpoint", number=True),
        "power": Verb({"mode": "power"}, "setpoint", number=True),
    },
    "alarm": {"ack": Verb({"action": "ack"}, "alarm")},
    "safety": {"reset_latch": Verb({"action": "reset_latch"}, "latch")},
    "config": {"reload": Verb({"action": "reload"})},
}
"""Target → verb → what is sent (CONTRACT §4)."""


class Order(NamedTuple):
    """A command ready to be sent."""

    target: str
    body: dict[str, object]
    timeout_s: float


def parse_order(words: Sequence[str]) -> Order:
    """`["inverter", "current", "-20"]` as an order; raises Ambiguous naming what was given and what is allowed."""
    target, *rest = words
    if target not in VERBS:
        raise Ambiguous(f"target {target!r}; allowed: {', '.join(VERBS)}")
    verbs = VERBS[target]
    word = rest.pop(0).replace("-", "_") if "" not in verbs and rest else ""
    if word not in verbs:
        raise Ambiguous(f"{target}: given {word!r}; allowed: {', '.join(verbs)}")
    verb = verbs[word]
    wanted = 1 if verb.argument else 0
    counted = rest.pop() if verb.whole and len(rest) == wanted + 1 else None
    if len(rest) != wanted:
        form = " ".join(part for part in (target, _form(word, verb)) if part)
        raise Ambiguous(f"{' '.join(words)}: expected `{form}`")
    argument: dict[str, object] = (
        {verb.argument: _number(target, rest[0]) if verb.number else rest[0]} if wanted else {}
    )
    count = {} if counted is None else {verb.whole: _count(verb.whole, counted)}
    return Order(target, {**verb.body, **argument, **count}, verb.timeout_s)


def forms() -> list[str]:
    """Every command as it is typed, a line for each target."""
    return [
        f"{target} {' | '.join(_form(*verb) for verb in verbs.items())}".rstrip() for target, verbs in VERBS.items()
    ]


def _form(word: str, verb: Verb) -> str:
    count = f"[{verb.whole.upper()}]" if verb.whole else ""
    return " ".join(part for part in (word, verb.argument.upper(), count) if part)


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise Ambiguous(f"{name}: given {text!r}; allowed: a whole number")
    return int(text)


def _number(target: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Ambiguous(f"{target} setpoint: given {text!r}; allowed: a number, + discharge, - charge") from error
