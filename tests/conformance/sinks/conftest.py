"""The stores under test: each a real one, written through its sink and read back past it."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest

from bench.influx_front import Front
from bench.influxd import PROGRAM, Influxd, influxql
from collector.ingest import Record, ingest
from collector.sinks.archive import ArchiveSink
from collector.sinks.archive_reader import ArchiveReader, Selection
from collector.sinks.influx import InfluxSettings, InfluxSink
from collector.sinks.ports import Sink

Cell = tuple[int, str, str, float]
EXTERNAL = os.environ.get("CELLGUARD_INFLUX_URL", "").rstrip("/")


class Subject(Protocol):
    """One store. `name` selects this test's own data in it, as the node of its records."""

    name: str

    def sink(self) -> Sink:
        """A sink of its own, as after a restart of the collector."""

    def cells(self) -> set[Cell]:
        """Everything stored of the telemetry: (time µs, source, signal, value)."""

    def event_times_ns(self) -> list[int]:
        """The times of the stored events."""

    def take_away(self) -> None:
        """Make the store unreachable."""

    def bring_back(self) -> None:
        """Make it reachable again, with what it had."""


class ArchiveSubject:
    def __init__(self, folder: Path) -> None:
        self.name = "rig"
        self._folder = folder / "archive"
        self._hidden = folder / "hidden"

    def sink(self) -> Sink:
        return ArchiveSink(self._folder)

    def cells(self) -> set[Cell]:
        found = set()
        for stored in ArchiveReader(self._folder).messages(Selection()):
            body = orjson.loads(stored.payload)
            for name, column in body.get("v", {}).items():
                pairs = zip(body["t"], column, strict=True)
                found |= {(body["t0"] + t, stored.source, name, value) for t, value in pairs if value is not None}
        return found

    def event_times_ns(self) -> list[int]:
        messages = ArchiveReader(self._folder).messages(Selection())
        return sorted(one.t_min * 1000 + one.seq % 1000 for one in messages if one.lane == "event")

    def take_away(self) -> None:
        self._folder.rename(self._hidden)
        self._folder.write_text("in the way")

    def bring_back(self) -> None:
        self._folder.unlink()
        self._hidden.rename(self._folder)


class InfluxSubject:
    """InfluxDB behind our own v2 front, or any InfluxDB 2 that the environment names."""

    def __init__(self, url: str, *, org: str, bucket: str, token: str, front: Front | None) -> None:
        self.name = f"rig-{secrets.token_hex(4)}"
        self.settings = InfluxSettings(url, org, bucket, token, timeout_s=2.0)
        self.front = front

    def sink(self) -> Sink:
        return InfluxSink(self.settings)

    def rows(self, measurement: str) -> list[dict[str, Any]]:
        statement = f"SELECT * FROM \"{measurement}\" WHERE node = '{self.name}'"  # noqa: S608 (our own names)
        engine = self.front.engine if self.front else None
        url = f"http://127.0.0.1:{engine.port}" if engine else self.settings.url
        return influxql(url, statement, self.settings.bucket, self.settings.token)

    def cells(self) -> set[Cell]:
        found: set[Cell] = set()
        for measurement in ("module", "inverter", "arduino"):
            for row in self.rows(measurement):
                source = f"module-{row['module']}" if measurement == "module" else measurement
                signals = {key: value for key, value in row.items() if key not in {"time", "site", "node", "module"}}
                found |= {
                    (row["time"] // 1000, source, key, value) for key, value in signals.items() if value is not None
                }
        return found

    def event_times_ns(self) -> list[int]:
        return sorted(row["time"] for row in self.rows("event"))

    def take_away(self) -> None:
        if self.front is None:
            pytest.skip("an InfluxDB that is not ours is not stopped")
        self.front.close()

    def bring_back(self) -> None:
        assert self.front is not None
        self.front.open()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    if PROGRAM is None:
        pytest.skip("influxd is not installed (apt install influxdb)")
    with Influxd(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture
def front(engine: Influxd) -> Iterator[Front]:
    with Front(engine) as running:
        yield running


@pytest.fixture
def influx(request: pytest.FixtureRequest) -> InfluxSubject:
    if EXTERNAL:
        keys = {key: os.environ[f"CELLGUARD_INFLUX_{key.upper()}"] for key in ("org", "bucket", "token")}
        return InfluxSubject(EXTERNAL, front=None, **keys)
    front: Front = request.getfixturevalue("front")
    bucket = f"bucket-{secrets.token_hex(4)}"
    front.engine.create(bucket)
    return InfluxSubject(front.url, org=front.org, bucket=bucket, token=front.token, front=front)


@pytest.fixture(params=["archive", "influx"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    if request.param == "archive":
        return ArchiveSubject(tmp_path)
    found: InfluxSubject = request.getfixturevalue("influx")
    return found


class Messages:
    """Makes the records of one node: each call the next number of one spool."""

    T0 = 1_795_345_556_123_456

    def __init__(self, node: str) -> None:
        self.node = node
        self._seq = itertools.count(1)

    def telemetry(self, source: str = "module-01", *, spool: str = "a1b2c3d4", **columns: list[float | None]) -> Record:
        seq = next(self._seq)
        given = columns or {"CMA_Voltage": [47.33, 47.34], "CMA_Temp3": [21.0, None]}
        size = len(next(iter(given.values())))
        body = {
            "spool": spool, "lane": "tele", "seq": seq, "boot": "0f0f0f0f", "clock": "synced",
            "t0": self.T0 + seq * 1_000_000, "t": [index * 200_000 for index in range(size)], "v": given, "bad": {},
        }  # fmt: skip
        return ingest(f"cellguard/v1/lab/{self.node}/tele/{source}", orjson.dumps(body))

    def event(self, kind: str = "state", **details: object) -> Record:
        seq = next(self._seq)
        body = {"spool": "a1b2c3d4", "lane": "event", "seq": seq, "ts": self.T0 + seq, "kind": kind, **details}
        return ingest(f"cellguard/v1/lab/{self.node}/event/{kind}", orjson.dumps(body))


@pytest.fixture
def messages(subject: Subject) -> Messages:
    return Messages(subject.name)


@pytest.fixture
def influx_messages(influx: InfluxSubject) -> Messages:
    return Messages(influx.name)


@pytest.fixture
def archive_messages() -> Messages:
    return Messages("rig")
