from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.can_bus import MAILBOX_DEPTH, CanBus, Frame


def bus(carried: list[Frame]) -> CanBus:
    return CanBus(500_000, carried.extend, lambda _frame, _now: None)


def test_a_full_bus_carries_about_four_thousand_frames_a_second() -> None:
    carried: list[Frame] = []
    line = bus(carried)
    for n in range(5000):
        line.submit(f"node{n}", Frame(0x181, bytes(8)), 0.0)
    line.advance(1.0)
    assert 4000 <= len(carried) <= 4505


def test_the_lowest_identifier_wins_and_a_standard_one_beats_its_extended_twin() -> None:
    carried: list[Frame] = []
    line = bus(carried)
    for frame in (Frame(0x481, b"a"), Frame(0x060 << 18, b"b", extended=True), Frame(0x060, b"c"), Frame(0x181, b"d")):
        line.submit("node", frame, 0.0)
    line.advance(1.0)
    assert [frame.data for frame in carried] == [b"c", b"b", b"d", b"a"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 0.001)), max_size=200))
def test_every_submitted_frame_is_carried_or_counted_as_overwritten(steps: list[tuple[int, int, float]]) -> None:
    carried: list[Frame] = []
    line = bus(carried)
    now = 0.0
    for sender, can_id, pause in steps:
        now += pause
        line.submit(f"node{sender}", Frame(can_id, bytes([sender])), now)
        line.advance(now)
    line.advance(now + 10.0)
    assert len(carried) + line.overwritten == len(steps)
    assert line.due == float("inf")


def test_a_node_that_cannot_send_keeps_its_newest_frame() -> None:
    carried: list[Frame] = []
    line = bus(carried)
    for n in range(10):
        line.submit("node", Frame(0x181, bytes([n])), 0.0)
    line.advance(1.0)
    assert len(carried) == MAILBOX_DEPTH
    assert carried[-1].data == b"\x09"


def test_the_hosts_queue_is_bounded_and_what_it_refuses_is_counted() -> None:
    line = bus([])
    assert sum(line.submit_host(Frame(0x80, b"\xff"), 0.0) for _ in range(100)) == 64
    assert line.host_refused == 36


def test_a_flood_of_the_lowest_identifier_starves_the_host() -> None:
    heard: list[Frame] = []
    line = CanBus(500_000, lambda _frames: None, lambda frame, _now: heard.append(frame))
    line.submit_host(Frame(0x80, b"\xff"), 0.0)
    for n in range(200):
        line.submit(f"flood{n}", Frame(0, bytes(8)), 0.0)
    line.advance(0.02)
    assert heard == []
    line.advance(1.0)
    assert len(heard) == 1
