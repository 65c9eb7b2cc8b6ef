"""What `latency` measures on: a demo at a full bus, and the load that is put on it."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from edge_agent.guard.local import SOCKET_NAME as LOCAL_SOCKET
from edge_agent.local_client import ask
from shared.mqtt import BrokerSettings, Message, Mqtt

MODULES, SYNC_S = 15, 0.03
COMMANDS_PER_S, BURST = 5_000, 50
END_S = 20.0
HARDWARE_PRIORITY = 30
ELSEWHERE_NICE = 10
"""Flood, broker and collector run on other computers in a laboratory: here they must not take the guard's kernel threads their time,
which hand over the bytes of a serial port."""
SMALL_BYTES = 48_000_000
OLD_S = 5.0
OVERLAY = """
[limits.cell_voltage]
n = 1
t_on_s = 0.0
[limits.module_voltage]
n = 1
t_on_s = 0.0
[safety]
limit_rise_a_per_s = 50.0
ramp_a_per_s = 500.0
"""


class Demo:
    """A running `cellguard demo`, its simulator, its guard's local door, and what its link says. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        (folder / "overlay.toml").write_text(OVERLAY, encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.small_disk = folder / "state" if _mounted(folder / "state") else None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cellguard", "demo", "--json", "--data", str(folder), "--can", "unix",
             "--modules", str(MODULES), "--sync-period", str(SYNC_S), "--mqtt-port", str(self.port),
             "--config", str(folder / "overlay.toml")],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._ready: dict[str, Any] = json.loads(self._process.stdout.readline() or "null") or {}
        if not self._ready:
            self._end()
            raise SystemExit("latency: the demo did not become ready")
        # it stands for the hardware, which is not slower when the computer is busy
        with suppress(PermissionError):
            os.sched_setscheduler(self._ready["pids"]["simulator"], os.SCHED_FIFO, os.sched_param(HARDWARE_PRIORITY))
        for name in ("broker", "collector"):
            os.setpriority(os.PRIO_PROCESS, self._ready["pids"][name], ELSEWHERE_NICE)
        self.root = f"cellguard/v1/{self._ready['site']}/{self._ready['node']}"
        runtime = Path(tomllib.loads((folder / "edge.toml").read_text(encoding="utf-8"))["node"]["runtime_dir"])
        self._local = runtime / LOCAL_SOCKET
        self._door = socket.socket(socket.AF_UNIX)
        self._door.connect(str(self._local))
        self._said: dict[str, Any] = {}
        self._listener = Mqtt(
            BrokerSettings("127.0.0.1", self.port, "bench-listener"),
            subscriptions=[(f"{self.root}/state/health", 0)], on_message=self._hear,
        )  # fmt: skip
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(self._ready["simulator"])
        self._answers = self._control.makefile("rb")

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop(0.5)
        self._answers.close()
        self._control.close()
        self._door.close()
        self._end()

    def simulator(self, **request: object) -> dict[str, Any]:
        """One request to the simulator."""
        self._control.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer

    def value(self, name: str) -> float:
        """What the simulator shows."""
        value: float = self.simulator(get=[name])["get"][name]
        return value

    def frames_per_s(self) -> float:
        """Frames on the bus in the last two seconds."""
        return len(self.simulator(trace="can", since=time.monotonic() - 2.0)["trace"]) / 2.0

    def order(self, command: Mapping[str, object]) -> None:
        """Give a command at the guard's local door, the way past the flood; its answers are not waited for."""
        self._door.sendall(json.dumps(command).encode() + b"\n")
        while select.select([self._door], [], [], 0.0)[0] and self._door.recv(1 << 16):
            pass

    def health(self) -> dict[str, Any]:
        """What the guard says of itself."""
        answer: dict[str, Any] = ask(self._local, {"target": "status"}, 5.0)
        health: dict[str, Any] = answer["health"]
        return health

    def drops(self) -> dict[str, int]:
        """What link has counted, as it published it last; raises SystemExit when that is old."""
        if time.time() - self._said.get("ts", 0) / 1e6 > OLD_S:
            raise SystemExit(f"latency: link has not published state/health for {OLD_S:g} s")
        drops: dict[str, int] = self._said["drops"]
        return drops

    def _hear(self, message: Message) -> None:
        self._said = json.loads(message.payload)

    def _end(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        if self.small_disk is not None:
            subprocess.run(["umount", str(self.small_disk)], check=False)


def _mounted(folder: Path) -> bool:
    """A disk of its own for what link and guard keep, small enough to fill it; only root may have one."""
    folder.mkdir()
    tool = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder)]
    return tool is not None and subprocess.run([tool, *options], check=False, capture_output=True).returncode == 0


class Flood:
    """Commands over MQTT at a steady rate, link's disk full, and another one that is written and synchronised all the time."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._stop = threading.Event()
        self.sent = self._written_bytes = 0
        topic, body = f"{demo.root}/cmd/pump", b'{"on":true}'
        self._publish = _packet(0x30, _text(topic) + body)
        works = [self._commands, self._busy] + ([self._full] if demo.small_disk else [])
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)

    def disk(self, seconds: float) -> str:
        """What was done to the disks."""
        busy = f"{self._written_bytes / 1e6 / seconds:.0f} MB/s to another disk"
        if self._demo.small_disk is None:
            return f"link's disk not full (that needs root), {busy}"
        return f"link's disk full ({self._demo.drops().get('spool_errors', 0)} failed tries to write the spool), {busy}"

    def _commands(self) -> None:
        _step_back()
        with _client(self._demo.port, b"bench-flood") as client:
            due = time.monotonic()
            while not self._stop.is_set():
                client.sendall(self._publish * BURST)
                self.sent += BURST
                due += BURST / COMMANDS_PER_S
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _full(self) -> None:
        _step_back()
        assert self._demo.small_disk is not None
        with (self._demo.small_disk / "filler").open("wb", buffering=0) as file:
            size = 1 << 20
            while not self._stop.is_set():
                try:
                    file.write(bytes(size))
                except OSError:
                    size = max(size // 2, 1)
                    self._stop.wait(0.01)

    def _busy(self) -> None:
        _step_back()
        block = os.urandom(1 << 20)
        with (self._demo.folder / "busy").open("wb", buffering=0) as file:
            while not self._stop.is_set():
                file.seek(0)
                for _ in range(4):
                    self._written_bytes += file.write(block)
                os.fsync(file.fileno())


def _step_back() -> None:
    """This thread alone."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ELSEWHERE_NICE)


@contextmanager
def _client(port: int, name: bytes) -> Iterator[socket.socket]:
    """A connected MQTT client of a few bytes: no library of ours shall cost the machine what is measured."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(_packet(0x10, _text("MQTT") + b"\4\2\0\x3c" + struct.pack(">H", len(name)) + name))
        client.recv(4)
        yield client


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128 * 128
    size = bytes([len(body)]) if len(body) < 128 else bytes([128 | len(body) % 128, len(body) // 128])
    return bytes([kind]) + size + body
