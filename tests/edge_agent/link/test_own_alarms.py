"""link's own alarms: what grows is told once, and cleared when it has stood still."""

from __future__ import annotations

import pytest

from edge_agent.link.own_alarms import CALM_S, WATCHES, OwnAlarms, Watch


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: watch.alarm)
def test_a_counter_that_grows_is_an_alarm_until_it_stands_still(watch: Watch) -> None:
    alarms = OwnAlarms()
    assert alarms.step({}, 0.0, 1) == []
    (raised,) = alarms.step({watch.counter: 2}, 1.0, 1_000_000)
    assert (raised["alarm"], raised["state"], raised["value"]) == (watch.alarm, "active", 2)
    assert alarms.why == ((watch.meaning,) if watch.in_status else ())
    assert alarms.step({watch.counter: 3}, 2.0, 2_000_000) == []
    assert alarms.step({watch.counter: 3}, 2.0 + CALM_S, 3_000_000) == []
    (cleared,) = alarms.step({watch.counter: 3}, 2.1 + CALM_S, 4_000_000)
    assert (cleared["state"], cleared["since"], cleared["ts"]) == ("cleared", 1_000_000, 4_000_000)
    assert alarms.why == ()


def test_a_counter_that_began_anew_raises_nothing_by_falling() -> None:
    alarms = OwnAlarms()
    counter = WATCHES[0].counter
    alarms.step({counter: 5}, 0.0, 0)
    alarms.step({counter: 5}, CALM_S + 1, 0)
    assert alarms.step({counter: 1}, CALM_S + 2, 0) == []


def test_when_the_clock_is_set_all_of_them_are_told_again_with_its_times() -> None:
    alarms = OwnAlarms()
    assert {(one["state"], one["since"], one["ts"]) for one in alarms.every(7)} == {("cleared", 7, 7)}
    alarms.step({WATCHES[0].counter: 5}, 0.0, 10)
    told = {str(one["alarm"]): (one["state"], one["since"], one["ts"]) for one in alarms.every(1_020, 1_000)}
    assert told.pop(WATCHES[0].alarm) == ("active", 1_010, 1_020)
    assert set(told.values()) == {("cleared", 1_020, 1_020)}
