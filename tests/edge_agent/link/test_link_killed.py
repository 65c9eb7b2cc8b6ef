"""kill -9 of link while its spool is at the cap: what it had sent, and what is stored of it, is not told as lost."""

from __future__ import annotations

import signal
from typing import Any

SIGNALS = [f"signal_{index}" for index in range(38)]
SPOOL = "[spool]\nmax_mb = 8\nreserved_mb = 1\n"
"""3 MB of telemetry."""


def feed(guard: Any, seconds: int) -> None:
    """What so many seconds at 15 modules × 5 Hz make, about 17 kB each, 100 times as fast."""
    for _ in range(seconds):
        for _ in range(75):
            row = guard.next
            guard.row(row % 15, tuple(round(3.6 + (row * column) % 300 / 1000, 3) for column in range(38)))
        signal.sigtimedwait([], 0.01)


def gap_records(collector: Any) -> list[dict[str, Any]]:
    return [body for body in collector.bodies() if body.get("kind") == "gap"]


def told_as_lost(collector: Any) -> set[tuple[str, str, int]]:
    """Every message that a gap record names."""
    return {
        (body["spool"], body["of"], seq)
        for body in gap_records(collector)
        for first, last in body.get("ranges", [[body["from"], body["to"]]])
        for seq in range(first, last + 1)
    }


def test_what_was_sent_before_a_kill_and_is_stored_is_never_told_as_lost_at_the_cap(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, broker: Any
) -> None:
    guard.sources = [{"name": f"module-{number:02d}", "signals": SIGNALS} for number in range(1, 16)]
    collector.receipting = False  # it stores, and no receipt reaches link
    link = new_link(SPOOL)
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard")
    feed(guard, 40)
    wait_until(lambda: collector.units() == guard.next, 10, "all of it and link's own event being stored")
    link.kill()
    broker.kill()
    before = len(collector.stored)
    collector.seen.clear()

    link.start()
    dropped = lambda: (guard.link_states or [{}])[-1].get("dropped", {}).get("messages_dropped", 0)  # noqa: E731 read again each time
    wait_until(lambda: feed(guard, 40) or dropped() > 100, 30, "the cap making link give up telemetry")
    wait_until(lambda: guard.released == guard.next - 1, 10, "all of it durable or given up")
    collector.receipting = True
    broker.start()
    wait_until(lambda: collector.last("state/health").get("books", {}).get("spooled") == 0, 30, "the drain")
    assert link.end() == 0

    books = link.books()
    assert not told_as_lost(collector) & set(collector.stored)
    assert books["gaps"] == sum(body["rows"] for body in gap_records(collector)) > 1000
    assert books["produced"] == books["gaps"] + books["spooled"] + books["released"]
    assert books["released"] <= collector.units() <= books["released"] + books["spooled"]
    assert collector.last("state/health")["drops"]["sent_before"] == before > 10
