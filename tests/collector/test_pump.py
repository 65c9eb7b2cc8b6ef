"""The pump between queue and store: receipts, retries, overload, poison, a clean end. The store is a real archive."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from collector.batcher import BatchLimits
from collector.ingest import Record
from collector.pump import Pump, PumpLimits
from collector.sinks.archive import ArchiveSink
from collector.sinks.archive_reader import count_rows
from collector.sinks.ports import Outcome, SetAside, StoreUnavailable
from shared.messages import Receipt
from tests.conftest import WaitUntil


class Message(NamedTuple):
    topic: str
    payload: bytes


def tele(seq: int, **change: object) -> Message:
    body = {
        "spool": "a1b2c3d4",
        "lane": "tele",
        "seq": seq,
        "t0": seq * 1_000_000,
        "t": [0, 1],
        "v": {"power": [1.5, 2.5]},
    }
    return Message("cellguard/v1/lab/rig-1/tele/inverter", orjson.dumps({**body, **change}))


class Published:
    """Where receipts go; says no while `refusing`."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.refusing = False

    def __call__(self, topic: str, payload: bytes) -> bool:
        assert topic == "cellguard/v1/lab/rig-1/receipt"
        if not self.refusing:
            self.receipts.append(Receipt.model_validate_json(payload))
        return not self.refusing

    def released(self) -> set[int]:
        return {seq for one in self.receipts for first, last in one.ranges for seq in range(first, last + 1)}

    def quarantined(self) -> dict[int, str]:
        return {first: reason for one in self.receipts for first, _, reason in one.quarantined}


