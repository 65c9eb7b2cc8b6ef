"""Modbus slaves of other makers behind a wire that loses, delays, doubles, cuts and falsifies what they say."""

from __future__ import annotations

import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
import tty
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from simulator.links import Pty

UNIT, BAUDRATE = 2, 115_200
READ, WRITE = 4, 6
REQUEST_LENGTH = 8
SLAVES = ("libmodbus", "modbus-tk")


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, so that an error in the product's cannot cancel out."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


class Exchange:
    """One request of the host; the how manyth the slave got (0: it was lost), and what the slave truly answered."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.number = 0
        self.reply = b""

    @property
    def head(self) -> tuple[int, int, int]:
        """Function, address, and count or value."""
        found: tuple[int, int, int] = struct.unpack(">BHH", self.request[1:6])
        return found

    @property
    def words(self) -> tuple[int, ...]:
        """The registers of a true answer to a read."""
        return struct.unpack(f">{self.reply[2] // 2}H", self.reply[3:-2])

    @property
    def accepted(self) -> bool:
        """Whether the slave took a write."""
        return self.number > 0 and self.reply == self.request

    def is_whole(self) -> bool:
        if len(self.reply) < 3:
            return False
        if self.reply[1] & 0x80:
            return len(self.reply) >= 5
        return len(self.reply) >= (8 if self.reply[1] == WRITE else 5 + self.reply[2])


class Fault(NamedTuple):
    """What arrives instead of a true reply, each part after so many seconds, and again when the next request is sent."""

    parts: list[tuple[float, bytes]]
    again: bytes = b""


Falsify = Callable[[bytes, random.Random, float], Fault]


def falsified(reply: bytes, chance: random.Random, _slow_s: float) -> Fault:
    """One to three bytes are others. A wrong frame with a right CRC would be nobody's fault: not that."""
    while True:
        wrong = bytearray(reply)
        for place in chance.sample(range(len(reply)), chance.randint(1, 3)):
            wrong[place] ^= chance.randrange(1, 256)
        if crc(wrong[:-2]) != wrong[-2:]:
            return Fault([(0.0, bytes(wrong))])


def split(reply: bytes, chance: random.Random, slow_s: float) -> Fault:
    cuts = sorted(chance.sample(range(1, len(reply)), 2))
    pieces = (reply[: cuts[0]], reply[cuts[0] : cuts[1]], reply[cuts[1] :])
    return Fault([(n * chance.uniform(0.0, 0.2) * slow_s, piece) for n, piece in enumerate(pieces)])


def of_another(reply: bytes, chance: random.Random) -> bytes:
    """A whole and right reply of another unit."""
    body = bytes([chance.choice([1, 3, 7, 247])]) + reply[1:-2]
    return body + crc(body)


FAULTS: dict[str, Falsify] = {
    "lost": lambda _reply, _chance, _slow_s: Fault([]),
    "a little late": lambda reply, chance, slow_s: Fault([(chance.uniform(0.1, 0.9) * slow_s, reply)]),
    "too late": lambda reply, chance, slow_s: Fault([(chance.uniform(1.0, 3.0) * slow_s, reply)]),
    "cut off": lambda reply, chance, _slow_s: Fault([(0.0, reply[: chance.randrange(1, len(reply))])]),
    "beginning lost": lambda reply, chance, _slow_s: Fault([(0.0, reply[chance.randrange(1, len(reply)) :])]),
    "falsified": falsified,
    "twice at once": lambda reply, _chance, _slow_s: Fault([(0.0, reply + reply)]),
    "again at the next request": lambda reply, _chance, _slow_s: Fault([(0.0, reply)], again=reply),
    "in pieces": split,
    "after another unit's": lambda reply, chance, _slow_s: Fault([(0.0, of_another(reply, chance) + reply)]),
    "another unit's instead": lambda reply, chance, _slow_s: Fault([(0.0, of_another(reply, chance))]),
    "after noise": lambda reply, chance, _slow_s: Fault([(0.0, chance.randbytes(chance.randint(1, 9)) + reply)]),
    "before noise": lambda reply, chance, _slow_s: Fault([(0.0, reply + chance.randbytes(chance.randint(1, 9)))]),
}


WEIGHTS = [3 if name in {"too late", "again at the next request"} else 1 for name in FAULTS]
"""What puts a client out of step comes more often."""


