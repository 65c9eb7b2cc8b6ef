"""Every number of the guard is accounted for once, whatever order, hole or rubbish it comes with."""

from __future__ import annotations

import itertools
import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.intake import PATIENCE, Intake
from shared import ipc

SOURCES = {"module-01": ("a", "b"), "inverter": ("current",)}


def new(highest: int = 0, early: set[int] | None = None) -> Intake:
    intake = Intake("s", highest, early or set(), {}, Counter())
    intake.describe(SOURCES)
    return intake


def row(number: int, mono_us: int = 0) -> bytes:
    return ipc.pack_row(ipc.Row(number, mono_us or number * 1000, 0, (1.0, math.nan), ((1, "stale"),)))


def event(number: int) -> bytes:
    return ipc.pack_event(ipc.Event(number, number * 1000, {"kind": "state"}))


def test_a_number_sent_again_is_skipped_and_counted() -> None:
    intake = new(highest=2)
    for number in (1, 2, 3, 3):
        intake.packet(row(number))
    assert [len(batch.times_us) for batch in intake.take_rows(0)] == [1]
    assert intake.counts["resent_by_guard"] == 3


def test_an_event_that_was_durable_early_is_no_hole_and_not_taken_twice() -> None:
    intake = new(highest=2, early={4})
    for packet in (row(3), event(4), row(5)):
        intake.packet(packet)
    assert intake.take_events() == []
    assert intake.numbers()[1:] == (5, 0)


def test_a_hole_is_counted_without_the_events_that_were_durable_early() -> None:
    intake = new(highest=2, early={4})
    intake.packet(row(7))
    assert [(hole.first, hole.last, hole.rows) for hole in intake.take_skipped(0, at_once=True)] == [(3, 6, 3)]
    assert intake.numbers() == ("s", 7, 3)


def test_times_of_a_source_rise_even_when_the_clock_goes_back() -> None:
    intake = new()
    for number in range(1, 4):
        intake.packet(row(number))
    first = intake.take_rows(10_000_000)[0].times_us
    for number in range(4, 7):
        intake.packet(row(number))
    second = intake.take_rows(0)[0].times_us
    assert list(second) == [first[-1] + 1, first[-1] + 501, first[-1] + 1001]  # at half speed until it has caught up
    assert intake.counts["times_ahead"] == 3
    for number in range(7, 30_000):
        intake.packet(row(number))
    third = intake.take_rows(0)[0].times_us
    assert third[-1] == 29_999_000
    assert all(after > before for before, after in itertools.pairwise((*first, *second, *third)))


def test_times_catch_up_at_half_speed_also_one_row_at_a_time() -> None:
    intake = new()
    intake.packet(row(1))
    (before,) = intake.take_rows(10_000_000)[0].times_us
    for number in range(2, 5):
        intake.packet(row(number))
        assert list(intake.take_rows(0)[0].times_us) == [before + 1 + 500 * (number - 2)]


def gap(number: int, first: int, last: int) -> bytes:
    return ipc.pack_event(ipc.Event(number, number * 1000, {"kind": "gap", "lane": "tele", "from": first, "to": last}))


def test_a_hole_that_guard_explains_itself_gets_no_second_record() -> None:
    intake = new(highest=2)
    intake.packet(row(7))
    intake.packet(gap(8, 3, 5))
    left = intake.take_skipped(0, at_once=True)
    assert [(hole.first, hole.last, hole.rows) for hole in left] == [(6, 6, 1)]
    assert intake.numbers() == ("s", 8, 4)


def test_a_hole_that_nobody_explains_is_told_after_some_flushes_with_its_times() -> None:
    intake = new()
    for number in (1, 4):
        intake.packet(row(number))
    waited = [len(intake.take_skipped(0)) for _ in range(PATIENCE)]
    assert waited == [0] * PATIENCE
    (told,) = intake.take_skipped(10)
    assert (told.first, told.last, told.t_from, told.t_to) == (2, 3, 1010, 4010)
    assert intake.take_skipped(10) == []


@given(st.lists(st.one_of(st.integers(1, 40), st.binary(max_size=40)), max_size=60))
def test_whatever_comes_rows_and_gaps_add_up_to_the_highest_number(items: list[int | bytes]) -> None:
    intake = new()
    taken = 0
    for item in items:
        intake.packet(row(item) if isinstance(item, int) else b"R" + item[:16])
        taken += sum(len(batch.times_us) for batch in intake.take_rows(0))
    numbers = intake.numbers()
    if numbers.highest < 1000:  # rubbish long enough to hold a number may claim any
        assert taken + numbers.gaps == numbers.highest


@given(st.binary(max_size=200))
def test_rubbish_never_raises(rubbish: bytes) -> None:
    intake = new()
    for kind in (b"R", b"E"):
        intake.packet(kind + rubbish)
    assert intake.waiting <= 2
