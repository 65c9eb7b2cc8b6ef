"""The 1-minute series in a real engine: whatever comes late, twice, in any order, by whom, a minute is right in the end."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.influx_front import Fault
from collector.derived import Derived
from collector.ingest import Record
from collector.sinks.influx import InfluxSettings, InfluxSink
from collector.sinks.influx_points import InfluxPoints
from collector.sinks.ports import StoreUnavailable
from collector.states import MAX_BYTES
from shared.messages import Receipt
from shared.mqtt import BrokerSettings, Message, Mqtt
from tests.conformance.sinks.conftest import EXTERNAL, InfluxSubject, Messages
from tests.conftest import Broker, WaitUntil

pytestmark = pytest.mark.skipif(bool(EXTERNAL), reason="the front's own tokens are needed")
PASS_S = 0.05
Make = Callable[[], Derived]


@pytest.fixture
def derived(influx: InfluxSubject) -> Iterator[Make]:
    """Starts as many workers as a test wants; each as in a collector of its own."""
    running: list[Derived] = []

    def make() -> Derived:
        assert influx.front is not None
        running.append(Derived(InfluxPoints(influx.settings, influx.front.read_token), pass_s=PASS_S, whole_s=PASS_S))
        running[-1].start()
        return running[-1]

    yield make
    for one in running:
        one.stop(5.0)


def minutes_of(influx: InfluxSubject, measurement: str = "module") -> list[dict[str, Any]]:
    """The stored minutes, by the derived measurement."""
    return sorted(influx.rows(f"{measurement}_1m"), key=lambda row: (row["time"], row.get("module", "")))


def wanted(influx: InfluxSubject, measurement: str = "module") -> dict[tuple[Any, ...], tuple[float, float, float]]:
    """What the raw points say: (minute, module, signal) → min, mean, max."""
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in influx.rows(measurement):
        minute = row["time"] // 60_000_000_000 * 60_000_000_000
        for name, value in row.items():
            if name not in {"time", "site", "node", "module"} and value is not None:
                values.setdefault((minute, row.get("module", ""), name), []).append(value)
    return {key: (min(found), sum(found) / len(found), max(found)) for key, found in values.items()}


def have(influx: InfluxSubject, measurement: str = "module") -> dict[tuple[Any, ...], tuple[float, float, float]]:
    found = {}
    for row in minutes_of(influx, measurement):
        for name in {
            key.rsplit("_", 1)[0] for key, value in row.items() if key.endswith("_mean") and value is not None
        }:
            reduced = tuple(row[f"{name}_{reducer}"] for reducer in ("min", "mean", "max"))
            found[row["time"], row.get("module", ""), name] = reduced
    return found


def right(influx: InfluxSubject, measurement: str = "module") -> bool:
    want, got = wanted(influx, measurement), have(influx, measurement)
    return bool(want) and want.keys() == got.keys() and all(got[key] == pytest.approx(want[key]) for key in want)


def unfinished(influx: InfluxSubject) -> list[dict[str, Any]]:
    return [row for row in influx.rows("minute_mark") if row["stored"] != row["reduced"]]


def test_a_minute_has_minimum_mean_and_maximum_of_every_signal(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    influx.sink().write([influx_messages.telemetry(CMA_Voltage=[47.0, 48.0, 49.5], CMA_Temp3=[21.0, None, 23.0])])
    derived()
    rows = wait_until(lambda: minutes_of(influx), 10.0, "the minute")
    assert len(rows) == 1
    assert rows[0]["time"] % 60_000_000_000 == 0
    assert [rows[0][f"CMA_Voltage_{what}"] for what in ("min", "mean", "max")] == pytest.approx([47.0, 144.5 / 3, 49.5])
    assert [rows[0][f"CMA_Temp3_{what}"] for what in ("min", "mean", "max")] == [21.0, 22.0, 23.0]
    wait_until(lambda: not unfinished(influx), 10.0, "the mark that it is made")


def test_late_data_make_the_minute_anew(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    sink = influx.sink()
    late = influx_messages.telemetry(CMA_Voltage=[10.0])
    sink.write([influx_messages.telemetry(CMA_Voltage=[47.0]), influx_messages.telemetry("inverter", current=[1.0])])
    worker = derived()
    wait_until(lambda: right(influx) and right(influx, "inverter"), 10.0, "the minutes")
    sink.write([late])
    wait_until(lambda: right(influx), 10.0, "the minute with what came late")
    assert minutes_of(influx)[0]["CMA_Voltage_min"] == 10.0
    assert worker.health()["failures"] == 0


def test_a_message_that_comes_again_changes_nothing(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    sink, record = influx.sink(), influx_messages.telemetry(CMA_Voltage=[47.0, 48.0])
    sink.write([record])
    derived()
    wait_until(lambda: right(influx) and not unfinished(influx), 10.0, "the minute")
    before = minutes_of(influx)
    for _ in range(3):
        sink.write([record])
    wait_until(lambda: not unfinished(influx), 10.0, "the minute to be made again")
    assert minutes_of(influx) == before


def test_what_was_stored_before_a_crash_is_made_by_the_next_one(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    """The mark is in the store: no memory of the one that wrote is needed, however old the minute is."""
    influx.sink().write([influx_messages.telemetry(CMA_Voltage=[47.0])])
    assert len(unfinished(influx)) == 1
    derived()
    wait_until(lambda: right(influx) and not unfinished(influx), 10.0, "the minute")


def test_a_record_without_any_good_value_leaves_nothing_unfinished(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    influx.sink().write([influx_messages.telemetry(CMA_Voltage=[None, None])])
    assert len(unfinished(influx)) == 1
    derived()
    wait_until(lambda: not unfinished(influx), 10.0, "the mark to be settled")
    assert minutes_of(influx) == []


def test_scattered_times_in_one_message_mark_only_the_minutes_they_are_in(influx: InfluxSubject) -> None:
    messages = Messages(influx.name)
    record = messages.telemetry(CMA_Voltage=[1.0, 2.0])
    record.body["t"] = [0, 3 * 365 * 86_400 * 1_000_000]
    far = record._replace(t_max=record.t_min + record.body["t"][1])
    influx.sink().write([far])
    assert len(unfinished(influx)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_several_collectors_in_any_order_with_failures_leave_every_minute_right(
    influx: InfluxSubject, derived: Make, wait_until: WaitUntil, seed: int
) -> None:
    """Two write, two make minutes at the same time; the store drops answers and refuses, so batches come again."""
    assert influx.front is not None
    chance = random.Random(seed)
    records = _day(influx.name, chance)
    batches = [records[start : start + 7] for start in range(0, len(records), 7)]
    influx.front.faults.extend(
        chance.choice([Fault(), Fault(), Fault(reset=True), Fault(status=503)]) for _ in range(60)
    )
    derived()
    derived()
    with ThreadPoolExecutor(2) as collectors:
        for done in [collectors.submit(_deliver, influx.settings, batches[half::2]) for half in (0, 1)]:
            done.result()
    wait_until(lambda: not unfinished(influx), 30.0, "every minute to be made")
    assert right(influx)
    assert right(influx, "inverter")


def _day(node: str, chance: random.Random) -> list[Record]:
    """Some hundred messages over a quarter of an hour, shuffled, some of them twice."""
    messages = Messages(node)
    sources = ("module-01", "module-02", "inverter")
    records = [
        messages.telemetry(
            chance.choice(sources),
            CMA_Voltage=[round(chance.uniform(30, 50), 2), None, 40.0],
            CMA_Temp3=[20.0, 21.0, 22.0],
        )
        for _ in range(300)
    ]
    records += chance.sample(records, 60)
    chance.shuffle(records)
    return records


def _deliver(settings: InfluxSettings, batches: list[list[Record]]) -> None:
    """As a pump does: the same batch again until the store says it has it."""
    sink, pause = InfluxSink(settings), threading.Event()
    for batch in batches:
        while True:
            try:
                assert not sink.write(batch).refused
            except StoreUnavailable:
                pause.wait(0.01)
            else:
                break
    sink.close()


def test_a_collector_that_is_killed_again_and_again_leaves_every_minute_right(
    influx: InfluxSubject, broker: Broker, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The real process, SIGKILL between any two steps; what has no receipt is sent again, as link does."""
    messages = [(seq, _message(seq)) for seq in range(1, 91)]
    node = _Node(broker.port, influx.name)
    process = _start_collector(influx, broker.port, tmp_path)
    try:
        for upto in (30, 60, 90):
            wait_until(lambda: node.status() == "online", 15.0, "the collector to be online")
            node.send(messages[:upto])
            process.kill()
            process.wait(10.0)
            wait_until(lambda: node.status() == "offline", 10.0, "the last will")
            process = _start_collector(influx, broker.port, tmp_path)
        wait_until(lambda: node.status() == "online", 15.0, "the collector to be online")
        wait_until(lambda: node.send(messages) or node.released >= {seq for seq, _ in messages}, 20.0, "every receipt")
        wait_until(lambda: not unfinished(influx), 60.0, "every minute to be made")
        assert right(influx, "inverter")
        assert len(minutes_of(influx, "inverter")) == 4
    finally:
        process.kill()
        process.wait(10.0)
        node.mqtt.stop()


