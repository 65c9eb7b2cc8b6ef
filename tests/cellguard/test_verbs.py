"""The words after `cellguard send`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cellguard.operator import Ambiguous
from cellguard.verbs import VERBS, forms, parse_order
from shared.messages import COMMANDS

ARGUMENTS = {"file": "demo.csv", "setpoint": "-20", "alarm": "module-03.stale", "latch": "module-03.stale"}
TYPED = [(target, word) for target, verbs in VERBS.items() for word in verbs]


def test_every_target_of_the_contract_can_be_typed() -> None:
    assert set(VERBS) == set(COMMANDS)


@pytest.mark.parametrize(("target", "word"), TYPED)
def test_every_row_makes_a_body_that_the_contract_s_model_takes(target: str, word: str) -> None:
    argument = VERBS[target][word].argument
    order = parse_order([part for part in (target, word, ARGUMENTS.get(argument, "")) if part])

    try:
        model = COMMANDS[target].model_validate(order.body)
    except ValidationError as error:
        pytest.fail(str(error))
    assert all(getattr(model, name) == value for name, value in order.body.items())


def test_a_schedule_may_be_told_how_often_to_run() -> None:
    assert parse_order(["schedule", "start", "x.csv", "3"]).body == {"action": "start", "file": "x.csv", "repeat": 3}


def test_a_hyphen_is_as_good_as_an_underscore() -> None:
    assert parse_order(["safety", "reset-latch", "x"]).body == {"action": "reset_latch", "latch": "x"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pumpe", "on"], "allowed: estop"),
        (["pump"], "allowed: on, off"),
        (["pump", "on", "now"], "expected `pump on`"),
        (["schedule", "start"], r"expected `schedule start FILE \[REPEAT\]`"),
        (["schedule", "start", "x.csv", "twice"], "repeat: given 'twice'; allowed: a whole number"),
        (["schedule", "start", "x.csv", "2", "3"], r"expected `schedule start FILE \[REPEAT\]`"),
        (["schedule", "stop", "2"], "expected `schedule stop`"),
        (["inverter", "current", "much"], "a number"),
        (["estop", "please"], "expected `estop`"),
    ],
)
def test_a_wrong_word_is_answered_with_what_is_allowed(words: list[str], said: str) -> None:
    with pytest.raises(Ambiguous, match=said):
        parse_order(words)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_words_make_an_order_or_one_readable_refusal(words: list[str]) -> None:
    refusal, target = "", ""
    try:
        target = parse_order(words).target
    except Ambiguous as error:
        refusal = str(error)
    assert refusal or target in COMMANDS


def test_the_help_has_a_line_for_each_target() -> None:
    assert [form.split()[0] for form in forms()] == list(VERBS)
