"""Fixtures that several rooms share: a real broker, and waiting for a condition instead of sleeping."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

# one example that takes long says that others are at work, no more
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

T = TypeVar("T")
WaitUntil = Callable[..., object]
_TURN_S = 0.02


def wait_for(condition: Callable[[], T], seconds: float, what: str | Callable[[], str]) -> T:
    """The first true value of `condition`; fails the test, naming `what` as it then is, when none came in time."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what() if callable(what) else what}", pytrace=False)
        pause.wait(_TURN_S)
    return value


def free_port() -> int:
    """A TCP port of the loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """A real mosquitto on a free loopback port; `stop` ends it orderly, `kill` at once, `start` brings it back on the port."""

    host = "127.0.0.1"

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\npersistence false\nmax_packet_size 262144\n"
        )
        self._program = program
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._settings)], stdout=log, stderr=log)
        wait_for(self._listens, 5.0, "mosquitto to listen")

    def stop(self) -> None:
        """SIGTERM: it says goodbye to its clients."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        """SIGKILL: it forgets everything it had not delivered."""
        self._end(lambda process: process.kill())

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(5.0)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker that is ended after the test."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    running = Broker(program, tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.kill()


class Disk:
    """A file system of its own, so small that it can be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Others write until nothing is left, or `leave` bytes."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while (left := self.free - leave) > 0:
                file.write(bytes(min(left, 65536)))

    def empty(self) -> None:
        """Others remove what they wrote."""
        self._filler.unlink()

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        return shutil.disk_usage(self.folder).free


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """64 MB of tmpfs: what is full there is really full (ENOSPC), with no stand-in between."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs root: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def wait_until() -> WaitUntil:
    """`wait_until(condition, seconds, what)`: the first true value of the condition, or a failed test that says what."""
    return wait_for
