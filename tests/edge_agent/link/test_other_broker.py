"""link and collector on a broker that is not Mosquitto: amqtt, also when it is killed and comes back empty."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cellguard import toml
from cellguard.demo.plan import Options, collector_settings, make_folders
from collector.sinks.archive_reader import count_rows
from tests.conftest import free_port, wait_for

RETAINED = {"status", "info", "catalog", "state/safety", "state/health", "state/module-01", "alarm/module-01.stale"}


class Amqtt:
    """The broker that `cellguard demo` falls back to, as a process."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "cellguard.demo.embedded_broker", str(self.port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self._listens, 15, "amqtt listening")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(5)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


@pytest.fixture
def broker() -> Iterator[Amqtt]:
    one = Amqtt()
    one.start()
    yield one
    one.kill()


@pytest.fixture
def archive(broker: Amqtt, tmp_path: Path) -> Iterator[Path]:
    """Where a real collector on that broker stores."""
    folders = make_folders(tmp_path / "pc")
    folders.collector_toml.write_text(toml.dumps(collector_settings(Options(port=broker.port), folders)))
    command = [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(folders.collector_toml)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield folders.archive
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def settled(collector: Any, produced: int) -> bool:
    books = collector.last("state/health").get("books", {})
    return bool(books) and books["spooled"] == 0 and books["produced"] >= produced


def test_records_receipts_state_and_commands_pass_and_a_broker_that_comes_back_empty_costs_nothing(
    wait_until: Callable[..., object], guard: Any, collector: Any, new_link: Any, broker: Amqtt, archive: Path
) -> None:
    collector.receipting = False  # it only listens: the receipts are the real collector's
    link = new_link()
    guard.state("alarm/module-01.stale", state="active", since_mono_us=1)
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard")
    for number in range(100):
        guard.row(0, (float(number), 2.0, 3.0))
    wait_until(lambda: settled(collector, 101), 20, "the receipts")
    assert set(collector.seen) >= RETAINED | {"hb"}
    collector.send("pump", {"on": True, "id": "p-1"})
    wait_until(lambda: [ack["status"] for ack in collector.acks("p-1")] == ["accepted", "done"], 5, "the answers")
    collector.send("contactor", {"action": "close", "id": "k-1"}, retain=True)
    wait_until(lambda: [ack["status"] for ack in collector.acks("k-1")] == ["rejected"], 5, "the refusal")
    collector.mqtt.retain("cellguard/v1/lab/rig-1/cmd/contactor", b"")

    broker.kill()
    for number in range(100, 200):
        guard.row(0, (float(number), 2.0, 3.0))
    guard.event("alarm", alarm="module-01.stale", level="DANGER", state="active")
    collector.seen.clear()
    broker.start()
    began = time.monotonic()
    wait_until(lambda: set(collector.seen) >= RETAINED, 10, "the retained topics")
    wait_until(lambda: settled(collector, 203), 15, "the backlog")
    assert time.monotonic() - began < 15
    assert [command["target"] for command in guard.commands] == ["pump"]
    assert link.end() == 0
    books = link.books()
    assert books["gaps"] == books["quarantined"] == books["spooled"] == 0
    stored = count_rows(archive)
    assert stored["tele_rows"] == 200
    assert books["produced"] == stored["tele_rows"] + stored["events"]


def test_the_will_says_that_a_killed_link_is_offline(
    wait_until: Callable[..., object], collector: Any, new_link: Any
) -> None:
    link = new_link()
    wait_until(lambda: collector.last("status").get("state") in {"online", "degraded"}, 25, "link being there")
    link.kill()
    wait_until(lambda: collector.last("status").get("state") == "offline", 8, "the will")
    assert json.loads(collector.seen["status"][-1].payload)["why"] == ["the connection was lost"]
