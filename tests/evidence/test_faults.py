"""Promise: a danger opens the circuit, in time, by the truth; a healthy rig does not trip. Each kind of fault once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.guard.codecs.inverter import SETPOINT
from edge_agent.guard.codecs.inverter_writes import SECURITY, TIMER, Belief, InverterLimits, Write
from edge_agent.guard.model import InverterOrder, Mode
from tests.evidence.__main__ import table
from tests.evidence.campaign import Outcome, campaign
from tests.evidence.kinds import (
    BACK,
    BACK_NO_TIMER,
    DEAD,
    DEAD_NO_TIMER,
    DISOBEYS,
    HEALTHY,
    KINDS,
    LOST,
    MUTE,
    OBEYS,
    Promise,
)

pytestmark = [pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"), pytest.mark.timeout(600)]
SEED = 2
ZERO = InverterOrder(Mode.CURRENT, 0.0, 1e9, 1)


@pytest.fixture(scope="module")
def thrown() -> list[Outcome]:
    return list(campaign(len(KINDS), SEED, workers=2))


def test_every_kind_of_fault_keeps_its_promise(thrown: list[Outcome]) -> None:
    assert {one.kind for one in thrown} == {kind.name for kind in KINDS}
    assert [one for one in thrown if one.complaints] == []


@pytest.mark.parametrize(
    ("promise", "column", "most_s"),
    [
        (OBEYS, "open_s", 3.27), (DISOBEYS, "open_s", 3.77), (MUTE, "zero_s", 3.0), (DEAD, "zero_s", 2.5), (DEAD, "open_s", 4.02),
        (BACK, "zero_s", 2.5), (BACK, "open_s", 4.02), (DEAD_NO_TIMER, "open_s", 4.02), (LOST, "zero_s", 3.0), (LOST, "open_s", 15.02),
    ],
    ids=lambda value: value.name if isinstance(value, Promise) else str(value),
)  # fmt: skip
def test_the_worst_of_each_class_is_within_the_budget_of_safety(
    thrown: list[Outcome], promise: Promise, column: str, most_s: float
) -> None:
    names = {kind.name for kind in KINDS if kind.promise is promise}
    times = [getattr(one, column) for one in thrown if one.kind in names]
    assert times
    assert max(times) <= most_s


def test_an_agent_that_comes_back_claims_a_load_only_where_there_was_one(thrown: list[Outcome]) -> None:
    names = {kind.name: kind.promise for kind in KINDS if kind.promise in {BACK, BACK_NO_TIMER}}
    claims = {one.kind: "relays.opened_under_load" in one.latches for one in thrown if one.kind in names}
    assert claims == {name: promise is BACK_NO_TIMER for name, promise in names.items()}


def test_nothing_healthy_opens_or_latches(thrown: list[Outcome]) -> None:
    healthy = {kind.name for kind in KINDS if kind.promise is HEALTHY}
    seen = [(one.open_s, one.latches) for one in thrown if one.kind in healthy]
    assert seen == [(None, [])] * len(healthy)


def test_the_table_for_people_has_a_row_for_each_kind(thrown: list[Outcome]) -> None:
    assert len(table(thrown)) == len(KINDS) + 2


def _running(obey: Callable[..., Any]) -> Belief:
    belief = Belief(InverterLimits())
    belief.polled(0, 0)
    obey(belief, InverterOrder(Mode.CURRENT, 40.0, 1e9, 1), {})
    return belief


@pytest.fixture
def obeyed() -> Callable[..., Any]:
    def obey(belief: Belief, order: InverterOrder, _registers: dict[int, int]) -> None:
        while (write := belief.next_write(order, 0.0)) is not None:
            belief.begin(write)
            belief.confirm(write, write.counts)

    return obey


def test_an_inverter_that_is_not_heard_is_sent_the_zero_first_and_again(obeyed: Callable[..., Any]) -> None:
    # code and timer, each unanswered for longer than the pause before it is tried again, once kept the zero from ever being sent
    belief, now, sent = _running(obeyed), 10.0, []
    belief.silent()
    for _ in range(6):
        assert belief.is_urgent(ZERO, now) or sent
        write = belief.next_write(ZERO, now)
        assert write is not None
        sent.append(write.address)
        belief.begin(write)
        now += 0.95
        belief.unanswered(write, now - 0.35)
    assert sent[0] == SETPOINT
    assert sent.count(SETPOINT) >= 3


def test_a_zero_that_was_not_answered_leaves_room_for_a_poll_and_is_urgent_again(obeyed: Callable[..., Any]) -> None:
    belief = _running(obeyed)
    write = belief.next_write(ZERO, 10.0)
    assert write == Write(SETPOINT, 0)
    belief.begin(write)
    belief.unanswered(write, 10.6)
    assert not belief.is_urgent(ZERO, 10.7)
    assert belief.is_urgent(ZERO, 11.2)
    belief.polled(int(Mode.CURRENT), 0)
    assert not belief.is_urgent(ZERO, 11.2)


def test_an_inverter_that_answers_again_gets_code_and_timer_before_anything_else(obeyed: Callable[..., Any]) -> None:
    belief = _running(obeyed)
    belief.silent()
    zero = belief.next_write(ZERO, 10.0)
    assert zero == Write(SETPOINT, 0)
    belief.begin(zero)
    belief.refuse(zero, 10.0)  # without the code it takes nothing
    for address in (SECURITY, TIMER):
        write = belief.next_write(ZERO, 10.1)
        assert write is not None
        assert write.address == address
        belief.begin(write)
        belief.confirm(write, write.counts)
    assert belief.next_write(ZERO, 10.6) == zero
