"""A disk that others have filled (a real one, ENOSPC): alarms keep their room, telemetry gives way, and all is told."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from tests.conftest import Disk

MINUTES, ALARM_EVERY_S = 10, 5
SIGNALS = [f"signal_{index}" for index in range(38)]
SPOOL = "[spool]\nmax_mb = 512\nreserved_mb = 16\n"


def feed(guard: Any, seconds: range) -> list[str]:
    """What so many seconds at 15 modules × 5 Hz make, and an alarm every five of them; the alarms' names."""
    alarms = []
    for second in seconds:
        for row in range(75):
            guard.row(row % 15, tuple(round(3.6 + (second * 7 + row * column) % 300 / 1000, 3) for column in range(38)))
        if second % ALARM_EVERY_S == 0:
            alarms.append(f"test.alarm-{second}")
            guard.event("alarm", alarm=alarms[-1], level="DANGER", state="active")
        signal.sigtimedwait([], 0.01)  # 100 times as fast as it happens
    return alarms


def of_kind(collector: Any, kind: str) -> list[dict[str, Any]]:
    return [body for body in collector.bodies() if body.get("kind") == kind]


def test_ten_minutes_of_a_full_disk_cost_telemetry_and_no_alarm(
    small_disk: Disk, wait_until: Callable[..., object], guard: Any, collector: Any, new_link: Callable[..., Any]
) -> None:
    guard.sources = [{"name": f"module-{number:02d}", "signals": SIGNALS} for number in range(1, 16)]
    collector.deaf_to = "tele"  # telemetry finds nobody: the spool grows
    link = new_link(SPOOL, small_disk.folder)
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard")
    alarms = feed(guard, range(30))
    wait_until(lambda: guard.released == guard.next - 1, 10, "all of it durable")

    small_disk.fill()
    alarms += feed(guard, range(30, 30 * MINUTES))
    wait_until(lambda: "nearly full" in str(collector.last("status").get("why")), 5, "the full disk being said")
    assert collector.last("alarm/link.disk_full")["state"] == "active"
    link.kill()  # and what is started on a full disk works too
    link.start()
    alarms += feed(guard, range(30 * MINUTES, 60 * MINUTES))
    wait_until(lambda: guard.released == guard.next - 1, 20, "what guard made being durable or given up")
    wait_until(
        lambda: len({one["alarm"] for one in of_kind(collector, "alarm")} & {*alarms}) == len(alarms), 20, "alarms"
    )
    assert small_disk.free < 16_000_000

    small_disk.empty()
    collector.deaf_to = "-"
    wait_until(lambda: collector.last("state/health")["books"]["spooled"] == 0, 60, "the drain")
    wait_until((small_disk.folder / "spool.reserve").exists, 5, "the reserve of the next time")
    assert link.end() == 0
    books = link.books()
    told = sum(gap["rows"] for gap in of_kind(collector, "gap") if gap["reason"] == "spool full")
    assert 1000 < told == books["gaps"]
    assert books["produced"] == collector.units() + books["gaps"]
    assert [one["alarm"] for one in of_kind(collector, "alarm") if one["alarm"] in {*alarms}].count(alarms[-1]) == 1


def test_with_a_collector_nothing_is_lost_on_a_full_disk(
    small_disk: Disk, wait_until: Callable[..., object], guard: Any, collector: Any, new_link: Callable[..., Any]
) -> None:
    guard.sources = [{"name": f"module-{number:02d}", "signals": SIGNALS} for number in range(1, 16)]
    link = new_link(SPOOL, small_disk.folder)
    wait_until((small_disk.folder / "spool.reserve").exists, 25, "the reserve")
    small_disk.fill()
    # as fast as receipts come: beyond that it may be too much for the room that is left
    for start in range(0, 300, 10):
        feed(guard, range(start, start + 10))
        wait_until(lambda: collector.units() >= guard.next, 20, "all of it stored")
    wait_until(lambda: guard.released == guard.next - 1, 5, "all of it durable")
    wait_until(lambda: collector.last("state/health")["books"]["spooled"] == 0, 20, "the receipts")
    assert link.end() == 0
    assert link.books()["gaps"] == 0
    assert link.books()["produced"] == collector.units()
