"""Rows: one per SYNC cycle and module, per poll, per line; what is missing is said."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard.model import NoData, Reading
from edge_agent.guard.rows import Rows, Schema
from shared.ipc import REASONS, Row, pack_row, unpack_row

PARTS = (("pdo1", ("A", "B")), ("pdo4", ("C", None, None)), ("pdo6", ("D",)))
WIDTH = {"pdo1": 2, "pdo4": 3, "pdo6": 1}
MODULE = Schema("module-01", PARTS, cycled=True)
OTHER = Schema("module-02", PARTS, cycled=True)
INVERTER = Schema("inverter", (("poll", ("P", "Q")),), cycled=False)


Bad = tuple[tuple[int, str], ...]


def sync(t_mono: float) -> Reading:
    return Reading("can", "sync", t_mono, (0,), (0.0,))


def part(name: str, t_mono: float, value: float = 1.0, source: str = "module-01", bad: Bad = ()) -> Reading:
    values = (value,) * WIDTH.get(name, 2)
    return Reading(source, name, t_mono, values, values, bad)


def rows_of(*arrivals: Reading | NoData) -> list[Row]:
    return Rows((MODULE, OTHER, INVERTER)).feed(arrivals)


def test_all_modules_of_a_cycle_share_the_time_of_their_sync() -> None:
    rows = rows_of(sync(1.0), part("pdo1", 1.01), part("pdo1", 1.02, source="module-02"), sync(1.2))
    assert [(row.source, row.mono_us) for row in rows] == [(0, 1_000_000), (1, 1_000_000)]


def test_a_row_is_closed_as_soon_as_every_part_of_the_cycle_before_has_come() -> None:
    rows = Rows((MODULE,))
    assert len(rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo6", 1.02), sync(1.2)])) == 1
    assert rows.feed([part("pdo1", 1.21)]) == []
    (row,) = rows.feed([part("pdo6", 1.22)])
    assert row.mono_us == 1_200_000


def test_a_signal_never_seen_since_start_is_left_out_and_one_seen_before_is_stale() -> None:
    rows = Rows((MODULE,))
    rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo4", 1.02), sync(1.2), part("pdo1", 1.21)])
    (row,) = rows.feed([sync(1.4), sync(1.6)])
    assert row.values[:2] == (1.0, 1.0)
    assert [math.isnan(value) for value in row.values] == [False, False, True, True]
    assert row.bad == ((2, "stale"),), "pdo6 was never seen: it is only left out"


def test_cells_that_are_not_populated_have_no_place_in_a_row() -> None:
    assert MODULE.signals == ("A", "B", "C", "D")
    (row,) = rows_of(sync(1.0), part("pdo4", 1.01, value=3.9, bad=((1, "not_populated"),)), sync(1.2))
    assert row.values[2] == 3.9
    assert row.bad == ()


def test_a_bad_value_is_no_number_and_keeps_its_reason() -> None:
    (row,) = rows_of(sync(1.0), part("pdo1", 1.01, bad=((1, "out_of_range"),)), sync(1.2))
    assert row.values[0] == 1.0
    assert math.isnan(row.values[1])
    assert row.bad == ((1, "out_of_range"),)


def test_a_value_that_is_not_populated_is_left_out_without_a_reason() -> None:
    (row,) = rows_of(sync(1.0), part("pdo1", 1.01, bad=((1, "not_populated"),)), sync(1.2))
    assert math.isnan(row.values[1])
    assert row.bad == ()


def test_a_frame_of_wrong_length_is_told_as_that_and_not_as_stale() -> None:
    rows = Rows((MODULE,))
    rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo6", 1.02)])
    arrivals = [sync(1.2), part("pdo1", 1.21), NoData("module-01", "pdo6", 1.22, "wrong_length"), sync(1.4), sync(1.6)]
    assert rows.feed(arrivals)[-1].bad == ((3, "wrong_length"),)


def test_a_module_that_is_silent_in_a_cycle_makes_no_row() -> None:
    rows = rows_of(sync(1.0), part("pdo1", 1.01), sync(1.2), sync(1.4), part("pdo1", 1.41), sync(1.6))
    assert [row.mono_us for row in rows] == [1_000_000, 1_400_000]


def test_on_a_full_bus_the_last_parts_may_come_after_the_next_sync() -> None:
    rows = Rows((MODULE,))
    rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo4", 1.02), part("pdo6", 1.03), sync(1.2)])
    assert rows.feed([part("pdo1", 1.21), sync(1.4), part("pdo1", 1.401), part("pdo4", 1.402, value=7.0)]) == []
    assert rows.feed([part("pdo6", 1.41, value=8.0), part("pdo4", 1.42, value=9.0)]) == []
    late, own = rows.feed([part("pdo6", 1.43, value=10.0)])
    assert (late.mono_us, late.values, late.bad) == (1_200_000, (1.0, 1.0, 7.0, 8.0), ())
    assert (own.mono_us, own.values, own.bad) == (1_400_000, (1.0, 1.0, 9.0, 10.0), ())


def test_a_part_that_was_lost_is_not_taken_from_the_next_cycle() -> None:
    rows = Rows((MODULE,))
    rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo4", 1.02), part("pdo6", 1.03), sync(1.2)])
    assert rows.feed([part("pdo1", 1.21), part("pdo4", 1.22), sync(1.4), part("pdo1", 1.41, value=9.0)]) == []
    assert rows.feed([part("pdo4", 1.42), part("pdo6", 1.43)]) == []
    lost, whole = rows.feed([sync(1.6)])
    assert (lost.mono_us, lost.values[:2], lost.bad) == (1_200_000, (1.0, 1.0), ((3, "stale"),))
    assert (whole.mono_us, whole.values[:2], whole.bad) == (1_400_000, (9.0, 9.0), ())


def test_a_part_that_never_comes_back_delays_one_row_only() -> None:
    rows = Rows((MODULE,))
    rows.feed([sync(1.0), part("pdo1", 1.01), part("pdo6", 1.03), sync(1.2), part("pdo1", 1.21), sync(1.4)])
    rows.feed([part("pdo1", 1.41)])
    assert [row.mono_us for row in rows.feed([sync(1.6)])] == [1_200_000, 1_400_000]
    assert [row.mono_us for row in rows.feed([part("pdo1", 1.61)])] == [1_600_000]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_in_every_second_cycle_any_part_may_come_late_and_each_row_holds_its_own_values(masks: list[int]) -> None:
    rows, made, pending = Rows((MODULE,)), [], []
    names = ["pdo1", "pdo4", "pdo6"]
    for cycle, mask in enumerate([0, *(one for given_mask in masks for one in (given_mask, 0)), 0]):
        t_mono = 1.0 + cycle
        late = [name for bit, name in enumerate(names) if mask & 1 << bit]
        in_time = [name for name in names if name not in late]
        made += rows.feed([sync(t_mono), *pending, *(part(name, t_mono + 0.1, float(cycle)) for name in in_time)])
        pending = [part(name, t_mono + 1.01, float(cycle)) for name in late]
    made += rows.feed([sync(100.0), sync(101.0)])
    assert len(made) == 2 + 2 * len(masks)
    assert [(row.mono_us, set(row.values), row.bad) for row in made] == [
        (1_000_000 * (cycle + 1), {float(cycle)}, ()) for cycle in range(len(made))
    ]


def test_a_part_sent_twice_in_a_cycle_counts_as_sent_last_and_the_first_is_counted() -> None:
    rows = Rows((MODULE,))
    first = part("pdo1", 1.01, value=1.0, bad=((0, "all_ones"),))
    (row,) = rows.feed([sync(1.0), first, part("pdo1", 1.02, value=2.0), sync(1.2)])
    assert row.values[:2] == (2.0, 2.0)
    assert row.bad == ()
    assert rows.counters["replaced"] == 1


def test_each_poll_is_a_row_of_its_own() -> None:
    rows = rows_of(part("poll", 5.0, source="inverter"), part("poll", 5.25, source="inverter"))
    assert [(row.source, row.mono_us) for row in rows] == [(2, 5_000_000), (2, 5_250_000)]


def test_readings_before_the_first_sync_and_of_other_parts_are_counted() -> None:
    rows = Rows((MODULE,))
    assert rows.feed([part("pdo1", 0.5), part("pdo9", 0.6), part("poll", 0.7, source="inverter")]) == []
    assert rows.counters["before_first_sync"] == 1
    assert rows.counters["not_recorded"] == 2


def test_a_multiplexed_signal_that_is_absent_is_left_out() -> None:
    reading = Reading("module-01", "pdo1", 1.01, (1, None), (1.0, None))
    (row,) = rows_of(sync(1.0), reading, sync(1.2))
    assert math.isnan(row.values[1])
    assert row.bad == ()


step = st.one_of(
    st.just("sync"),
    st.tuples(
        st.sampled_from(["module-01", "module-02"]),
        st.sampled_from(["pdo1", "pdo4", "pdo6"]),
        st.none() | st.sampled_from([reason for reason in REASONS if reason != "not_populated"]),
    ),
    st.just("poll"),
)


@given(st.lists(step, max_size=60), st.lists(st.integers(0, 30_000), min_size=60, max_size=60))
def test_whatever_arrives_rows_keep_their_form_and_their_times_rise(steps: list[Any], gaps_us: list[int]) -> None:
    rows, now_us, made = Rows((MODULE, OTHER, INVERTER)), 0, []
    for one, gap_us in zip(steps, gaps_us, strict=False):
        now_us += gap_us
        t_mono = now_us / 1e6
        if one == "sync":
            made += rows.feed([sync(t_mono)])
        elif one == "poll":
            made += rows.feed([part("poll", t_mono, source="inverter")])
        else:
            source, name, reason = one
            bad = () if reason is None else ((0, reason),)
            made += rows.feed([part(name, t_mono, source=source, bad=bad)])
    for source in range(3):
        times = [row.mono_us for row in made if row.source == source]
        assert times == sorted(set(times))
    for row in made:
        assert len(row.values) == (2 if row.source == 2 else 4)
        assert row.bad or any(not math.isnan(value) for value in row.values)
        assert all(math.isnan(row.values[index]) for index, _ in row.bad)
        assert unpack_row(pack_row(row)).bad == row.bad
