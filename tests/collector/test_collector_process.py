"""The collector as it runs: a process of its own between a real broker and a real archive, judged from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from collector.sinks.archive_reader import count_rows
from shared.messages import Receipt
from shared.mqtt import BrokerSettings, Message, Mqtt
from tests.conftest import Broker, Disk, WaitUntil

STATUS = "cellguard/v1/lab/collector/pc-7/status"
HEALTH = "cellguard/v1/lab/collector/pc-7/health"
RECEIPT = "cellguard/v1/lab/rig-1/receipt"


class Node:
    """A node's link as far as the collector can tell: publishes, and listens to what the collector says."""

    def __init__(self, port: int) -> None:
        self.heard: list[Message] = []
        self.mqtt = Mqtt(
            BrokerSettings("127.0.0.1", port, "a-node"),
            subscriptions=[(RECEIPT, 1), (STATUS, 1), (HEALTH, 1)],
            on_message=self.heard.append,
        )
        self.mqtt.start()

    def send(self, seq: int, **change: object) -> bool:
        body = {
            "spool": "a1b2c3d4",
            "lane": "tele",
            "seq": seq,
            "t0": seq * 1_000_000,
            "t": [0, 5],
            "v": {"power": [1, 2]},
        }
        return self.mqtt.publish("cellguard/v1/lab/rig-1/tele/inverter", orjson.dumps({**body, **change}))

    def released(self) -> set[int]:
        receipts = [Receipt.model_validate_json(one.payload) for one in self.heard if one.topic == RECEIPT]
        return {seq for one in receipts for first, last in one.ranges for seq in range(first, last + 1)}

    def last(self, topic: str) -> dict[str, object]:
        found = [json.loads(one.payload) for one in list(self.heard) if one.topic == topic]
        return found[-1] if found else {}


class Process:
    """`cellguard collector run`, started and ended by the test."""

    def __init__(self, folder: Path, port: int, archive: str = "archive") -> None:
        self.folder = folder
        self.config = folder / "collector.toml"
        self.config.write_text(
            f'[collector]\nname = "pc-7"\nhealth_s = 0.5\nbatch_wait_s = 0.05\n[mqtt]\nport = {port}\n'
            f'[store]\nkind = "archive"\n[archive]\npath = "{archive}"\n'
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(self.config)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def end(self, number: signal.Signals) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=15.0)
        code, self.process = self.process.returncode, None
        return code, said


@pytest.fixture
def node(broker: Broker) -> Iterator[Node]:
    running = Node(broker.port)
    yield running
    running.mqtt.stop()


@pytest.fixture
def process(tmp_path: Path, broker: Broker) -> Iterator[Process]:
    running = Process(tmp_path, broker.port)
    running.start()
    yield running
    if running.process is not None:
        running.end(signal.SIGKILL)


def test_messages_are_stored_and_receipted_and_the_end_is_clean(
    process: Process, node: Node, wait_until: WaitUntil
) -> None:
    wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the collector to be online")
    for seq in range(1, 51):
        wait_until(lambda seq=seq: node.send(seq), 5.0, "room to send")
    wait_until(lambda: node.released() == set(range(1, 51)), 5.0, "all receipts")
    wait_until(lambda: node.last(HEALTH).get("stored", {}).get("rows") == 100, 5.0, "the health to count them")
    assert node.last(HEALTH)["store"]["tele_rows"] == 100
    code, said = process.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in said
    wait_until(lambda: node.last(STATUS).get("state") == "offline", 5.0, "the collector to say goodbye")
    assert count_rows(process.folder / "archive") == {"tele_rows": 100, "events": 0}


