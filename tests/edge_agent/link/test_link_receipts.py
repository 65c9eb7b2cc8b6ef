"""What link believes of receipts and collectors, seen from outside."""

from __future__ import annotations

import time
from typing import Any

COUNTED = ("malformed", "foreign_spool", "not_named", "for_nothing")


def test_forged_receipts_release_nothing(wait_until: Any, guard: Any, collector: Any, new_link: Any) -> None:
    link = new_link()
    collector.receipting = False
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: any(key[1] == "tele" for key in list(collector.stored)), 5, "the message")
    good = {"spool": next(iter(collector.stored))[0], "lane": "tele", "seq": 1, "ranges": [[1, 99]]}
    for forged in (
        {"spool": "deadbeef"},
        {"collector": "evil"},
        {"ranges": [[1000, 2000]]},
        {"lane": "other"},
        {"extra": 1},
    ):
        collector.receipt(**{**good, **forged})
    collector.mqtt.publish(f"{collector.root}/receipt", b"{")
    drops = lambda: collector.last("state/health").get("drops", {})  # noqa: E731 read again each time
    wait_until(lambda: sum(drops().get(f"receipts_{name}", 0) for name in COUNTED) == 6, 10, "the counts")
    link.end()
    assert link.books()["released"] == 0


def test_a_quarantined_message_is_counted_and_not_sent_again(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    link = new_link()
    collector.receipting = False
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: any(key[1] == "tele" for key in list(collector.stored)), 5, "the message")
    spool = next(iter(collector.stored))[0]
    collector.receipt(spool, "tele", 1, ranges=[], quarantined=[[1, 1, "type conflict"]])
    wait_until(lambda: collector.last("state/health").get("books", {}).get("quarantined") == 1, 5, "the count")
    gap = lambda: [body for body in collector.bodies() if body.get("kind") == "gap"]  # noqa: E731 read again each time
    wait_until(gap, 5, "the record of what is missing")
    told = {"of": "tele", "from": 1, "to": 1, "rows": 1, "reason": "quarantined: type conflict"}
    assert told.items() <= gap()[0].items()
    assert gap()[0]["t_from"] <= gap()[0]["t_to"]
    link.end()
    assert link.books()["quarantined"] == 1


def test_what_has_no_receipt_is_sent_again(wait_until: Any, guard: Any, collector: Any, new_link: Any) -> None:
    new_link()
    collector.receipting = False
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: len(collector.seen.get("tele/module-01", [])) >= 2, 10, "the second sending")
    first, second, *_ = collector.seen["tele/module-01"]
    assert first.payload == second.payload


def test_a_collector_that_comes_back_gets_at_once_what_it_missed(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    new_link()
    collector.receipting = False
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    copies = lambda: len(collector.seen.get("tele/module-01", []))  # noqa: E731 read again each time
    wait_until(lambda: copies() >= 2, 10, "the second sending")  # after 2 s; the third would come 4 s later
    began, before = time.monotonic(), copies()
    collector.mqtt.publish("cellguard/v1/lab/collector/pc-1/status", b'{"state":"online","since":1}')
    wait_until(lambda: copies() > before, 10, "the next one")
    assert time.monotonic() - began < 3.0
