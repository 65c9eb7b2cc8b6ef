"""A running demo, judged from outside: its first line, its broker, its simulator's truth, its processes."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.mqtt import BrokerSettings, Message, Mqtt

READY_S, STOP_S = 30.0, 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningDemo:
    """`cellguard demo --json` in a process of its own, and everything it publishes."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.port = _free_port()
        self.heard: dict[str, list[Message]] = {}
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors = (data / "demo.stderr").open("w")
        base = [
            sys.executable,
            "-P",
            "-m",
            "cellguard",
            "demo",
            "--json",
            "--data",
            str(data),
            "--mqtt-port",
            str(self.port),
        ]
        self.process = subprocess.Popen([*base, *arguments], stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready = json.loads(self._lines.get(timeout=READY_S))
        self.root = f"cellguard/v1/{self.ready['site']}/{self.ready['node']}"
        self._mqtt = Mqtt(
            BrokerSettings("127.0.0.1", self.port, "judge"),
            subscriptions=[("cellguard/#", 1)],
            on_message=lambda message: self.heard.setdefault(message.topic, []).append(message),
        )
        self._mqtt.start()

    def latest(self, topic: str) -> dict[str, Any]:
        """The newest body of a topic below the node, {} before it came."""
        messages = self.heard.get(f"{self.root}/{topic}")
        body: dict[str, Any] = json.loads(messages[-1].payload) if messages else {}
        return body

    def raised(self) -> dict[str, set[str]]:
        """Every alarm that was active or latched at any time, and the levels it had."""
        found: dict[str, set[str]] = {}
        for topic, messages in list(self.heard.items()):
            for body in map(json.loads, (message.payload for message in messages if "/alarm/" in topic)):
                if body["state"] != "cleared":
                    found.setdefault(body["alarm"], set()).add(body["level"])
        return found

    def missing(self, topics: tuple[str, ...]) -> list[str]:
        """Those topics below the node on which nothing was heard yet."""
        return [topic for topic in topics if f"{self.root}/{topic}" not in self.heard]

    def publish(self, topic: str, body: dict[str, Any]) -> bool:
        """As any MQTT client would."""
        return self._mqtt.publish(f"{self.root}/{topic}", json.dumps(body).encode())

    def simulator(self, **request: Any) -> Any:
        """One request to the simulator's control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5.0)
            control.connect(self.ready["simulator"])
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                return json.loads(answers.readline())

    def value(self, name: str) -> float:
        """A true value of the simulated rig."""
        got: float = self.simulator(get=[name])["get"][name]
        return got

    def flows(self) -> bool:
        """The circuit is closed and at least 20 A flow."""
        return bool(self.value("circuit.closed")) and abs(self.value("circuit.current_a")) >= 20

    def pids(self) -> dict[str, int]:
        """Which process is which at this moment."""
        found: dict[str, int] = json.loads((self.data / "pids.json").read_text())
        return found

    def stderr(self) -> str:
        """What the demo said on standard error so far."""
        return (self.data / "demo.stderr").read_text()

    def books(self) -> dict[str, int]:
        """Wait for the end and return the last line."""
        self.process.wait(STOP_S)
        self._reader.join(5.0)
        last: dict[str, int] = json.loads(list(self._lines.queue)[-1])
        return last

    def close(self) -> None:
        """End whatever is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._mqtt.stop(0.5)
        self._reader.join(5.0)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., RunningDemo]]:
    """Start demos that are surely ended after the test."""
    started: list[RunningDemo] = []

    def start(*arguments: str) -> RunningDemo:
        data = tmp_path / f"demo-{len(started)}"
        data.mkdir()
        started.append(RunningDemo(data, *arguments))
        return started[-1]

    yield start
    for demo in started:
        demo.close()


@pytest.fixture
def left_running() -> Callable[[Path], list[str]]:
    """Command lines of processes that still name a folder."""

    def look(folder: Path) -> list[str]:
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if str(folder) in words and process.info["pid"] != os.getpid():
                found.append(words)
        return found

    return look