def test_killed_between_store_and_receipt_it_loses_and_doubles_nothing(
    process: Process, node: Node, wait_until: WaitUntil
) -> None:
    wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the collector to be online")
    unanswered = set(range(1, 201))
    for _ in range(3):
        for seq in sorted(unanswered):
            wait_until(lambda seq=seq: node.send(seq), 5.0, "room to send")
        process.end(signal.SIGKILL)
        wait_until(lambda: node.last(STATUS).get("state") == "offline", 10.0, "the last will")
        unanswered -= node.released()
        process.start()
        wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the collector to be back")
    for seq in sorted(unanswered):
        wait_until(lambda seq=seq: node.send(seq), 5.0, "room to send")
    wait_until(lambda: node.released() == set(range(1, 201)), 10.0, "all receipts")
    process.end(signal.SIGTERM)
    assert count_rows(process.folder / "archive")["tele_rows"] == 400


def test_a_broker_that_comes_back_empty_is_told_the_state_again(
    process: Process, node: Node, broker: Broker, wait_until: WaitUntil
) -> None:
    wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the collector to be online")
    before = process.process
    broker.kill()
    node.heard.clear()
    broker.start()
    wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the status on the new broker")
    wait_until(lambda: node.send(1), 10.0, "the node to be connected")
    resent = wait_until(
        lambda: node.released() == {1} or (node.send(1) and node.released() == {1}), 10.0, "its receipt"
    )
    assert resent
    assert before is process.process


def test_a_full_disk_is_said_and_costs_nothing_once_it_has_room_again(
    small_disk: Disk, tmp_path: Path, broker: Broker, node: Node, wait_until: WaitUntil
) -> None:
    process = Process(tmp_path, broker.port, archive=str(small_disk.folder / "archive"))
    process.start()
    wait_until(lambda: node.last(STATUS).get("state") == "online", 10.0, "the collector to be online")
    node.send(1)
    wait_until(lambda: node.released() == {1}, 5.0, "the first receipt")
    small_disk.fill()
    wide = {"v": {f"signal_{index}": [seq / 7 for seq in range(2)] for index in range(300)}}
    seqs = range(2, 300)
    for seq in seqs:
        wait_until(lambda seq=seq: node.send(seq, **wide), 5.0, "room to send")
    wait_until(lambda: "full" in str(node.last(STATUS).get("why")), 10.0, "the full disk being said")
    assert node.last(STATUS)["state"] == "degraded"
    small_disk.empty()
    wait_until(lambda: node.last(STATUS).get("state") == "online", 40.0, "storing again")
    wait_until(lambda: node.released() == {1, *seqs}, 10.0, "all receipts")
    assert process.end(signal.SIGTERM)[0] == 0
    assert count_rows(small_disk.folder / "archive") == {"tele_rows": 2 * 299, "events": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[store]\nkind = "influx"\n', 'a table [influx], as [store] kind = "influx" asks for it'),
        ('[store]\nkind = "postgres"\n', "[store] kind: given \"postgres\"; allowed: 'influx' or 'archive'"),
        ('[archive]\npath = "a"\n[mqtt]\nprot = 1883\n', "did you mean port?"),
        ('[archive]\npath = "a"\n[mqtt]\npassword_file = "secret"\n', "[mqtt] password_file"),
        ('[archive]\npath = "a"\n[mqtt.tls]\nca = "ca.pem"\ncert = "c.pem"\n', "cert and key together"),
        ("[archive\n", "line 1"),
    ],
)
def test_wrong_settings_end_with_78_and_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "collector.toml"
    config.write_text(text)
    command = [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert ended.returncode == 78, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_prints_the_settings_in_force_and_warns_of_absent_files(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text(
        '[store]\nkind = "influx"\n[influx]\nurl = "http://127.0.0.1:8086"\norg = "lab"\nbucket = "rig"\ntoken_file = "token"\n'
    )
    command = [sys.executable, "-m", "cellguard", "collector", "check", "--config", str(config)]
    environ = {**os.environ, "CELLGUARD_COLLECTOR__NAME": "pc-9"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False, env=environ)
    assert ended.returncode == 0, ended.stderr
    assert 'name = "pc-9"' in ended.stdout
    assert "[influx] token_file" in ended.stderr
