"""The ring: nothing leaves it unseen."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard.ring import Ring
from shared.ipc import EVENT, MAX_PACKET, ROW, Row, number_of, unpack_event

WIDE = 50


def row(mono_us: int) -> Row:
    return Row(0, mono_us, 0, (1.0,) * WIDE, ())


def drain(ring: Ring, limit: int = 10_000) -> list[bytes]:
    sent = []
    while len(sent) < limit and (packet := ring.peek()) is not None:
        sent.append(packet)
        ring.sent()
    return sent


def numbers(packets: list[bytes]) -> list[int]:
    return [number_of(packet) for packet in packets]


def gaps(packets: list[bytes]) -> list[dict[str, Any]]:
    bodies = [unpack_event(packet).body for packet in packets if packet[:1] == EVENT]
    return [body for body in bodies if body["kind"] == "gap"]


def test_records_are_numbered_from_one_in_their_order() -> None:
    ring = Ring()
    ring.add_row(row(1))
    ring.add_event(2, {"kind": "state"})
    assert numbers(drain(ring)) == [1, 2]
    assert ring.next == 3


def test_what_was_sent_is_kept_until_it_is_released() -> None:
    ring = Ring()
    for mono_us in range(5):
        ring.add_row(row(mono_us))
    drain(ring)
    assert (len(ring), ring.first) == (5, 1)
    ring.release(3)
    assert (len(ring), ring.first) == (2, 4)
    ring.release(99)
    assert (len(ring), ring.bytes, ring.first) == (0, 0, 6)


def test_a_link_that_comes_back_gets_everything_it_does_not_have_again_and_in_order() -> None:
    ring = Ring()
    for mono_us in range(6):
        ring.add_row(row(mono_us))
    drain(ring, limit=4)
    ring.reconnect(2)
    assert numbers(drain(ring)) == [3, 4, 5, 6]


def test_a_release_never_takes_what_was_not_sent() -> None:
    ring = Ring()
    ring.add_row(row(1))
    ring.release(10)
    assert numbers(drain(ring)) == [1]


def test_a_full_ring_drops_the_oldest_rows_and_keeps_the_events_and_says_what_is_gone() -> None:
    ring = Ring(cap_bytes=10_000)
    ring.add_event(0, {"kind": "alarm", "alarm": "x"})
    for mono_us in range(1, 200):
        ring.add_row(row(mono_us))
    assert ring.bytes <= 10_000
    packets = drain(ring)
    assert number_of(packets[0]) == 1, "the alarm is the oldest record and still there"
    (gap,) = gaps(packets)
    kept = [number_of(packet) for packet in packets if packet[:1] == ROW]
    assert (gap["lane"], gap["reason"]) == ("tele", "ring full")
    assert (gap["from"], gap["to"]) == (2, kept[0] - 1)
    assert (gap["t_from_mono_us"], gap["t_to_mono_us"]) == (1, kept[0] - 2)


def test_what_was_sent_and_then_dropped_is_a_gap_only_if_link_lost_it() -> None:
    ring = Ring(cap_bytes=10_000)
    for mono_us in range(15):
        ring.add_row(row(mono_us))
    drain(ring)
    for mono_us in range(15, 30):
        ring.add_row(row(mono_us))
    assert gaps(drain(ring)) == [], "link was given all of them"
    ring.reconnect(5)
    (gap,) = gaps(drain(ring))
    assert gap["from"] == 6, "5 are safe"


def test_events_are_dropped_when_nothing_else_is_left() -> None:
    ring = Ring(cap_bytes=2_000)
    for mono_us in range(100):
        ring.add_event(mono_us, {"kind": "alarm", "text": "x" * 50})
    assert ring.bytes <= 2_000
    assert ring.dropped["event"] > 0
    assert gaps(drain(ring))[0]["lane"] == "event"


def test_an_event_too_large_for_a_packet_is_refused() -> None:
    ring = Ring()
    assert not ring.add_event(0, {"kind": "alarm", "text": "x" * MAX_PACKET})
    assert ring.next == 1


action = st.one_of(
    st.tuples(st.just("row"), st.just(0)),
    st.tuples(st.just("event"), st.just(0)),
    st.tuples(st.just("send"), st.integers(1, 40)),
    st.tuples(st.just("release"), st.integers(0, 10)),
    st.tuples(st.just("reconnect"), st.integers(0, 10)),
)


@given(st.lists(action, max_size=120))
def test_every_number_is_stored_by_link_or_held_or_named_in_a_gap(actions: list[tuple[str, int]]) -> None:
    """Link's side: what it received of this connection, of which a prefix becomes durable."""
    ring, durable, received = Ring(cap_bytes=3_000), 0, {}
    stored: dict[int, bytes] = {}
    for name, argument in [*actions, ("reconnect", 0)]:
        if name == "row":
            ring.add_row(row(ring.next))
        elif name == "event":
            ring.add_event(ring.next, {"kind": "alarm"})
        elif name == "send":
            received |= {number_of(packet): packet for packet in drain(ring, argument)}
        else:
            prefix = sorted(received)[:argument]
            stored |= {number: received.pop(number) for number in prefix}
            durable = max(stored, default=0)
            if name == "release":
                ring.release(durable)
            else:
                received.clear()
                ring.reconnect(durable)
    stored |= {number_of(packet): packet for packet in drain(ring)}
    named = {n for gap in gaps(list(stored.values())) for n in range(gap["from"], gap["to"] + 1)}
    assert set(range(1, ring.next)) == set(stored) | named
    assert not set(stored) & named