class Wire:
    """Between the host's adapter, which can be pulled, and a slave's pty. `log` holds what truly happened.

    Args:
        link: name of the host's port.
        slow_s: what counts as slow, for the faults that take time.
        rate: how often a reply is falsified, or a request lost.
        pulled: how often the adapter is pulled out and plugged in again.
    """

    def __init__(self, link: Path, *, slow_s: float, rate: float, pulled: float = 0.0, seed: int = 1) -> None:
        self.port = str(link)
        self.host = Pty(link)
        self.far, self._near = os.openpty()
        tty.setraw(self._near)
        self.device = os.ttyname(self._near)
        self.rate, self.pulled = rate, pulled
        self.counted: Counter[str] = Counter()
        self.log: list[Exchange] = []
        self._slow_s = slow_s
        self._chance = random.Random(seed)
        self._asked = b""
        self._queue: deque[Exchange] = deque()
        self._open: Exchange | None = None
        self._served = 0
        self._due: deque[tuple[float, bytes]] = deque()
        self._again = b""
        self._plug_at = float("inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.host.unplug()
        os.close(self.far)
        os.close(self._near)

    @property
    def last(self) -> Exchange:
        """The exchange of the last request."""
        return self.log[-1]

    def _run(self) -> None:
        while not self._stop.is_set():
            self.host.watch()
            fds = [self.far, *([self.host.fd] if self.host.is_open else [])]
            ready, _, _ = select.select(fds, [], [], self._wait_s())
            if self.far in ready:
                self._hear(os.read(self.far, 4096))
            if self.host.fd in ready:
                self._ask(self.host.read())
            self._forward()
            self._send_due()

    def _wait_s(self) -> float:
        return max(0.0, min(0.002, self._due[0][0] - time.monotonic())) if self._due else 0.002

    def _ask(self, data: bytes) -> None:
        self._asked += data
        while len(self._asked) >= REQUEST_LENGTH:
            exchange = Exchange(self._asked[:REQUEST_LENGTH])
            self._asked = self._asked[REQUEST_LENGTH:]
            self.log.append(exchange)
            if self._again:
                self.host.write(self._again)
                self._again = b""
            if self._chance.random() < self.rate / len(FAULTS):
                self.counted["request lost"] += 1
            elif self._chance.random() < self.pulled:
                self._pull()
            else:
                self._queue.append(exchange)

    def _forward(self) -> None:
        """One request at a time, so that what the slave says is known to be the answer to it."""
        if self._open is None and self._queue:
            self._open = self._queue.popleft()
            self._served += 1
            self._open.number = self._served
            os.write(self.far, self._open.request)

    def _pull(self) -> None:
        """Whatever is on the line is gone with the adapter."""
        self.counted["pulled out"] += 1
        self.host.unplug()
        self._due.clear()
        self._queue.clear()
        self._asked = self._again = b""
        self._plug_at = time.monotonic() + self._slow_s

    def _hear(self, data: bytes) -> None:
        exchange = self._open
        assert exchange is not None, f"the slave said {data.hex()} without having been asked"
        exchange.reply += data
        if not exchange.is_whole():
            return
        self._open = None
        self._answer(exchange.reply)

    def _answer(self, reply: bytes) -> None:
        if self._chance.random() >= self.rate:
            self._put(0.0, reply)
            return
        name = self._chance.choices(list(FAULTS), WEIGHTS)[0]
        self.counted[name] += 1
        fault = FAULTS[name](reply, self._chance, self._slow_s)
        for delay_s, part in fault.parts:
            self._put(delay_s, part)
        self._again = fault.again

    def _put(self, delay_s: float, data: bytes) -> None:
        due = time.monotonic() + delay_s
        self._due.append((max(due, self._due[-1][0]) if self._due else due, data))

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self.host.write(self._due.popleft()[1])
        if now >= self._plug_at:
            self._plug_at = float("inf")
            self.host.plug()


@pytest.fixture(scope="session")
def libmodbus_slave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C slave, compiled; skips loudly without compiler or library."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: libmodbus is not tried (apt install gcc libmodbus-dev)")
    program = tmp_path_factory.mktemp("slave") / "slave"
    source = Path(__file__).with_name("libmodbus_slave.c")
    command = [compiler, "-O1", "-Wall", "-I/usr/include/modbus", "-o", program, source, "-lmodbus"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        if "modbus.h" in built.stderr or "-lmodbus" in built.stderr:
            pytest.skip("no libmodbus: it is not tried (apt install libmodbus-dev)")
        pytest.fail(built.stderr)
    return program


@pytest.fixture(params=SLAVES)
def slave_command(request: pytest.FixtureRequest) -> list[str]:
    """The program of each foreign slave in turn."""
    if request.param == "libmodbus":
        return [str(request.getfixturevalue("libmodbus_slave"))]
    pytest.importorskip("modbus_tk", reason="modbus-tk is not installed: it is not tried")
    return [sys.executable, str(Path(__file__).with_name("modbus_tk_slave.py"))]


@pytest.fixture
def wired(slave_command: list[str], tmp_path: Path) -> Iterator[Callable[..., Wire]]:
    """A factory of wires with the slave at the far end."""
    running: list[tuple[subprocess.Popen[bytes], Wire]] = []

    def make(**options: float) -> Wire:
        wire = Wire(tmp_path / "adapter", **options)  # type: ignore[arg-type]  # only the seed is whole
        command = [*slave_command, wire.device, str(BAUDRATE), str(UNIT)]
        slave = subprocess.Popen(command, stdout=subprocess.PIPE)
        running.append((slave, wire))
        assert slave.stdout is not None
        assert slave.stdout.readline() == b"ready\n"
        wire.start()
        return wire

    yield make
    for slave, wire in running:
        slave.kill()
        slave.wait()
        if slave.stdout is not None:
            slave.stdout.close()
        if wire._thread.is_alive():
            wire.close()
