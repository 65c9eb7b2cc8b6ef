"""Brokers with settings of their own, which can also be stopped dead."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `condition` holds; fail naming `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        signal.sigtimedwait([], 0.01)


class Broker:
    """mosquitto with a configuration of its own; `start` after `kill` comes back empty on the same port."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true\n") -> None:
        self.host = "127.0.0.1"
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port: int = probe.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} {self.host}\npersistence false\nuser {getpass.getuser()}\n{lines}"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdout=-3, stderr=-3)
        wait_for(self._listens, 5, "mosquitto listening")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), 1).close()
        except OSError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)
            self.process = None

    stop = kill


@pytest.fixture
def new_broker(tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    """Makes brokers with extra configuration lines; all of them end with the test."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    made: list[Broker] = []

    def make(lines: str) -> Broker:
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        made.append(Broker(folder, lines))
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def broker(new_broker: Callable[[str], Broker]) -> Broker:
    """An anonymous broker that is up."""
    return new_broker("allow_anonymous true\n")
