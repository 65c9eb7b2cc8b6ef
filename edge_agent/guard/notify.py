"""Tells systemd that the guard is ready and alive, through the datagram socket it names; does nothing without one."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_PERIOD_S = 1.0


class Notifier:
    """`READY=1` once, then `WATCHDOG=1` at most once a second, called by the loop after each completed turn."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name else None
        if self._socket is not None:
            self._socket.settimeout(0.0)
        self._next_s = 0.0
        self.failures = 0

    def ready(self) -> None:
        """The guard is up."""
        self._say(b"READY=1")

    def stopping(self) -> None:
        """The guard is going down on purpose."""
        self._say(b"STOPPING=1")

    def alive(self, now: float) -> None:
        """A turn was completed at `now`."""
        if self._socket is not None and now >= self._next_s:
            self._next_s = now + _PERIOD_S
            self._say(b"WATCHDOG=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()

    def _say(self, text: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text, self._address)
        except OSError:
            self.failures += 1
