"""A rig in virtual time, and a simulation behind real links, for the simulator's own tests."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from simulator.can_bus import Frame
from simulator.main import Options, rig_size
from simulator.rig import Rig
from simulator.simulation import Simulation
from simulator.truth import Change, Truth


def crc_ccitt(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, bit by bit, so that an error in the simulator's does not cancel out."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def crc_modbus(data: bytes) -> bytes:
    """CRC-16/MODBUS, bit by bit."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


def framed(body: str) -> bytes:
    return f"#{body}*{crc_ccitt(body.encode()):04X}\n".encode()


@dataclass
class Bench:
    """A rig whose clock is ours; what it says is kept."""

    rig: Rig
    truth: Truth
    frames: list[Frame]
    now: float
    printed: bytearray = field(default_factory=bytearray)
    seq: int = 0

    def run(self, seconds: float, step_s: float = 0.005) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + step_s)
            self.rig.advance(self.now)
            self.rig.nodes.tick(self.now)
            self.rig.bus.advance(self.now)
            self.printed += self.rig.arduino.take(self.now)

    def run_fed(self, seconds: float, mask: int) -> None:
        """Let time pass as a host that repeats one mask every 0.3 s."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.command(mask)
            self.run(min(0.3, end - self.now))

    def command(self, mask: int, session: str = "0badcafe") -> None:
        self.seq += 1
        self.rig.arduino.feed(framed(f"C,{session},{self.seq},{mask:02X}"), self.now)

    def close_circuit(self) -> None:
        """Precharge and close, as a host does it."""
        for mask, seconds in ((0x00, 0.1), (0x08, 0.1), (0x18, 4.0), (0x1C, 0.1), (0x0C, 0.1)):
            self.run_fed(seconds, mask)

    def write(self, address: int, value: int) -> bytes:
        pdu = bytes([6]) + address.to_bytes(2, "big") + (value & 0xFFFF).to_bytes(2, "big")
        return self.rig.inverter.serve(pdu, self.now)

    def read(self, address: int, count: int = 1, function: int = 4) -> list[int]:
        pdu = bytes([function]) + address.to_bytes(2, "big") + count.to_bytes(2, "big")
        reply = self.rig.inverter.serve(pdu, self.now)
        assert reply[0] == function, f"exception {reply[1]}"
        return [int.from_bytes(reply[2 + 2 * n : 4 + 2 * n], "big", signed=True) for n in range(count)]

    def start_inverter(self, amps: float, timer_s: float = 2.0) -> None:
        for address, value in ((41024, 125), (41025, round(timer_s * 10)), (41029, 0), (41027, 0), (41026, 2)):
            assert self.write(address, value)[0] == 6
        assert self.write(41027, round(amps * 52.094))[0] == 6

    def sync(self) -> list[Frame]:
        """Send SYNC and wait for every answer."""
        del self.frames[:]
        self.rig.bus.submit_host(Frame(0x080, b"\xff"), self.now)
        self.run(0.05)
        return list(self.frames)

    def changes(self, what: str) -> list[Change]:
        return [Change(**row) for row in self.truth.since(0.0) if row["what"] == what]

    @property
    def lines(self) -> list[bytes]:
        return bytes(self.printed).split(b"\n")[:-1]


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """A factory: `bench(modules=2, profile="lab-2021")`."""

    def make(start: float = 100.0, **options: Any) -> Bench:
        truth = Truth()
        frames: list[Frame] = []
        size = rig_size(Options(**{"seed": 7, "modules": 3, **options}))
        return Bench(Rig(size, truth, frames.extend, start), truth, frames, start)

    return make


class Client:
    """A client of the control socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __call__(self, **request: Any) -> dict[str, Any]:
        return self.line(json.dumps(request).encode())

    def line(self, raw: bytes) -> dict[str, Any]:
        self.socket.sendall(raw + b"\n")
        return json.loads(self.file.readline())

    def get(self, name: str) -> Any:
        return self(get=[name])["get"][name]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@dataclass
class Served:
    """A simulation that runs in a thread, and a client of it."""

    links: dict[str, Any]
    control: Client
    simulation: Simulation


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """A factory of simulations on real links: `served(can="unix")`."""
    running: list[tuple[Simulation, threading.Thread, Client]] = []

    def start(**options: Any) -> Served:
        chosen = Options(**{"seed": 7, "modules": 2, **options})
        truth = tmp_path / "truth.jsonl"
        simulation = Simulation(rig_size(chosen), chosen.can, tmp_path, tmp_path / "control", truth)
        thread = threading.Thread(target=simulation.run, name="simulation")
        thread.start()
        client = Client(str(tmp_path / "control"))
        running.append((simulation, thread, client))
        return Served(json.loads(simulation.links), client, simulation)

    yield start
    for simulation, thread, client in running:
        client.close()
        simulation.stop()
        thread.join(5)
        simulation.close()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "truth.jsonl") == []


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> Any:
    """The first true value of the condition; fails when none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.01)
    pytest.fail(f"nothing came within {seconds} s")


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`eventually(condition, seconds=5)`: wait for a condition with a deadline."""
    return wait_until


@pytest.fixture
def modbus_frame() -> Callable[[str], bytes]:
    """`modbus_frame("02 04 …")`: the bytes with their CRC."""
    return lambda text: bytes.fromhex(text) + crc_modbus(bytes.fromhex(text))


@pytest.fixture
def arduino_frame() -> Callable[[str], bytes]:
    """`arduino_frame("C,…")`: the body as a line."""
    return framed
