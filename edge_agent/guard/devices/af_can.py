"""Receives and sends CAN frames straight from a socket with kernel stamps: AF_CAN, or an AF_UNIX datagram socket alike."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import Counter
from pathlib import Path

from edge_agent.guard.codecs.can_frame import ALL_ERRORS, Frame, pack
from edge_agent.guard.devices.bulk_receive import SO_RXQ_OVFL, SO_TIMESTAMPNS, BulkReceiver
from shared.errors import DeviceError

SO_RCVBUFFORCE, CAN_RAW_ERR_FILTER = 33, 2
"""Linux numbers that the socket module does not name."""
INTERFACES = Path("/sys/class/net")
BUFFER_BYTES = 2 * 1024 * 1024
OLDEST_S = 1.0
_PASSING = {errno.ENOBUFS, errno.EAGAIN, errno.EINTR}
_WHY = {
    errno.ENODEV: "no such CAN interface: is the adapter plugged in",
    errno.ENXIO: "the adapter is gone",
    errno.ENETDOWN: "the interface is down: ip link set {channel} up type can bitrate {bitrate}",
    errno.EAFNOSUPPORT: "this kernel has no SocketCAN",
    errno.ENOENT: "no socket of that name: is the simulator running",
    errno.ECONNREFUSED: "nobody listens there: is the simulator running",
}


class AfLink:
    """One raw socket. `interface` is `socketcan` (channel = can0) or `unix` (channel = path of the other end)."""

    def __init__(self, interface: str, channel: str, bitrate: int) -> None:
        self.interface = interface
        self.channel = channel
        self.bitrate = bitrate
        self.counted: Counter[str] = Counter()
        self._socket: socket.socket | None = None
        self._bulk: BulkReceiver | None = None
        self._poll = select.poll()
        self._drops = 0
        self._dropped = self._dropped_by_the_interface()
        self._to_monotonic: float | None = None

    def open(self) -> str:
        """Open and connect; DeviceError says why not."""
        try:
            link = self._opened()
        except OSError as error:
            raise self._lost(error) from error
        self._socket = link
        self._bulk = BulkReceiver(link.fileno())
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._drops = 0
        return f"{self.interface} {self.channel}, buffer {link.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)} bytes"

    def counters(self) -> dict[str, int]:
        """What the socket, the kernel's queue before it and this reader lost, refused or found strange."""
        before, self._dropped = self._dropped, self._dropped_by_the_interface()
        if self._dropped > before:  # less: the adapter was plugged in again, and its interface counts anew
            self.counted["dropped_frames"] += self._dropped - before
        return dict(self.counted)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = self._bulk = None

    def receive(self, timeout_s: float) -> list[Frame]:
        """Take everything that is there (at most MOST frames); wait for it when there is nothing."""
        if self._bulk is None:
            return []
        frames = self._taken(self._bulk)
        if not frames and self._poll.poll(timeout_s * 1000.0):
            frames = self._taken(self._bulk)
        return frames

    def _taken(self, bulk: BulkReceiver) -> list[Frame]:
        frames: list[Frame] = []
        append = frames.append
        try:
            packets = bulk.receive()
        except BlockingIOError:
            return frames
        except OSError as error:
            if error.errno not in _PASSING:
                raise self._lost(error) from error
            self.counted["receive_errors"] += 1
            return frames
        now = time.monotonic()
        to_monotonic = now - time.time()
        before, self._to_monotonic = self._to_monotonic, to_monotonic
        set_by_s = 0.0 if before is None else to_monotonic - before
        oldest = now - OLDEST_S
        if bulk.malformed:
            self.counted["malformed_frames"] += bulk.malformed
            bulk.malformed = 0
        for can_id, length, data, kind, seconds, nanoseconds, other, drops in packets:
            t_mono = seconds + nanoseconds * 1e-9 + to_monotonic if kind == SO_TIMESTAMPNS else now
            if not oldest <= t_mono <= now:
                t_mono = self._clamped(t_mono, t_mono - set_by_s, now)
            if other == SO_RXQ_OVFL:
                self.counted["overflowed_frames"] += (drops - self._drops) & 0xFFFF_FFFF
                self._drops = drops
            append((can_id, data if length == 8 else data[:length], t_mono))
        return frames

    def send(self, can_id: int, data: bytes) -> None:
        """Send one frame; a full queue is counted, a lost link raises DeviceError."""
        if self._socket is None:
            raise DeviceError(f"{self.interface} {self.channel} is closed")
        try:
            self._socket.send(pack(can_id, data))
        except OSError as error:
            if error.errno not in _PASSING:
                raise self._lost(error) from error
            self.counted["send_failures"] += 1

    def _dropped_by_the_interface(self) -> int:
        """Frames that never reached any socket: net.core.netdev_max_backlog was too short for a stall."""
        try:
            return int((INTERFACES / self.channel / "statistics" / "rx_dropped").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0  # no interface of the kernel, or it is gone

    def _clamped(self, t_mono: float, before: float, now: float) -> float:
        """A stamp is not from the future. `before`: by the clock of the last frames, if it was set since the kernel had this one."""
        if abs(t_mono - now) > OLDEST_S:
            self.counted["stepped_stamps"] += 1
            if now - OLDEST_S <= before <= now:
                return before
        return now if t_mono > now else now - OLDEST_S

    def _opened(self) -> socket.socket:
        local = self.interface == "unix"
        family, kind = (socket.AF_UNIX, socket.SOCK_DGRAM) if local else (socket.AF_CAN, socket.SOCK_RAW)
        link = socket.socket(family, kind, 0 if local else socket.CAN_RAW)
        try:
            link.settimeout(0.0)
            link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            link.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            _enlarge(link)
            if local:
                link.bind("")  # an address of the kernel's own choice, so that the other end can answer
                link.connect(self.channel)
            else:
                link.setsockopt(socket.SOL_CAN_RAW, CAN_RAW_ERR_FILTER, ALL_ERRORS)
                link.bind((self.channel,))
                _require_up(self.channel)
        except OSError:
            link.close()
            raise
        return link

    def _lost(self, error: OSError) -> DeviceError:
        why = _WHY.get(error.errno or 0, error.strerror or str(error))
        return DeviceError(f"{self.interface} {self.channel}: {why.format(channel=self.channel, bitrate=self.bitrate)}")


def _enlarge(link: socket.socket) -> None:
    """The default buffer holds 70 ms of a full bus. Only root may go beyond rmem_max; then what is allowed must do."""
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


def _require_up(channel: str) -> None:
    flags = int((INTERFACES / channel / "flags").read_text(encoding="ascii"), 16)
    if not flags & 1:
        raise OSError(errno.ENETDOWN, "interface is down")