class Moody(ArchiveSink):
    """A real archive that can be told to be away, or to fail as no sink may."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away = threading.Event()
        self.broken = threading.Event()
        self.asked = 0

    def write(self, records: Sequence[Record]) -> Outcome:
        self.asked += 1
        if self.broken.is_set():
            raise RuntimeError("a bug in a sink")
        if self.away.is_set():
            raise StoreUnavailable("the store is away")
        return super().write(records)

    def set_aside(self, messages: Sequence[SetAside]) -> None:
        if self.away.is_set():
            raise StoreUnavailable("the store is away")
        super().set_aside(messages)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Moody]:
    opened = Moody(tmp_path / "archive")
    yield opened
    opened.close()


@pytest.fixture
def pump(sink: Moody, published: Published) -> Iterator[Pump]:
    running = Pump("pc-1", sink, published, PumpLimits(batch=BatchLimits(rows=20, wait_s=0.05)))
    running.start()
    yield running
    assert running.stop()


def test_what_is_stored_is_receipted_once_it_is_stored(
    pump: Pump, published: Published, tmp_path: Path, wait_until: WaitUntil
) -> None:
    for seq in range(1, 101):
        pump.offer(tele(seq))
    wait_until(lambda: published.released() == set(range(1, 101)), 5.0, "all receipts")
    assert count_rows(tmp_path / "archive") == {"tele_rows": 200, "events": 0}
    assert len(published.receipts) <= 11


def test_a_duplicate_is_stored_once_and_receipted_again(
    pump: Pump, published: Published, tmp_path: Path, wait_until: WaitUntil
) -> None:
    for _ in range(3):
        published.receipts.clear()
        pump.offer(tele(5))
        wait_until(lambda: published.released() == {5}, 5.0, "its receipt")
    assert count_rows(tmp_path / "archive")["tele_rows"] == 2


def test_each_poison_costs_itself_and_is_told_with_its_reason(
    pump: Pump, published: Published, tmp_path: Path, wait_until: WaitUntil
) -> None:
    head = b'{"spool":"a1b2c3d4","lane":"tele","seq":%d,'
    topic = tele(1).topic
    poison = {
        2: Message(topic, head % 2 + b'"v":{"power":[NaN]}}'),
        4: Message(topic, head % 4 + b'"t0":1e400}'),
        6: Message(topic, head % 6 + b'"v":' + b"[" * 100_000),
        8: Message(topic, head % 8 + b'"x":"' + b"y" * 300 * 1024 + b'"}'),
        10: tele(10, v={"power": ["1.5", None]}),
    }
    for seq in range(1, 12):
        pump.offer(poison.get(seq) or tele(seq))
    pump.offer(Message(topic, b""))
    pump.offer(Message(topic, b"\xff\xfe"))
    pump.offer(Message("cellguard/v1/#", b"{}"))
    wait_until(lambda: len(published.quarantined()) == 5 and len(published.released()) == 6, 5.0, "all answers")
    assert published.quarantined().keys() == poison.keys()
    assert "depth limit" in published.quarantined()[6]
    wait_until(lambda: pump.health()["unreadable"] == 3, 2.0, "three without a number")
    assert pump.health()["quarantined"] == 5
    assert count_rows(tmp_path / "archive")["tele_rows"] == 12


def test_while_the_store_is_away_nothing_is_receipted_and_later_everything(
    pump: Pump, sink: Moody, published: Published, wait_until: WaitUntil
) -> None:
    sink.away.set()
    for seq in range(1, 31):
        pump.offer(tele(seq))
    wait_until(lambda: pump.trouble == "the store is away", 3.0, "the trouble to be said")
    assert pump.health()["store"]["state"] == "unavailable"
    assert published.receipts == []
    sink.away.clear()
    wait_until(lambda: published.released() == set(range(1, 31)), 5.0, "all receipts")
    assert pump.trouble == ""


def test_a_store_that_is_away_is_asked_at_most_once_a_second(pump: Pump, sink: Moody, wait_until: WaitUntil) -> None:
    sink.away.set()
    pump.offer(tele(1))
    wait_until(lambda: sink.asked == 1, 2.0, "the first try")
    waiting = threading.Event()
    waiting.wait(0.8)
    assert sink.asked == 1
    sink.away.clear()


def test_messages_beyond_the_queue_are_counted_not_receipted_and_taken_when_sent_again(
    sink: Moody, published: Published, wait_until: WaitUntil
) -> None:
    pump = Pump("pc-1", sink, published, PumpLimits(queue_bytes=2_000, batch=BatchLimits(wait_s=0.02)))
    for seq in range(1, 101):
        pump.offer(tele(seq))
    dropped = pump.health()["dropped"]
    assert isinstance(dropped, int)
    assert 90 < dropped < 100
    assert "dropped" in pump.trouble
    pump.start()
    wait_until(lambda: len(published.released()) == 100 - dropped, 5.0, "receipts of what was taken")
    for seq in range(101 - dropped, 101):
        wait_until(lambda: pump.health()["queue"]["bytes"] == 0, 5.0, "room")
        pump.offer(tele(seq))
    wait_until(lambda: len(published.released()) == 100, 5.0, "all receipts")
    assert pump.stop()


def test_an_unexpected_error_in_a_sink_is_counted_and_the_pump_goes_on(
    pump: Pump, sink: Moody, published: Published, wait_until: WaitUntil
) -> None:
    sink.broken.set()
    pump.offer(tele(1))
    wait_until(lambda: pump.health()["errors"] == 1, 3.0, "the error to be counted")
    sink.broken.clear()
    assert published.receipts == []
    pump.offer(tele(1))
    wait_until(lambda: published.released() == {1}, 5.0, "its receipt when it is sent again")


def test_receipts_that_find_no_broker_are_counted(pump: Pump, published: Published, wait_until: WaitUntil) -> None:
    published.refusing = True
    pump.offer(tele(1))
    wait_until(lambda: pump.health()["receipts_unsent"] == 1, 3.0, "the receipt to be refused")
    published.refusing = False
    pump.offer(tele(1))
    wait_until(lambda: published.released() == {1}, 3.0, "the receipt of the second time")


def test_stopping_stores_what_was_taken(sink: Moody, published: Published) -> None:
    pump = Pump("pc-1", sink, published, PumpLimits(batch=BatchLimits(wait_s=5.0)))
    for seq in range(1, 51):
        pump.offer(tele(seq))
    pump.start()
    assert pump.stop()
    assert published.released() == set(range(1, 51))


def test_stopping_does_not_wait_for_a_store_that_is_away(sink: Moody, published: Published) -> None:
    pump = Pump("pc-1", sink, published, PumpLimits(batch=BatchLimits(rows=2, wait_s=0.02)))
    sink.away.set()
    for seq in range(1, 51):
        pump.offer(tele(seq))
    pump.start()
    assert pump.stop(3.0)
    assert published.receipts == []


def test_the_same_number_with_other_content_is_told_as_set_aside(
    pump: Pump, published: Published, wait_until: WaitUntil
) -> None:
    pump.offer(tele(1))
    pump.offer(tele(1, v={"power": [9.0, 9.0]}))
    wait_until(lambda: 1 in published.quarantined() and 1 in published.released(), 3.0, "both answers")
    assert published.quarantined()[1] == "another message is stored under this number"
