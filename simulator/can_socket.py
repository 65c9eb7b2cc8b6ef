"""CAN frames over a kernel CAN interface (vcan0 and the like), for machines that have one."""

from __future__ import annotations

import socket

from shared.errors import ConfigError
from simulator.can_bus import Frame
from simulator.linux_frame import SIZE, packed, unpacked

MOST_READ = 64


class SocketCanLink:
    """A raw AF_CAN socket. Unplugging closes it: the interface itself belongs to the kernel."""

    def __init__(self, channel: str, bitrate: int) -> None:
        self._channel = channel
        self._bitrate = bitrate
        self._socket: socket.socket | None = None
        self.dropped = 0
        self.plug()

    @property
    def described(self) -> dict[str, object]:
        """The link's description."""
        return {"interface": "socketcan", "channel": self._channel, "bitrate": self._bitrate}

    @property
    def fd(self) -> int:
        """The socket's number."""
        return self._socket.fileno() if self._socket else -1

    @property
    def waiting(self) -> bool:
        """The kernel's queue is the only one."""
        return False

    def watch(self) -> bool:
        """Nothing to notice."""
        return False

    def plug(self) -> None:
        """Open the interface."""
        if self._socket is not None:
            return
        fresh = None
        try:
            fresh = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
            fresh.bind((self._channel,))
        except (OSError, AttributeError) as problem:
            if fresh is not None:
                fresh.close()
            allowed = f"a CAN interface that is up ({problem}); without one use slcan or unix"
            raise ConfigError("--can", f"socketcan:{self._channel}", allowed) from problem
        fresh.settimeout(0)
        self._socket = fresh

    def unplug(self) -> None:
        """Leave the bus."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def receive(self) -> list[Frame]:
        """Frames others sent."""
        frames = []
        for _ in range(MOST_READ):
            try:
                raw = self._socket.recv(SIZE) if self._socket else b""
            except OSError:
                break
            if not raw:
                break
            frame = unpacked(raw)
            if frame is not None:
                frames.append(frame)
        return frames

    def send(self, frames: list[Frame]) -> None:
        """Hand frames to the kernel; what its queue refuses is counted."""
        for frame in frames:
            try:
                if self._socket:
                    self._socket.send(packed(frame))
            except OSError:
                self.dropped += 1

    def flush(self) -> None:
        """Nothing waits here."""
