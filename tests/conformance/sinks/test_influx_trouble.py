"""SCENARIOS 8 and D8: a store in trouble costs nothing, a poison point costs itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bench.influx_front import Fault
from collector.lines import block
from collector.pump import Pump, PumpLimits
from collector.sinks.influx import InfluxSettings, InfluxSink
from collector.sinks.ports import StoreUnavailable
from tests.conformance.sinks.conftest import InfluxSubject, Messages
from tests.conftest import WaitUntil


class Arrival(NamedTuple):
    """A message as the network hands it over."""

    topic: str
    payload: bytes


@pytest.fixture
def sink(influx: InfluxSubject) -> Iterator[InfluxSink]:
    if influx.front is None:
        pytest.skip("faults are injected in front of our own engine only")
    opened = InfluxSink(influx.settings)
    yield opened
    opened.close()


def test_one_poison_point_of_500_is_refused_and_499_are_stored(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    sink.write([influx_messages.telemetry("inverter", power=[1.0])])
    sink._post(f'module,module=07,node={influx.name},site=lab CMA_Voltage="text" {influx_messages.T0}000'.encode())
    records = [influx_messages.telemetry("inverter", power=[float(k)]) for k in range(499)]
    poison = influx_messages.telemetry("module-07", CMA_Voltage=[47.3])
    outcome = sink.write([*records[:250], poison, *records[250:]])
    assert [one.identity for one in outcome.refused] == [poison.identity]
    assert "422: partial write: field type conflict" in outcome.refused[0].reason
    assert len(outcome.stored) == 499
    assert len([cell for cell in influx.cells() if cell[1] == "inverter"]) == 500


def test_a_batch_of_poison_only_is_refused_because_the_store_takes_another_point(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    sink._post(f'module,module=07,node={influx.name},site=lab CMA_Voltage="text" {influx_messages.T0}000'.encode())
    poison = [influx_messages.telemetry("module-07", CMA_Voltage=[47.3]) for _ in range(3)]
    assert len(sink.write(poison).refused) == 3


def test_a_store_that_refuses_every_point_is_in_trouble_and_nothing_is_given_up(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    influx.front.faults.extend([Fault(400)] * 8)
    records = [influx_messages.telemetry() for _ in range(4)]
    with pytest.raises(StoreUnavailable, match="refuses every point"):
        sink.write(records)
    influx.front.faults.clear()
    assert len(sink.write(records).stored) == 4


def test_a_store_that_refuses_every_point_is_not_asked_for_each_message(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    influx.front.faults.extend([Fault(400)] * 200)
    before = influx.front.writes
    with pytest.raises(StoreUnavailable, match="refuses every point"):
        sink.write([influx_messages.telemetry() for _ in range(64)])
    assert influx.front.writes - before <= 8


@pytest.mark.parametrize(
    ("fault", "most"),
    [
        (Fault(503), 4),
        (Fault(429, {"Retry-After": "3"}), 2),
        (Fault(delay_s=3.0), 3),
        (Fault(reset=True), 4),
        (Fault(401), 4),
    ],
    ids=["503", "429 with Retry-After", "silence", "a reset after storing", "a wrong token"],
)
def test_whatever_the_trouble_is_the_store_is_asked_at_most_once_a_second_and_then_has_everything_once(
    influx: InfluxSubject, influx_messages: Messages, wait_until: WaitUntil, fault: Fault, most: int
) -> None:
    told: list[bytes] = []
    if influx.front is None:
        pytest.skip("faults are injected in front of our own engine only")
    opened = influx.sink()
    pump = Pump("pc-1", opened, lambda _topic, payload: not told.append(payload), PumpLimits())
    influx.front.faults.extend([fault] * 50)
    begun = influx.front.writes
    pump.start()
    for _ in range(10):
        record = influx_messages.telemetry("inverter", power=[1.0, 2.0])
        pump.offer(Arrival(f"cellguard/v1/lab/{influx.name}/tele/inverter", record.payload))
    wait_until(lambda: pump.trouble, 5.0, "the trouble")
    threading.Event().wait(3.0)
    assert 1 <= influx.front.writes - begun <= most
    assert told == []
    influx.front.faults.clear()
    wait_until(lambda: told, 12.0, "the receipt")
    assert pump.stop()
    opened.close()
    assert len(influx.cells()) == 20


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "token is not accepted: check token_file"),
        (403, "token may not write"),
        (404, "there is no bucket"),
        (500, "it cannot write now"),
        (503, "overloaded or starting"),
    ],
)
def test_a_refusing_server_is_named_with_what_to_do(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages, status: int, words: str
) -> None:
    record = influx_messages.telemetry()
    influx.front.faults.extend([Fault(status)] * 4)
    for _ in range(4):
        with pytest.raises(StoreUnavailable, match=words):
            sink.write([record])
    assert len(sink.write([record]).stored) == 1
    assert len(influx.cells()) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "100000"}, 300.0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_heard_within_reason(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages, headers: dict[str, str], seconds: float
) -> None:
    influx.front.faults.append(Fault(429, headers=headers))
    with pytest.raises(StoreUnavailable) as caught:
        sink.write([influx_messages.telemetry()])
    assert caught.value.retry_after_s == seconds


def test_a_connection_reset_after_storing_is_written_again_without_a_double(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    records = [influx_messages.telemetry() for _ in range(5)]
    influx.front.faults.append(Fault(reset=True))
    with pytest.raises(StoreUnavailable):
        sink.write(records)
    assert len(influx.cells()) == 15
    assert len(sink.write(records).stored) == 5
    assert len(influx.cells()) == 15


def test_a_slow_answer_ends_at_the_time_limit(influx: InfluxSubject, influx_messages: Messages) -> None:
    if influx.front is None:
        pytest.skip("faults are injected in front of our own engine only")
    given = influx.settings
    sink = InfluxSink(InfluxSettings(given.url, given.org, given.bucket, given.token, timeout_s=1.0))
    influx.front.faults.append(Fault(delay_s=30.0))
    with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
        sink.write([influx_messages.telemetry()])
    assert len(sink.write([influx_messages.telemetry()]).stored) == 1
    sink.close()


def test_a_request_that_is_too_large_is_halved_and_a_single_one_refused(
    sink: InfluxSink, influx: InfluxSubject, influx_messages: Messages
) -> None:
    records = [influx_messages.telemetry() for _ in range(16)]
    large = influx_messages.telemetry("arduino", temp1=[20.5] * 200)
    influx.front.max_body = len(block(records)) // 3
    outcome = sink.write([*records, large])
    assert len(outcome.stored) == 16
    assert [one.identity for one in outcome.refused] == [large.identity]
    assert "413" in outcome.refused[0].reason


def test_a_wrong_bucket_or_org_is_waited_for(influx: InfluxSubject, influx_messages: Messages) -> None:
    if influx.front is None:
        pytest.skip("only with our own engine")
    given = influx.settings
    for org, bucket in ((given.org, "nowhere"), ("nobody", given.bucket)):
        sink = InfluxSink(InfluxSettings(given.url, org, bucket, given.token))
        with pytest.raises(StoreUnavailable, match="404: there is no bucket"):
            sink.write([influx_messages.telemetry()])
        sink.close()


def test_compressed_requests_store_the_same(influx: InfluxSubject, influx_messages: Messages) -> None:
    given = influx.settings
    sink = InfluxSink(InfluxSettings(given.url, given.org, given.bucket, given.token, gzip=True))
    assert len(sink.write([influx_messages.telemetry() for _ in range(4)]).stored) == 4
    sink.close()
    assert len(influx.cells()) == 12
