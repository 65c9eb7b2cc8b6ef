"""What is sent when, what is sent again, and what a receipt may release."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.spool import Lane
from edge_agent.link.uplink import FIRST_RESEND_S, WINDOW, Fetched, Release, Uplink


class Store:
    """Unstored messages of both lanes, as the spool would give them."""

    def __init__(self, tele: int = 0, events: int = 0) -> None:
        self.messages: dict[Lane, dict[int, Fetched]] = {
            "tele": {seq: (seq, "m", b"x" * 10) for seq in range(1, tele + 1)},
            "event": {seq: (seq, "alarm", b"x") for seq in range(1, events + 1)},
        }
        self.sent: list[tuple[str, int]] = []
        self.now = 0.0
        self.uplink = Uplink("a1b2c3d4", ["pc-1"], self.fetch, lambda lane, seq: self.messages[lane].get(seq))

    def fetch(self, lane: Lane, after: int, limit: int) -> list[Fetched]:
        return [message for seq, message in sorted(self.messages[lane].items()) if seq > after][:limit]

    def publish(self, lane: Lane, message: Fetched) -> bool:
        self.sent.append((lane, message[0]))
        return True

    def send(self, now: float, room: int = 1000) -> list[tuple[str, int]]:
        self.sent, self.now = [], now
        self.uplink.send(now, room, self.publish)
        return self.sent

    def receive(self, **body: Any) -> Release | None:
        whole = {"collector": "pc-1", "spool": "a1b2c3d4", "lane": "tele", **body}
        release = self.uplink.receipt(json.dumps(whole).encode(), retained=False)
        if release is not None:
            for seq in (*release.stored, *(seq for seq, _ in release.quarantined)):
                del self.messages[release.lane][seq]
            self.uplink.settled(release, self.now)
        return release


def test_events_go_first_then_telemetry_from_the_oldest() -> None:
    store = Store(tele=3, events=2)
    assert store.send(0.0) == [("event", 1), ("event", 2), ("tele", 1), ("tele", 2), ("tele", 3)]
    assert store.send(1.0) == []


def test_fresh_telemetry_overtakes_the_backlog_and_is_not_sent_twice() -> None:
    store = Store(tele=100)
    store.uplink.spooled(100)
    assert store.send(0.0, room=3) == [("tele", 100), ("tele", 1), ("tele", 2)]
    rest = store.send(0.1)
    assert rest == [("tele", seq) for seq in range(3, 100)]


def test_without_receipts_the_window_closes_but_for_events_and_fresh_data() -> None:
    store = Store(tele=2 * WINDOW)
    assert len(store.send(0.0, room=10_000)) == WINDOW * 4 // 5
    store.messages["event"][1] = (1, "alarm", b"x")
    store.uplink.spooled(2 * WINDOW)
    assert store.send(0.1) == [("event", 1), ("tele", 2 * WINDOW)]


@pytest.mark.parametrize("size", [10, 100_000])
def test_where_only_telemetry_finds_no_receipt_events_still_pass(size: int) -> None:
    store = Store(tele=4 * WINDOW)
    for seq in range(1, 4 * WINDOW + 1):
        store.messages["tele"][seq] = (seq, "m", b"x" * size)
        store.uplink.spooled(seq)
        store.send(0.001 * seq)
    store.messages["event"][1] = (1, "alarm", b"x")
    assert store.send(4.0 * WINDOW)[0] == ("event", 1)


def test_a_message_that_is_not_taken_is_tried_again_and_none_is_skipped() -> None:
    store = Store(tele=5)
    store.uplink.send(0.0, 10, lambda _lane, message: message[0] < 3)
    assert store.uplink.has_more
    assert store.send(0.1) == [("tele", 3), ("tele", 4), ("tele", 5)]
    assert not store.uplink.has_more


def test_what_has_no_receipt_is_sent_again_after_a_growing_delay_and_at_once_after_a_reconnect() -> None:
    store = Store(tele=1)
    times = [now / 2 for now in range(500) if store.send(now / 2)]
    assert times[0] == 0
    assert [later - sooner for sooner, later in itertools.pairwise(times)] == [
        FIRST_RESEND_S,
        4,
        8,
        16,
        32,
        60,
        60,
        60,
    ]
    store.uplink.reconnected(251.0)
    assert store.send(251.0) == [("tele", 1)]


def test_where_receipts_take_long_the_first_copy_waits_longer_and_shortens_again_slowly() -> None:
    store = Store(tele=300)
    store.send(0.0, room=1)
    store.now = 5.0
    store.receive(ranges=[[1, 1]])
    assert store.uplink.first_resend_s == 15.0
    store.send(5.0, room=1)
    assert store.send(19.9, room=0) == []
    for seq in range(2, 300):
        store.send(20.0, room=2)
        store.receive(ranges=[[seq, seq]])
    assert store.uplink.first_resend_s == FIRST_RESEND_S


def test_a_copy_says_nothing_about_how_long_a_receipt_takes() -> None:
    store = Store(tele=1)
    store.send(0.0)
    assert store.send(30.0) == [("tele", 1)]
    store.receive(ranges=[[1, 1]])
    assert store.uplink.first_resend_s == FIRST_RESEND_S


def test_a_collector_that_has_just_come_gets_what_it_missed_at_once_but_not_at_every_refresh() -> None:
    store = Store(tele=1)
    store.send(0.0)
    online, offline = b'{"state":"online","since":7}', b'{"state":"offline","since":7}'
    for payload, retained, resent in (
        (online, True, False), (online, False, False), (offline, False, False), (online, False, True), (online, False, False),
        (b'{"state":"degraded","since":8}', False, True), (b"{", False, False), (b"[]", False, False),
    ):  # fmt: skip
        store.uplink.collector("pc-1", payload, retained=retained, now=1.0)
        assert bool(store.send(1.0)) is resent, payload


def test_the_first_receipt_after_a_silence_makes_all_that_was_sent_meanwhile_due_at_once() -> None:
    """As where the broker's rules keep the collectors' status from an agent."""
    store = Store(tele=20)
    store.send(0.0)
    store.receive(ranges=[[1, 1]])
    now = 0.0
    for now in (3.0, 8.0, 17.0, 34.0, 67.0, 128.0):  # nobody is there: the delay has grown to a minute
        store.send(now)
    store.now = now + 10.0
    store.receive(ranges=[[2, 2]])

    assert store.send(store.now) == [("tele", seq) for seq in range(3, 21)]
    store.now += 1.0
    store.receive(ranges=[[3, 4]])
    assert store.send(store.now) == []


def test_where_receipts_are_always_slow_each_of_them_causes_no_copies() -> None:
    store = Store(tele=12)
    for number in range(1, 7):
        store.now = number * 10.0
        store.send(store.now, room=1)  # one at a time, its receipt 9 s later
        store.now += 9.0
        store.receive(ranges=[[number, number]])
    store.send(store.now, room=6)
    store.now += 9.0
    store.receive(ranges=[[7, 7]])

    assert store.send(store.now) == []


def test_receipts_may_have_holes_and_come_in_any_order() -> None:
    store = Store(tele=10)
    store.send(0.0)
    assert store.receive(ranges=[[7, 8], [2, 3]]) == Release("tele", [7, 8, 2, 3], [])
    assert store.receive(ranges=[[1, 10]]) == Release("tele", [1, 4, 5, 6, 9, 10], [])
    assert store.uplink.unreceipted == 0
    assert store.send(100.0) == []


def test_a_quarantined_number_is_not_released_too() -> None:
    store = Store(tele=3)
    store.send(0.0)
    assert store.receive(ranges=[[1, 3]], quarantined=[[2, 2, "poison"]]) == Release("tele", [1, 3], [(2, "poison")])


@pytest.mark.parametrize(
    ("forged", "count"),
    [
        ({"spool": "ffffffff"}, "receipts_foreign_spool"),
        ({"collector": "pc-2"}, "receipts_not_named"),
        ({"ranges": [[4, 10**15]]}, "receipts_for_nothing"),
        ({"ranges": [[3, 1]]}, "receipts_for_nothing"),
        ({"ranges": [["1", 2]]}, "receipts_malformed"),
        ({"ranges": [[0, 2]]}, "receipts_malformed"),
        ({"lane": "all"}, "receipts_malformed"),
        ({"more": 1}, "receipts_malformed"),
    ],
)
def test_a_forged_receipt_is_counted_and_releases_nothing(forged: dict[str, Any], count: str) -> None:
    store = Store(tele=3)
    store.send(0.0)
    release = store.receive(**{"ranges": [[1, 3]], **forged})
    assert release is None or (release.stored, release.quarantined) == ([], [])
    assert store.uplink.counts[count] == 1
    assert store.uplink.unreceipted == 3


def test_a_receipt_for_what_was_never_sent_releases_nothing() -> None:
    store = Store(tele=3)
    store.send(0.0, room=1)
    assert store.receive(ranges=[[1, 3]]) == Release("tele", [1], [])


def test_what_a_process_before_has_sent_is_due_at_once_believed_when_receipted_and_no_measure_of_the_trip() -> None:
    store = Store(tele=4, events=1)
    for lane, seq in (("tele", 2), ("tele", 3), ("event", 1)):
        store.uplink.sent_before(lane, store.messages[lane][seq], 100.0)
    assert (store.uplink.sent("tele"), store.uplink.sent("event")) == ([2, 3], [1])
    store.now = 105.0
    assert store.receive(ranges=[[1, 2]]) == Release("tele", [2], [])
    assert store.uplink.first_resend_s == FIRST_RESEND_S
    assert store.send(100.0) == [("event", 1), ("tele", 3), ("tele", 1), ("tele", 4)]
    assert store.send(100.0) == []
    assert store.uplink.counts["sent_before"] == 3


def test_a_retained_receipt_is_not_believed() -> None:
    store = Store(tele=1)
    store.send(0.0)
    body = {"collector": "pc-1", "spool": "a1b2c3d4", "lane": "tele", "ranges": [[1, 1]]}
    assert store.uplink.receipt(json.dumps(body).encode(), retained=True) is None
    assert store.uplink.counts["receipts_retained"] == 1


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode), st.just(b"[" * 60_000)))
def test_rubbish_is_no_receipt(rubbish: bytes) -> None:
    store = Store(tele=1)
    store.send(0.0)
    assert store.uplink.receipt(rubbish, retained=False) is None