class _Node:
    """A node's link as far as a collector can tell."""

    def __init__(self, port: int, name: str) -> None:
        self.released: set[int] = set()
        self._root, self._status = f"cellguard/v1/lab/{name}", ""
        said = [(f"{self._root}/receipt", 1), ("cellguard/v1/lab/collector/pc-7/status", 1)]
        self.mqtt = Mqtt(BrokerSettings("127.0.0.1", port, "a-node"), subscriptions=said, on_message=self._hear)
        self.mqtt.start()

    def status(self) -> str:
        return self._status

    def send(self, messages: list[tuple[int, bytes]]) -> None:
        for seq, payload in messages:
            if seq not in self.released:
                self.mqtt.publish(f"{self._root}/tele/inverter", payload)

    def _hear(self, message: Message) -> None:
        if message.topic.endswith("/status"):
            self._status = orjson.loads(message.payload)["state"]
            return
        for first, last in Receipt.model_validate_json(message.payload).ranges:
            self.released |= set(range(first, last + 1))


def _message(seq: int) -> bytes:
    body = {
        "spool": "a1b2c3d4", "lane": "tele", "seq": seq, "t0": 1_795_345_560_000_000 + seq * 2_000_000, "t": [0, 500_000],
        "v": {"power": [float(seq), seq / 3]}, "bad": {},
    }  # fmt: skip
    return orjson.dumps(body)


