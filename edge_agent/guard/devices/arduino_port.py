"""The Arduino's serial port, and the one door to pyserial: what both protocols share of opening, reading and waking."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_agent.guard.codecs.arduino import SOURCE, Lines
from edge_agent.guard.model import RELAYS, NoData, Output, OutputOrder
from edge_agent.guard.ports import Arrival, NotYet
from shared.errors import DeviceError, WireError

if TYPE_CHECKING:
    import serial

SENSORS = ("temp1", "temp2", "press")
PERMIT_WAIT_S = 0.4
READ_BYTES = 4096
LONGEST_TURN_S = 0.25
MUTE_S = 2.5
"""Opening the port resets an Uno; so long nobody wonders about its silence."""
WRITE_TIMEOUT_S = 0.5
FOREVER = float("inf")


class Board:
    """What both protocols share: the port, the waking, orders that end, lines in."""

    source = SOURCE
    baudrate = 0
    silent_s = 0.0

    def __init__(self, port: str, sensors: Sequence[str] = SENSORS) -> None:
        self._port_name = port
        self._sensors = tuple(sensors)
        self._port: serial.Serial | None = None
        self._permitted = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wake)
        self._order: OutputOrder | None = None
        self._zeroed = False
        self._heard = False
        self._lines = Lines()
        self._counted: Counter[str] = Counter()
        self._quiet_since = 0.0

    def permit_open(self, *, allowed: bool = True) -> None:
        """The circuit carries no current (or waiting for that is over): the port may be opened. Loop thread."""
        if allowed:
            self._permitted.set()
        else:
            self._permitted.clear()

    def order_outputs(self, order: OutputOrder) -> None:
        """Take over the whole wanted mask; wakes the thread when there is something to send. Loop thread."""
        before, self._order = self._order, order
        if not order.mask & RELAYS:
            self._zeroed = True
        if before is None or (before.mask, before.feed) != (order.mask, order.feed):
            os.eventfd_write(self._wake, 1)

    def open(self) -> str:
        """Open the port, which resets an Uno. Raises NotYet until `permit_open` was called."""
        if not self._permitted.wait(PERMIT_WAIT_S):
            raise NotYet(f"waiting for zero current before opening {self._port_name}: opening it resets the board")
        import serial  # noqa: PLC0415 - only a rig with this board needs it

        try:
            self._port = serial.Serial(
                self._port_name, self.baudrate, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise DeviceError(f"{self._port_name}: {_why(self._port_name, error)}") from error
        self._lines.clear()
        self._heard = False
        self._quiet_since = time.monotonic() + MUTE_S
        return f"{type(self).__name__} on {self._port_name}, {self.baudrate} Bd"

    def close(self) -> None:
        """Give the port back."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def read(self) -> Sequence[Arrival]:
        """One turn: send what is due, take every line that is there."""
        if self._port is None:
            raise DeviceError(f"{self._port_name} is closed")
        now = time.monotonic()
        wait_s = min(LONGEST_TURN_S, max(0.0, self._send_due(self._port, now) - now))
        fd = self._port.fileno()
        ready, _, _ = select.select([fd, self._wake], [], [], wait_s)
        if self._wake in ready:
            os.eventfd_read(self._wake)
            self._send_due(self._port, time.monotonic())
        data = self._drained(fd) if fd in ready else b""
        return self._arrivals(self._lines.feed(data), time.monotonic())

    def counters(self) -> dict[str, int]:
        """Lines and commands, and everything that was no line."""
        return {**self._counted, **self._lines.counted}

    def _arrivals(self, lines: list[bytes], now: float) -> list[Arrival]:
        arrivals: list[Arrival] = []
        complaint: NoData | None = None
        for line in lines:
            try:
                arrivals += self._parsed(line, now)
                self._counted["lines"] += 1
            except WireError as error:
                reason = "crc" if str(error).startswith("crc") else "decoder"
                self._counted["bad_crc_lines" if reason == "crc" else "noise_lines"] += 1
                complaint = NoData(SOURCE, "line", now, reason, str(error))
        if arrivals:
            self._heard = True
            self._quiet_since = now
        elif now - self._quiet_since >= self.silent_s:
            self._quiet_since = now
            self._counted["silences"] += 1
            complaint = NoData(SOURCE, "line", now, "timeout", f"no status line for {self.silent_s:g} s")
        return [complaint, *arrivals] if complaint else arrivals

    def _drained(self, fd: int) -> bytes:
        """Everything the kernel holds: a port read slower than it is written shows values that are minutes old."""
        parts: list[bytes] = []
        try:
            while part := os.read(fd, READ_BYTES):
                parts.append(part)
        except BlockingIOError:
            return b"".join(parts)
        except OSError as error:
            raise DeviceError(f"{self._port_name}: lost ({error.strerror})") from error
        if not parts:  # it was said to be readable: that is the end
            raise DeviceError(f"{self._port_name}: unplugged")
        return b"".join(parts)

    def send(self, port: serial.Serial, data: bytes) -> None:
        """Write one command; DeviceError when the port is lost."""
        try:
            port.write(data)
        except OSError as error:
            raise DeviceError(f"{self._port_name}: cannot be written ({error})") from error
        self._counted["commands"] += 1

    def _wanted(self, now: float) -> Output | None:
        """The mask to send now; None when nothing may be sent. Relays stay off after a reset until zero was ordered.

        Before the first line nothing is sent: the boot loader would take it for a program.
        """
        order = self._order
        if not self._heard or order is None or not order.feed or now >= order.valid_until:
            return None
        if self._zeroed or not order.mask & RELAYS:
            return order.mask
        self._counted["turns_with_relays_masked"] += 1
        return order.mask & ~RELAYS

    def _board_was_reset(self) -> None:
        """An old mask is never sent again to a board that has forgotten it."""
        self._zeroed = False

    def _send_due(self, port: serial.Serial, now: float) -> float:
        """Send if something is to be sent; when to look again unless a line or an order comes first."""
        raise NotImplementedError

    def _parsed(self, line: bytes, now: float) -> Sequence[Arrival]:
        raise NotImplementedError


def _why(port: str, error: Exception) -> str:
    if not os.path.exists(port):  # noqa: PTH110 - a port may be named by anything pyserial understands
        return "no such port: plug the board in, or set [arduino] port"
    if not os.access(port, os.R_OK | os.W_OK):
        return "no permission: the user needs the group dialout"
    return f"cannot be opened, is another program using it ({error})"
