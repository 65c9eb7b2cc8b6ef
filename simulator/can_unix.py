"""CAN frames over an AF_UNIX datagram socket, so that a host can use its AF_CAN receive path without a kernel CAN."""

from __future__ import annotations

import socket
from collections import deque
from pathlib import Path

from simulator.can_bus import Frame
from simulator.linux_frame import packed, unpacked
from simulator.sockets import bind_unix

MOST_WAITING = 2048  # half a second of a full bus
MOST_READ = 64


class UnixCanLink:
    """Bound at a path; answers whoever wrote last. The kernel queues about ten datagrams, the rest waits here."""

    def __init__(self, path: Path, bitrate: int) -> None:
        self._path = path
        self._bitrate = bitrate
        self._socket: socket.socket | None = None
        self._peer: str | bytes = b""
        self._waiting: deque[bytes] = deque()
        self.dropped = 0
        self.malformed = 0
        self.plug()

    @property
    def described(self) -> dict[str, object]:
        """The link's description."""
        return {"interface": "unix", "channel": str(self._path), "bitrate": self._bitrate}

    @property
    def fd(self) -> int:
        """The socket's number."""
        return self._socket.fileno() if self._socket else -1

    @property
    def waiting(self) -> bool:
        """Whether the host has not read everything yet."""
        return bool(self._waiting)

    def watch(self) -> bool:
        """A datagram socket has no arrivals to notice."""
        return False

    def plug(self) -> None:
        """Bind the socket."""
        if self._socket is None:
            self._socket = bind_unix(self._path, socket.SOCK_DGRAM)
            # the kernel counts whole pages of bookkeeping against this for each small datagram
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def unplug(self) -> None:
        """Close the socket: the host's next send fails."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)
        self._waiting.clear()
        self._peer = b""

    def receive(self) -> list[Frame]:
        """Frames the host sent."""
        frames = []
        for _ in range(MOST_READ):
            try:
                raw, peer = self._socket.recvfrom(64) if self._socket else (b"", b"")
            except OSError:
                break
            if not peer:
                self.malformed += bool(raw)
                break
            self._peer = peer
            frame = unpacked(raw)
            if frame is None:
                self.malformed += 1
            else:
                frames.append(frame)
        return frames

    def send(self, frames: list[Frame]) -> None:
        """Queue and send; the oldest are dropped when the host has not read for half a second."""
        if not self._peer:
            return
        self._waiting.extend(map(packed, frames))
        self.flush()
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1

    def flush(self) -> None:
        """Send until the kernel's queue is full."""
        while self._waiting and self._socket:
            try:
                self._socket.sendto(self._waiting[0], self._peer)
            except BlockingIOError:
                return
            except OSError:
                # the host has gone; nobody hears the bus until it speaks again
                self._waiting.clear()
                self._peer = b""
                return
            self._waiting.popleft()