def _start_collector(influx: InfluxSubject, port: int, folder: Path) -> subprocess.Popen[bytes]:
    assert influx.front is not None
    for name, token in (("token", influx.front.token), ("read-token", influx.front.read_token)):
        (folder / name).write_text(token)
    (folder / "collector.toml").write_text(
        f'[collector]\nname = "pc-7"\nbatch_wait_s = 0.05\n[mqtt]\nport = {port}\n[store]\nkind = "influx"\n'
        f'[influx]\nurl = "{influx.settings.url}"\norg = "{influx.settings.org}"\nbucket = "{influx.settings.bucket}"\n'
        'token_file = "token"\nread_token_file = "read-token"\n'
    )
    command = [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(folder / "collector.toml")]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def test_without_the_right_to_read_states_are_stored_and_health_says_why_there_are_no_minutes(
    influx: InfluxSubject, wait_until: WaitUntil
) -> None:
    worker = Derived(InfluxPoints(influx.settings, None), pass_s=PASS_S)
    worker.start()
    worker.offer(f"cellguard/v1/lab/{influx.name}/state/safety", b'{"state":"RUN","level":"OK","ts":1795345556123456}')
    wait_until(lambda: influx.rows("safety"), 5.0, "the state")
    worker.stop(5.0)
    assert "read_token_file" in str(worker.health()["why"])
    assert influx.rows("safety")[0]["state"] == "RUN"


def test_a_token_that_may_not_read_costs_the_minutes_alone(influx: InfluxSubject, wait_until: WaitUntil) -> None:
    worker = Derived(InfluxPoints(influx.settings, "another"), pass_s=PASS_S)
    worker.start()
    worker.offer(f"cellguard/v1/lab/{influx.name}/state/safety", b'{"state":"RUN","level":"OK","ts":1795345556123456}')
    wait_until(lambda: influx.rows("safety") and worker.health()["failures"], 5.0, "the state, and the failure counted")
    worker.stop(5.0)
    why = worker.health()["why"]
    assert isinstance(why, dict)
    assert "401" in why["minutes"]
    assert why["points"] == ""


def test_a_store_that_is_away_is_counted_and_said_and_nothing_is_lost(
    influx: InfluxSubject, influx_messages: Messages, derived: Make, wait_until: WaitUntil
) -> None:
    influx.sink().write([influx_messages.telemetry(CMA_Voltage=[47.0])])
    influx.take_away()
    worker = derived()
    worker.offer(f"cellguard/v1/lab/{influx.name}/state/safety", b'{"state":"RUN","level":"OK","ts":1795345556123456}')
    wait_until(lambda: "InfluxDB at" in str(worker.health()["why"]), 5.0, "the trouble to be said")
    assert worker.health()["failures"]
    influx.bring_back()
    wait_until(lambda: right(influx) and influx.rows("safety"), 10.0, "the minute and the state")
    assert worker.health()["why"] == {"points": "", "minutes": ""}
    assert worker.health()["dropped"] == 0


def test_what_is_no_state_is_counted_and_does_not_hold_up_the_next(
    influx: InfluxSubject, derived: Make, wait_until: WaitUntil
) -> None:
    worker = derived()
    root = f"cellguard/v1/lab/{influx.name}/state"
    for payload in (b"{", b"[]", b'{"ts":-1,"state":"RUN"}', b'{"ts":1}', b'{"ts":1,"state":7}'):
        worker.offer(f"{root}/safety", payload)
    worker.offer(f"{root}/nothing", b'{"ts":1,"state":"RUN"}')
    worker.offer(f"{root}/safety", b'{"ts":1,"state":"' + b"x" * MAX_BYTES + b'"}')
    worker.offer(f"{root}/schedule", b'{"ts":1795345556123456,"state":"running","step":1,"setpoint":-35.0,"unit":"A"}')
    wait_until(lambda: influx.rows("schedule"), 5.0, "the good one")
    assert worker.health()["unreadable"] == 7
    row = influx.rows("schedule")[0]
    assert (row["time"], row["state"], row["setpoint"]) == (1795345556123456000, "running", -35.0)
