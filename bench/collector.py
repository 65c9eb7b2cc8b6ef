"""The figure `collector`: messages in, points in a real store, receipts out, against the bare store given ready-made lines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from bench.figure import Figure, alternate
from bench.influx_front import Address, front_process
from bench.influxd import PROGRAM, Influxd
from bench.telemetry import Message, messages
from collector.batcher import BatchLimits
from collector.ingest import ingest
from collector.lines import block
from collector.pump import Pump, PumpLimits, take_footing
from collector.sinks.influx import InfluxSettings, InfluxSink
from shared.messages import Receipt

GOAL = 0.8
SECONDS = 60
ROUNDS = 15
_TIME_LIMIT_S = 60.0


def figures() -> list[Figure]:
    """Both write the same points over the same HTTP front, each round into a bucket of its own."""
    if PROGRAM is None:
        raise SystemExit("influxd is not installed (apt install influxdb)")
    take_footing()  # as the collector's own process does
    sent = messages(SECONDS)
    ready = _ready_made(sent)
    count = sum(body.count(b"\n") + 1 for body in ready)
    with tempfile.TemporaryDirectory() as folder, Influxd(Path(folder)) as engine, front_process(engine) as front:
        for number in range(ROUNDS + 1):
            engine.create(f"bare-{number}")
            engine.create(f"ours-{number}")
        bare = _numbered(lambda number: _write(front, f"bare-{number}", ready))
        ours = _numbered(lambda number: _collect(front, f"ours-{number}", sent))
        bare()
        ours()
        _check_equal(engine, count)
        ratio = alternate(bare, ours, rounds=ROUNDS)
    against = (
        f"against ready-made lines of {BatchLimits().rows} points a request, n={count} points, influxd 1.x, same front"
    )
    return [Figure("collector", ratio, GOAL, against)]


def _ready_made(sent: list[Message]) -> list[bytes]:
    """The same points as lines, cut into requests as the collector cuts them."""
    records, bodies, rows, first = [ingest(*message) for message in sent], [], 0, 0
    for index, record in enumerate(records):
        rows += record.rows
        if rows >= BatchLimits().rows or index + 1 == len(records):
            bodies.append(block(records[first : index + 1]))
            rows, first = 0, index + 1
    return bodies


def _numbered(action: Callable[[int], None]) -> Callable[[], None]:
    numbers = iter(range(ROUNDS + 1))
    return lambda: action(next(numbers))


def _write(front: Address, bucket: str, bodies: list[bytes]) -> None:
    connection = HTTPConnection("127.0.0.1", front.port, timeout=_TIME_LIMIT_S)
    target = f"/api/v2/write?org={front.org}&bucket={bucket}&precision=ns"
    for body in bodies:
        connection.request("POST", target, body, {"Authorization": f"Token {front.token}"})
        response = connection.getresponse()
        response.read()
        if response.status != 204:
            raise SystemExit(f"the store answers {response.status}")
    connection.close()


def _collect(front: Address, bucket: str, sent: list[Message]) -> None:
    """The collector's whole way, from the message off the network to the receipt handed to it."""
    told: list[bytes] = []

    def publish(_topic: str, payload: bytes) -> bool:
        told.append(payload)
        return True

    sink = InfluxSink(InfluxSettings(front.url, front.org, bucket, front.token))
    pump = Pump("bench", sink, publish, PumpLimits())
    for message in sent:
        pump.offer(message)
    pump.start()
    pump.stop(_TIME_LIMIT_S)
    sink.close()
    ranges = [span for payload in told for span in Receipt.model_validate_json(payload).ranges]
    if sum(last - first + 1 for first, last in ranges) != len(sent):
        raise SystemExit("the collector did not store everything in time")


def _check_equal(engine: Influxd, count: int) -> None:
    stored = 0
    for measurement in ("module", "inverter", "arduino"):
        statement = f'SELECT * FROM "{measurement}"'  # noqa: S608 (our own names)
        bare, ours = (engine.query(statement, f"{side}-0") for side in ("bare", "ours"))
        if bare != ours:
            raise SystemExit(f"{measurement}: the two sides stored different points")
        stored += len(bare)
    if stored != count:
        raise SystemExit(f"{stored} points are stored, {count} were written")
