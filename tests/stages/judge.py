"""What the stages see of a node from outside: its broker, everything it publishes, the collector and what that stored."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from proof import Failed, Proof, program

from shared.mqtt import BrokerSettings, Message, Mqtt

ROOT = "cellguard/v1/lab/rig-1"
CELLGUARD = (sys.executable, "-P", "-m", "cellguard")
_KEPT = ("status", "info", "state/", "alarm/")
_END_S = 5.0
_SEND_S = 110.0


class Judge:
    """The newest message of each topic of the node, and commands to it."""

    def __init__(self, archive: Path, port: int) -> None:
        self.archive, self._port = archive, port
        self._newest: dict[str, Message] = {}
        self.first_at: dict[str, float] = {}
        """Topic below the node → when it was heard first (Unix s)."""

    def heard(self, message: Message) -> None:
        """Called on the connection's thread."""
        topic = message.topic.removeprefix(f"{ROOT}/")
        self._newest[topic] = message
        self.first_at.setdefault(topic, time.time())

    def body(self, topic: str) -> dict[str, Any]:
        """The newest body of a topic below the node, {} before it came."""
        message = self._newest.get(topic)
        found = json.loads(message.payload) if message else {}
        assert isinstance(found, dict)
        return found

    def count(self, name: str, since_us: int = 0) -> int:
        """A counter of the device `can`, as `state/health` tells it; 0 while that is older than `since_us`."""
        health = self.body("state/health")
        return int(health["counters"]["can"].get(name, 0)) if health.get("ts", 0) > since_us else 0

    def why(self) -> str:
        """Why the node says it is degraded, and what its devices say."""
        return json.dumps([self.body("status").get("why"), self.body("info").get("devices")])

    def oldest_s(self) -> float:
        """The earliest time (Unix s) that any topic kept at the broker tells."""
        kept = [self.body(topic) for topic in list(self._newest) if topic.startswith(_KEPT)]
        return min((body[key] for body in kept for key in ("ts", "since") if key in body), default=0) / 1e6

    @property
    def may_close(self) -> bool:
        """Whether the node stands by and nothing blocks closing."""
        safety = self.body("state/safety")
        return safety.get("state") == "STANDBY" and not safety["blocked"]["close"]

    def send(self, *words: str) -> None:
        """A command over the broker, that must be done."""
        where = ["--mqtt", f"127.0.0.1:{self._port}", "--site", "lab", "--node", "rig-1"]
        command = [*CELLGUARD, "send", *where, *words]
        done = subprocess.run(command, text=True, capture_output=True, timeout=_SEND_S, check=False)
        if done.returncode:
            raise Failed(f"send {' '.join(words)}: {done.stdout}{done.stderr}")

    def records_since(self, modules: int, t_us: int) -> bool:
        """Whether every module's newest record began after `t_us`."""
        return all(self.body(f"tele/module-{number:02d}").get("t0", 0) > t_us for number in range(1, modules + 1))

    def stored(self, source: str) -> list[int]:
        """Times (Unix µs) of the rows of a source in the collector's archive, in order, each once for a row."""
        command = [*CELLGUARD, "export", "--archive", str(self.archive), "--source", source, "--format", "csv"]
        done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise Failed(f"export: {done.stderr}")
        rows = [(int(row["time"]), row["signal"]) for row in csv.DictReader(io.StringIO(done.stdout))]
        if len(set(rows)) != len(rows):
            raise Failed(f"{source}: a row is stored twice")
        return sorted({time_us for time_us, _ in rows})


@contextmanager
def judging(folder: Path, proof: Proof) -> Iterator[tuple[Judge, int]]:
    """A broker, a collector with an archive and a judge that listens; yields the judge and the broker's port."""
    port = free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_packet_size 262144\n")
    judge = Judge(folder / "archive", port)
    collector = folder / "collector.toml"
    collector.write_text(
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[store]\nkind = "archive"\n[archive]\npath = "archive"\n'
    )
    judge.archive.mkdir()
    ear = Mqtt(BrokerSettings("127.0.0.1", port, "judge"), subscriptions=[(f"{ROOT}/#", 1)], on_message=judge.heard)
    with process([program("mosquitto"), "-c", str(settings)], folder / "mosquitto.log"):
        proof.wait(lambda: _listens(port), 5.0, "mosquitto to listen")
        with process([*CELLGUARD, "collector", "run", "--config", str(collector)], folder / "collector.log"):
            ear.start()
            try:
                yield judge, port
            finally:
                ear.stop(0.5)


@contextmanager
def process(
    command: Sequence[str], log: Path, environ: Mapping[str, str] = os.environ
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended after the block, with all that it has started; its output goes to `log`."""
    with log.open("ab") as file:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environ))
    try:
        yield running
    finally:
        # a container without a namespace of its own leaves its processes behind
        started = _descendants(running.pid)
        running.terminate()
        try:
            running.wait(_END_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        _end(started)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end(processes: list[psutil.Process]) -> None:
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                act(process)
        _, processes = psutil.wait_procs(processes, _END_S)


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
