"""How much bulk may be under way: all the window on a quick link, about a second's worth on a slow one."""

from __future__ import annotations

from shared.mqtt_pace import FIRST, LEAST, Pace


def carry(pace: Pace, messages: int, per_s: float) -> list[float]:
    """Send as much as the pace allows over a link that carries so many messages a second; how long each one took."""
    now, number, under_way, took = 0.0, 0, [], []
    while len(took) < messages:
        for _ in range(pace.room(len(under_way))):
            number += 1
            pace.sent(number, now)
            under_way.append((number, now))
        now += 1.0 / per_s
        first, sent_at = under_way.pop(0)
        pace.acknowledged(first, now)
        took.append(now - sent_at)
    return took


def test_a_quick_link_gets_the_whole_window_soon() -> None:
    pace = Pace(100)
    carry(pace, 200, 5000)
    assert pace.room(0) == 100


def test_on_a_slow_link_no_message_waits_long_behind_others() -> None:
    pace = Pace(100)
    took = carry(pace, 300, 4)
    assert max(took[:FIRST]) <= FIRST / 4
    assert max(took[100:]) <= 1.5


def test_a_link_that_becomes_slow_is_noticed_within_a_window_and_a_quick_one_again() -> None:
    pace = Pace(100)
    carry(pace, 200, 5000)
    assert max(carry(pace, 400, 20)[260:]) < 2.0
    carry(pace, 300, 5000)
    assert pace.room(0) == 100


def test_it_is_known_how_long_the_oldest_has_been_under_way() -> None:
    pace = Pace(100)
    assert not pace.is_slow(100.0)
    pace.sent(1, 100.0)
    pace.sent(2, 101.0)
    assert not pace.is_slow(100.4)
    assert pace.is_slow(100.6)
    pace.acknowledged(1, 100.7)
    assert not pace.is_slow(101.2)


def test_something_is_always_under_way_and_never_more_than_the_window() -> None:
    pace = Pace(100)
    carry(pace, 200, 0.1)
    assert pace.room(0) == LEAST
    assert pace.room(1000) == 0
    pace.acknowledged(99_999, 5.0)  # of an earlier connection
    assert pace.room(0) == LEAST
