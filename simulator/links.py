"""Ptys with a name that stays: the far end of a serial cable, with unplug, replug and the moment of opening."""

from __future__ import annotations

import os
import select
import termios
import tty
from pathlib import Path

READ_SIZE = 4096


class Pty:
    """One cable. The simulator holds the master only, so that a closed slave can be seen (POLLHUP)."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.fd = -1
        self.is_open = False
        self._poll = select.poll()
        self.plug()

    def plug(self) -> None:
        """Make a new pty and point the link at it; nothing happens when it is plugged in already."""
        if self.fd >= 0:
            return
        self.fd, slave = os.openpty()
        name = os.ttyname(slave)
        tty.setraw(slave)
        # once opened and closed, the master reports a hang-up until somebody opens the slave
        os.close(slave)
        os.set_blocking(self.fd, False)
        self._poll.register(self.fd, select.POLLIN | select.POLLHUP)
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.rename(self.link)

    def unplug(self) -> None:
        """Pull the cable: the host's reads and writes fail, the link is gone."""
        if self.fd < 0:
            return
        self._poll.unregister(self.fd)
        os.close(self.fd)
        self.fd = -1
        self.is_open = False
        self.link.unlink(missing_ok=True)

    def watch(self) -> bool:
        """Look whether the host has the port open; True when it has just opened it."""
        if self.fd < 0:
            return False
        hung_up = any(event & select.POLLHUP for _, event in self._poll.poll(0))
        if hung_up:
            if self.is_open:
                self._closed()
            return False
        opened, self.is_open = not self.is_open, True
        return opened

    def read(self) -> bytes:
        """What the host wrote; empty when there is nothing or the host closed."""
        try:
            return os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            self._closed()
            return b""

    def write(self, data: bytes) -> int:
        """Bytes taken by the kernel; 0 while the host does not read or has not opened the port."""
        if not self.is_open:
            return 0
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._closed()
            return 0

    def _closed(self) -> None:
        """The host closed: a slave that is opened next starts raw again, not cooked with an echo."""
        self.is_open = False
        if self.fd >= 0:
            tty.setraw(self.fd, termios.TCSANOW)
