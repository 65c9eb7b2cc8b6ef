"""Link's end of the local socket to guard: connects again and again, never blocks, packets in and out."""

from __future__ import annotations

import logging
import socket
from collections import Counter, deque
from pathlib import Path

from shared import ipc

log = logging.getLogger(__name__)

_DELAY_MIN_S, _DELAY_MAX_S = 0.2, 2.0
_AT_ONCE = 256
_OUT = 1000
"""Packets waiting for guard to read; more means guard hangs, and the connection is given up."""


class GuardSocket:
    """One connection at a time, driven by the front's loop. `sock` is None while there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = bytearray(ipc.MAX_PACKET + 1)
        self._out: deque[bytes] = deque()
        self._retry_at = 0.0
        self._delay_s = _DELAY_MIN_S
        self.sock: socket.socket | None = None
        self.counts: Counter[str] = Counter()

    def connect_when_due(self, now: float) -> bool:
        """Try to connect unless it is too early; True when a connection has just been made."""
        if self.sock is not None or now < self._retry_at:
            return False
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(0.0)
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            self._retry_at = now + self._delay_s
            self._delay_s = min(self._delay_s * 2, _DELAY_MAX_S)
            return False
        self.sock = sock
        self._delay_s = _DELAY_MIN_S
        self.counts["guard_connects"] += 1
        return True

    @property
    def wants_write(self) -> bool:
        """Whether packets wait for guard to read."""
        return bool(self._out)

    def receive(self, now: float) -> list[bytes]:
        """Every packet that is there, at most 256; when guard has closed, `sock` becomes None."""
        packets: list[bytes] = []
        while self.sock is not None and len(packets) < _AT_ONCE:
            try:
                size = self.sock.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                self.close(now, str(error))
                break
            if size == 0:
                self.close(now, "guard closed the connection")
            elif size > ipc.MAX_PACKET:
                self.counts["packets_too_large"] += 1
            else:
                packets.append(bytes(self._buffer[:size]))
        return packets

    def send(self, packet: bytes, now: float) -> bool:
        """Send or queue one packet; False when there is no connection."""
        if self.sock is None:
            return False
        self._out.append(packet)
        self.flush(now)
        return self.sock is not None

    def flush(self, now: float) -> None:
        """Send what waits, as far as guard reads."""
        while self._out and self.sock is not None:
            try:
                self.sock.send(self._out[0])
            except BlockingIOError:
                if len(self._out) > _OUT:
                    self.close(now, "guard does not read")
                return
            except OSError as error:
                self.close(now, str(error))
                return
            self._out.popleft()

    def close(self, now: float, reason: str) -> None:
        """Give the connection up; the next attempt comes after the shortest delay."""
        if self.sock is None:
            return
        self.sock.close()
        self.sock = None
        self._out.clear()
        self._retry_at = now + _DELAY_MIN_S
        self.counts["guard_disconnects"] += 1
        log.info("guard: %s", reason)
