"""The words after `cellguard send`, as a table: which targets exist, what can be done with them, what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cellguard.operator import Ambiguous

USUAL_S, CONNECT_S = 10.0, 100.0
"""How long an answer may take; connecting waits for the link to bleed and be precharged."""


class Verb(NamedTuple):
    """What one word sends: fixed fields, and the name of the field that the next word fills."""

    body: Mapping[str, object] = {}
    argument: str = ""
    number: bool = False
    timeout_s: float = USUAL_S


_SWITCH = {"on": Verb({"on": True}), "off": Verb({"on": False})}

VERBS: dict[str, dict[str, Verb]] = {
    "estop": {"": Verb()},
    "contactor": {"close": Verb({"action": "close"}, timeout_s=CONNECT_S), "open": Verb({"action": "open"})},
    "schedule": {
        "start": Verb({"action": "start"}, "file"),
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
    if len(rest) != wanted:
        form = " ".join(part for part in (target, word, verb.argument.upper()) if part)
        raise Ambiguous(f"{' '.join(words)}: expected `{form}`")
    argument: dict[str, object] = (
        {verb.argument: _number(target, rest[0]) if verb.number else rest[0]} if wanted else {}
    )
    return Order(target, {**verb.body, **argument}, verb.timeout_s)


def forms() -> list[str]:
    """Every command as it is typed, a line for each target."""
    return [
        f"{target} {' | '.join(_form(*verb) for verb in verbs.items())}".rstrip() for target, verbs in VERBS.items()
    ]


def _form(word: str, verb: Verb) -> str:
    return " ".join(part for part in (word, verb.argument.upper()) if part)


def _number(target: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Ambiguous(f"{target} setpoint: given {text!r}; allowed: a number, + discharge, - charge") from error
