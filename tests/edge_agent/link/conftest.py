"""What link talks to: a real mosquitto, a guard that speaks the real socket, a collector that receipts, link as a process."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.link.books import books
from shared import ipc
from shared.mqtt import BrokerSettings, Message, Mqtt

# ---- a guard: the same socket, framing and ring, without devices -----------------------------------------------------

SOURCES = [{"name": "module-01", "signals": ["a", "b", "c"]}, {"name": "inverter", "signals": ["current", "power"]}]


class Guard:
    """Numbers rows and events, holds them until released, sends from where link says it is, answers commands as told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.session = secrets.token_hex(4)
        self.ring: dict[int, bytes] = {}
        self.next = 1
        self.states: dict[str, dict[str, object]] = {"state/safety": {"state": "STANDBY", "energise": "remote"}}
        self.commands: list[dict[str, Any]] = []
        self.link_states: list[dict[str, Any]] = []
        self.reply: Callable[[dict[str, Any]], list[dict[str, Any]]] = accept_and_do
        self.released = 0
        self.connections = 0
        self.sources = SOURCES
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._peer: socket.socket | None = None
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.bind(str(path))
        self._server.listen(2)
        self._server.settimeout(0.1)
        self._thread = threading.Thread(target=self._serve, name="guard-stand-in")
        self._thread.start()

    def row(self, source: int, values: tuple[float, ...], bad: tuple[tuple[int, str], ...] = ()) -> int:
        with self._lock:
            number, self.next = self.next, self.next + 1
            row = ipc.Row(number, time.monotonic_ns() // 1000, source, values, bad)
            self._keep(number, ipc.pack_row(row))
        return number

    def event(self, kind: str, **body: object) -> int:
        with self._lock:
            number, self.next = self.next, self.next + 1
            event = ipc.Event(number, time.monotonic_ns() // 1000, {"kind": kind, **body})
            self._keep(number, ipc.pack_event(event))
        return number

    def lose(self, count: int) -> None:
        """Number records that never leave: the ring was full."""
        with self._lock:
            self.next += count

    def state(self, name: str, **body: object) -> None:
        self.states[name] = body
        self._send(ipc.pack_json(ipc.STATE, {"name": name, "body": body}))

    def send_raw(self, packet: bytes) -> None:
        self._send(packet)

    def drop_connection(self) -> None:
        if self._peer is not None:
            self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._server.close()
        self.path.unlink(missing_ok=True)

    def _keep(self, number: int, packet: bytes) -> None:
        self.ring[number] = packet
        self._send(packet)

    def _send(self, packet: bytes) -> None:
        peer = self._peer
        while peer is not None and peer is self._peer and not self._stop.is_set():
            try:
                peer.send(packet)
            except TimeoutError:  # link is slow: what is dropped here would be a gap
                continue
            except OSError:
                return
            return

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                peer, _ = self._server.accept()
            except TimeoutError:
                continue
            with peer:
                peer.settimeout(10.0)
                with contextlib.suppress(OSError):
                    self._talk(peer)
                self._peer = None

    def _talk(self, peer: socket.socket) -> None:
        with self._lock:
            first = min(self.ring, default=self.next)
            hello = {"session": self.session, "boot": "b", "pid": 1, "first": first, "next": self.next}
            hello |= {"sources": self.sources, "catalog": {"module": {}}, "info": {"modules": [1]}}
            peer.send(ipc.pack_json(ipc.HELLO, hello))
            for name, body in self.states.items():
                peer.send(ipc.pack_json(ipc.STATE, {"name": name, "body": body}))
            packet = peer.recv(ipc.MAX_PACKET)
            assert packet[:1] == ipc.LINK_HELLO
            have = ipc.parse_object(packet[1:])["have"]
            assert isinstance(have, dict)
            for number in sorted(number for number in self.ring if number > have.get(self.session, 0)):
                peer.send(self.ring[number])
            self._peer = peer
            self.connections += 1  # not before: what is sent from now on arrives
        peer.settimeout(0.1)
        while not self._stop.is_set():
            try:
                packet = peer.recv(ipc.MAX_PACKET)
            except TimeoutError:
                continue
            if not packet:
                return
            self._take(packet)

    def _take(self, packet: bytes) -> None:
        if packet[:1] == ipc.RELEASE:
            self.released = ipc.unpack_release(packet)
            with self._lock:
                self.ring = {number: kept for number, kept in self.ring.items() if number > self.released}
        elif packet[:1] == ipc.COMMAND:
            command = ipc.parse_object(packet[1:])
            self.commands.append(command)
            for answer in self.reply(command):
                self._send(ipc.pack_json(ipc.ANSWER, answer))
        elif packet[:1] == ipc.LINK_STATE:
            self.link_states.append(ipc.parse_object(packet[1:]))


def accept_and_do(command: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"id": command["id"], "target": command["target"], "state": "STANDBY"}
    return [{**head, "status": "accepted"}, {**head, "status": "done", "readback": {"on": True}}]


class Collector:
    """Stores what arrives, once per (spool, lane, seq), and sends receipts unless told otherwise; `deaf_to`: topics it does not take."""

    def __init__(self, broker: Any, root: str = "cellguard/v1/lab/rig-1", name: str = "pc-1") -> None:
        self.root, self.name = root, name
        self.stored: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.seen: dict[str, list[Message]] = {}
        self.duplicates = 0
        self.receipting = True
        self.deaf_to = "-"
        self.mqtt = Mqtt(
            BrokerSettings(broker.host, broker.port, f"collector-{name}"),
            subscriptions=[(f"{root}/#", 1)],
            on_message=self._take,
        )
        self.mqtt.start()

    def _take(self, message: Message) -> None:
        below = message.topic.removeprefix(f"{self.root}/")
        self.seen.setdefault(below, []).append(message)
        if below.startswith(("tele/", "event/")) and not below.startswith(self.deaf_to):
            body = json.loads(message.payload)
            key = (body["spool"], body["lane"], body["seq"])
            self.duplicates += key in self.stored
            self.stored.setdefault(key, body)
            if self.receipting:
                self.receipt(*key)

    def receipt(self, spool: str, lane: str, seq: int, **more: object) -> None:
        body = {"collector": self.name, "spool": spool, "lane": lane, "ranges": [[seq, seq]], **more}
        self.mqtt.publish(f"{self.root}/receipt", json.dumps(body).encode())

    def send(self, target: str, payload: bytes | dict[str, Any], *, retain: bool = False) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        assert self.mqtt.publish(f"{self.root}/cmd/{target}", body, retain=retain)

    def last(self, topic: str) -> dict[str, Any]:
        messages = self.seen.get(topic)
        return json.loads(messages[-1].payload) if messages else {}

    def acks(self, identifier: str) -> list[dict[str, Any]]:
        acks = [json.loads(message.payload) for message in self.seen.get("ack", [])]
        return [ack for ack in acks if ack["id"] == identifier]

    def bodies(self) -> list[dict[str, Any]]:
        """All that is stored at this moment: more may come from the network's thread while one looks at it."""
        return list(self.stored.values())

    def units(self) -> int:
        return sum(len(body["t"]) if body["lane"] == "tele" else 1 for body in self.bodies())


class LinkProcess:
    """link as it runs in production: a process of its own with a TOML file."""

    def __init__(self, folder: Path, broker: Any, extra: str = "", state: Path | None = None) -> None:
        self.folder, self.state = folder, state or folder
        self.config = folder / "edge.toml"
        self.config.write_text(
            f'[node]\nstate_dir = "{self.state}"\nruntime_dir = "{folder}"\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[record]\nbatch_s = 0.2\n{extra}'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = (
            "import sys, pathlib, logging; logging.basicConfig(level=20);"
            "from edge_agent.config import load_edge; from edge_agent.link.main import run;"
            "sys.exit(run(load_edge(pathlib.Path(sys.argv[1]))))"
        )
        log = (self.folder / "link.log").open("ab")
        with log:
            self.process = subprocess.Popen([sys.executable, "-c", code, str(self.config)], stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def books(self) -> dict[str, int]:
        return books(self.state / "spool.sqlite")


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    one = Guard(tmp_path / "guard.sock")
    yield one
    one.close()


@pytest.fixture
def collector(broker: Any, wait_until: Any) -> Iterator[Collector]:
    one = Collector(broker)
    wait_until(lambda: one.mqtt.connected, 5, "the collector connecting")
    yield one
    one.mqtt.stop(0.5)


@pytest.fixture
def new_link(tmp_path: Path, broker: Any) -> Iterator[Callable[..., LinkProcess]]:
    made: list[LinkProcess] = []

    def make(extra: str = "", state: Path | None = None) -> LinkProcess:
        made.append(LinkProcess(tmp_path, broker, extra, state))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def new_guard(tmp_path: Path) -> Iterator[Callable[[], Guard]]:
    """A guard that was started again: a new session on the same socket."""
    made: list[Guard] = []

    def make() -> Guard:
        made.append(Guard(tmp_path / "guard.sock"))
        return made[-1]

    yield make
    for one in made:
        one.close()
