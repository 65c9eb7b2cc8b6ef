"""A stand-in node that speaks MQTT as CONTRACT §4 says, and the command line run in a process of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pytest

from cellguard.main import main
from shared.mqtt import BrokerSettings, Message, Mqtt

SESSION = "9f3c21aa"
Judge = Callable[[dict[str, Any]], list[dict[str, Any]]]


class Done(NamedTuple):
    """How a command ended, as a shell would see it."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cellguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command line in this process, entry and exit code included."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["cellguard", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        out, err = capsys.readouterr()
        return Done(int(ending.value.code or 0), out, err)

    return run


class StandIn:
    """A node `lab/rig-1`: retained words, a heartbeat ten times as fast as a real one, answers given by `judge`."""

    root = "cellguard/v1/lab/rig-1"

    def __init__(self, host: str, port: int) -> None:
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.judge: Judge = lambda _command: [
            {"status": "accepted"},
            {"status": "done", "took_ms": 41, "readback": {"on": True}},
        ]
        self.counter = 0
        self._beats = True
        self._stop = threading.Event()
        settings = BrokerSettings(host, port, "stand-in")
        self._mqtt = Mqtt(settings, subscriptions=[(f"{self.root}/cmd/+", 1)], on_message=self._obey)
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        self._mqtt.start()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._mqtt.stop(1.0)

    def fall_silent(self) -> None:
        """No heartbeat any more."""
        self._beats = False

    def keep(self, topic: str, body: object) -> None:
        self._mqtt.retain(f"{self.root}/{topic}", orjson.dumps(body))

    def say(self, topic: str, body: object) -> bool:
        return self._mqtt.publish(f"{self.root}/{topic}", orjson.dumps(body))

    @property
    def connected(self) -> bool:
        return self._mqtt.connected

    def _beat(self) -> None:
        while not self._stop.wait(0.1):
            self.counter += 1
            if self._beats:
                self._mqtt.publish(f"{self.root}/hb", f"{SESSION}:{self.counter}".encode(), qos=0)
                self.say("state/inverter", {"ts": time.time_ns() // 1000, "current": 12.5})

    def _obey(self, message: Message) -> None:
        command = orjson.loads(message.payload)
        target = message.topic.rpartition("/")[2]
        self.commands.append((target, command))
        for answer in self.judge(command):
            self.say("ack", {"id": command["id"], "target": target, "ts": 1, **answer})


@pytest.fixture
def node(broker: Any, wait_until: Any) -> Iterator[StandIn]:
    """A stand-in node that is online."""
    stand_in = StandIn(broker.host, broker.port)
    stand_in.start()
    wait_until(lambda: stand_in.connected, 5.0, "the stand-in to connect")
    stand_in.keep(
        "status", {"state": "online", "session": SESSION, "ts": time.time_ns() // 1000, "clock": "synced", "why": []}
    )
    yield stand_in
    stand_in.stop()


@pytest.fixture
def mqtt(broker: Any) -> list[str]:
    """The options that lead a command to the test's broker."""
    return ["--mqtt", f"{broker.host}:{broker.port}"]
