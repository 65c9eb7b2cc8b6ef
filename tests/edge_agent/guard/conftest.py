"""What the guard's shell is tested with: short socket paths, waiting for a condition, a peer that speaks link's side."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import ipc

DEADLINE_S = 5.0


class LinkPeer:
    """Link's side of the guard's socket, blocking with a deadline."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(str(path))

    def send(self, packet: bytes) -> None:
        self.socket.send(packet)

    def greet(self, have: dict[str, int] | None = None) -> None:
        self.send(ipc.pack_json(ipc.LINK_HELLO, {"have": have or {}}))

    def receive(self) -> bytes:
        return self.socket.recv(ipc.MAX_PACKET)

    def until(self, wanted: Callable[[bytes], bool], limit: int = 5000) -> list[bytes]:
        """Every packet up to and including the first that is wanted."""
        seen = []
        for _ in range(limit):
            packet = self.receive()
            if not packet:
                break
            seen.append(packet)
            if wanted(packet):
                return seen
        pytest.fail(f"not among {len(seen)} packets")

    def records(self, last: int) -> list[int]:
        """Numbers of the records up to number `last`."""
        seen = self.until(lambda packet: packet[:1] in b"RE" and ipc.number_of(packet) >= last)
        return [ipc.number_of(packet) for packet in seen if packet[:1] in b"RE"]

    def json(self, kind: bytes) -> dict[str, Any]:
        """The body of the next packet of a kind."""
        return ipc.parse_object(self.until(lambda packet: packet[:1] == kind)[-1][1:])

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """Short: a Unix socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cg-") as folder:
        yield Path(folder)


@pytest.fixture
def soon() -> Callable[[Callable[[], object]], None]:
    def wait(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        tick = threading.Event()
        for _ in range(int(deadline_s / 0.005)):
            if condition():
                return
            tick.wait(0.005)
        pytest.fail("the condition did not come true in time")

    return wait


@pytest.fixture
def link_peer() -> Iterator[Callable[[Path], LinkPeer]]:
    peers: list[LinkPeer] = []

    def connect(path: Path) -> LinkPeer:
        peers.append(LinkPeer(path))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()
