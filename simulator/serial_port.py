"""A device behind a serial cable: the pty, both directions at the line's pace, and a device in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulator.links import Pty
from simulator.trace import Trace
from simulator.wire import Wire


class LineDevice(Protocol):
    """What hangs at the far end: pure, with time as an argument."""

    @property
    def due(self) -> float:
        """When `take` should be called next."""

    def feed(self, data: bytes, now: float) -> None:
        """Bytes without a pause between them; the last one ended at `now`."""

    def take(self, now: float) -> bytes:
        """Bytes to send now."""


class SerialPort:
    """Moves bytes between a pty and its device. `pump` often, `receive` when the pty is readable."""

    def __init__(self, name: str, pty: Pty, baudrate: int, device: LineDevice, trace: Trace) -> None:
        self.name = name
        self.pty = pty
        self._device = device
        self._trace = trace
        self._to_device = Wire(baudrate)
        self._to_host = Wire(baudrate)
        self.opened: Callable[[], None] = self._cut
        self.lost_bytes = 0

    def receive(self, now: float) -> None:
        """Put on the wire what the host wrote."""
        data = self.pty.read()
        if data:
            self._trace.add(now, self.name, "host", data)
            self._to_device.put(data, now)

    def watch(self) -> bool:
        """Notice that the host opened the port; True when it did."""
        if not self.pty.watch():
            return False
        self._cut()
        self.opened()
        return True

    def pump(self, now: float) -> None:
        """Let both directions and the device go on to `now`."""
        for ended, arrived in self._to_device.passed(now):
            self._device.feed(arrived, ended)  # the wire's time: a pump that comes late is no pause on the line
        printed = self._device.take(now)
        if printed and self.pty.is_open:
            self._to_host.put(printed, now)
        passed = self._to_host.take(now)
        if passed:
            self._trace.add(now, self.name, "device", passed)
            self.lost_bytes += len(passed) - self.pty.write(passed)

    @property
    def due(self) -> float:
        """When to pump next."""
        return min(self._to_device.due, self._to_host.due, self._device.due)

    def unplug(self) -> None:
        """Pull the cable; what was on the line is gone."""
        self.pty.unplug()
        self._cut()

    def _cut(self) -> None:
        self._to_device.clear()
        self._to_host.clear()
