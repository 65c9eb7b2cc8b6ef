"""Far ends for the devices: a serial cable that can be pulled, and a Modbus slave that can be made to misbehave."""

from __future__ import annotations

import os
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.guard.ports import Arrival, Device

Reply = tuple[float, bytes]
Misbehave = Callable[[bytes, bytes], list[Reply]]
"""(request, right reply) → what to send instead, each after so many seconds."""


class Cable:
    """A pty under a name that stays, like a USB adapter under /dev/serial/by-id."""

    def __init__(self, link: Path) -> None:
        self.port = str(link)
        self._link = link
        self.fd = -1
        self.plug()

    def plug(self) -> None:
        """Plug the adapter in."""
        self.fd, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.fd, False)
        self._link.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self) -> None:
        """Pull it out."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._link.unlink()

    def write(self, data: bytes) -> None:
        """Send to the host."""
        os.write(self.fd, data)

    def read(self, seconds: float = 0.0) -> bytes:
        """What the host has written; waits for the first byte."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            return os.read(self.fd, 4096) if ready else b""
        except (BlockingIOError, OSError):  # nothing, or the host has the port closed
            return b""


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class Slave:
    """A Modbus slave on a cable, in a thread: holds `registers`, records `requests`, and misbehaves on demand."""

    unit = 2

    def __init__(self, cable: Cable) -> None:
        self.cable = cable
        self.registers = dict.fromkeys([*range(30256, 30286), *range(41024, 41033)], 0)
        self.requests: list[tuple[float, bytes]] = []
        self.misbehave: Misbehave = lambda _request, reply: [(0.0, reply)]
        self._pending: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def writes(self) -> list[tuple[int, int]]:
        """Every write that arrived: (address, 16-bit counts)."""
        return [struct.unpack(">HH", request[2:6]) for _, request in self.requests if request[1] == 6]

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        buffer = b""
        while not self._stop.is_set():
            now = time.monotonic()
            due = [reply for reply in self._pending if reply[0] <= now]
            self._pending = [reply for reply in self._pending if reply[0] > now]
            for _, data in due:
                self.cable.write(data)
            buffer += self._heard()
            while len(buffer) >= 8:
                self._serve(buffer[:8])
                buffer = buffer[8:]

    def _heard(self) -> bytes:
        if self.cable.fd < 0:
            self._stop.wait(0.01)
            return b""
        try:
            data = self.cable.read(0.002)
        except (OSError, ValueError):  # pulled out while waiting
            data = b""
        return data or (self._stop.wait(0.002) and b"") or b""

    def _serve(self, request: bytes) -> None:
        now = time.monotonic()
        self.requests.append((now, request))
        reply = self._reply(request)
        self._pending += [(now + delay, data) for delay, data in self.misbehave(request, reply)]

    def _reply(self, request: bytes) -> bytes:
        function, first, second = struct.unpack(">xBHH2x", request)
        if function == 6:
            self.registers[first] = second
            return request
        wanted = range(first, first + second)
        if not set(wanted) <= self.registers.keys():
            pdu = bytes([function | 0x80, 2])
        else:
            pdu = struct.pack(f">BB{second}H", function, 2 * second, *(self.registers[one] & 0xFFFF for one in wanted))
        frame = bytes([self.unit]) + pdu
        return frame + crc16(frame)


def collect(device: Device, done: Callable[[list[Arrival]], object], seconds: float = 5.0) -> list[Arrival]:
    """Turn a device until `done` of all its arrivals; fails the test when that does not come in time."""
    arrivals: list[Arrival] = []
    deadline = time.monotonic() + seconds
    while not done(arrivals):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; the last arrivals: {arrivals[-3:]}")
        arrivals += device.read()
    return arrivals


@pytest.fixture
def turn() -> Callable[..., list[Arrival]]:
    return collect


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path / "adapter")
    yield made
    made.unplug()


@pytest.fixture
def slave(cable: Cable) -> Iterator[Slave]:
    made = Slave(cable)
    yield made
    made.close()
