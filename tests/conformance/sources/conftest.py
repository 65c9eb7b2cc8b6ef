"""Every source on a rig of its own: the simulator's links, and a python-can bus inside this process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import can
import pytest

import dbc
from edge_agent.guard.codecs.dbc import groups, load
from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2
from edge_agent.guard.devices.can_bus import CanBus
from edge_agent.guard.devices.inverter import Inverter
from edge_agent.guard.model import InverterOrder, Mode
from edge_agent.guard.ports import Device

ABSENT = "/dev/serial/by-id/nothing"
PDOS = {0x180: "00002e12aeaf1719", 0x380: "aeafadaeafaeaead", 0x480: "aeaeafad00000000"}


class Simulator:
    """The simulator as a process of its own, and its control socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "simulator", "--modules", "2", "--directory", str(folder), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.links: dict[str, Any] = json.loads(self._process.stdout.readline())

    def ask(self, request: dict[str, object]) -> dict[str, Any]:
        """One request on the control socket."""
        with socket.socket(socket.AF_UNIX) as control, control.makefile("rw") as lines:
            control.connect(self.links["control"])
            lines.write(json.dumps(request) + "\n")
            lines.flush()
            answer: dict[str, Any] = json.loads(lines.readline())
        assert "error" not in answer, answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(5.0)
        assert self._process.stdout is not None
        self._process.stdout.close()


class VirtualBmu:
    """One module on a python-can bus in this process: answers each SYNC."""

    def __init__(self, channel: str) -> None:
        self._bus = can.Bus(interface="virtual", channel=channel, ignore_config=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._bus.shutdown()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._bus.recv(0.02)
            if message is not None and message.arbitration_id == 0x080:
                for base, data in PDOS.items():
                    self._bus.send(can.Message(arbitration_id=base + 1, data=bytes.fromhex(data), is_extended_id=False))


@dataclass(frozen=True)
class Rig:
    """One source with what the suite needs to know of it. `absent` makes the same device without its far end."""

    device: Device
    absent: Callable[[], Device]
    expected: frozenset[tuple[str, str]]
    keep: Callable[[], None]
    unplug: Callable[[], None]
    plug: Callable[[], None]


def can_bus(link: dict[str, Any]) -> CanBus:
    """A device on this link with the project's own DBC."""
    modules = groups(load(dbc.path()), r"BMU(?P<module>\d\d)_")
    return CanBus(modules, 12, sync_period_s=0.05, **link)


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Simulator]]:
    """One simulator for each set of options, started when it is first needed."""
    running: dict[tuple[str, ...], Simulator] = {}

    def started(*options: str) -> Simulator:
        if options not in running:
            running[options] = Simulator(tmp_path_factory.mktemp("rig"), *options)
        return running[options]

    yield started
    for one in running.values():
        one.close()


def _on_can(simulator: Simulator) -> Rig:
    link = simulator.links["can"]
    modules = {(f"module-{number:02d}", part) for number in (1, 2) for part in ("pdo1", "pdo3", "pdo4", "pdo6")}
    return _pluggable(
        simulator,
        "can",
        can_bus(link),
        lambda: can_bus({**link, "channel": ABSENT}),
        frozenset({("can", "sync"), *modules}),
    )


def _pluggable(
    simulator: Simulator, name: str, device: Device, absent: Callable[[], Device], expected: frozenset[tuple[str, str]]
) -> Rig:
    fault = f"{name}.unplug"
    return Rig(
        device,
        absent,
        expected,
        lambda: None,
        lambda: _void(simulator.ask({"fault": fault})),
        lambda: _void(simulator.ask({"heal": fault})),
    )


def _void(_: object) -> None:
    return None


@pytest.fixture
def unix(simulators: Callable[..., Simulator]) -> Rig:
    return _on_can(simulators("--can", "unix"))


@pytest.fixture
def slcan(simulators: Callable[..., Simulator]) -> Rig:
    return _on_can(simulators("--can", "slcan", "--arduino-protocol", "v1"))


@pytest.fixture
def virtual() -> Iterator[Rig]:
    channel = uuid.uuid4().hex
    link = {"interface": "virtual", "channel": channel, "bitrate": 500_000}
    far_end = VirtualBmu(channel)
    expected = frozenset({("can", "sync"), ("module-01", "pdo1"), ("module-01", "pdo3"), ("module-01", "pdo4")})
    nothing = {**link, "interface": "no-such-interface"}
    yield Rig(can_bus(link), lambda: can_bus(nothing), expected, lambda: None, lambda: None, lambda: None)
    far_end.close()


@pytest.fixture
def inverter(simulators: Callable[..., Simulator]) -> Rig:
    simulator = simulators("--can", "unix")
    device = Inverter(simulator.links["inverter"]["port"], poll_period_s=0.1)
    rig = _pluggable(simulator, "inverter", device, lambda: Inverter(ABSENT), frozenset({("inverter", "poll")}))

    def renew() -> None:
        device.order_inverter(InverterOrder(Mode.OFF, 0.0, time.monotonic() + 5.0, 1))

    return Rig(rig.device, rig.absent, rig.expected, renew, rig.unplug, rig.plug)


def _permitted(board: ArduinoV1 | ArduinoV2) -> Device:
    board.permit_open()
    return board


@pytest.fixture
def arduino_v2(simulators: Callable[..., Simulator]) -> Rig:
    simulator = simulators("--can", "unix")
    board = _permitted(ArduinoV2(simulator.links["arduino"]["port"]))
    parts = frozenset({("arduino", "board"), ("arduino", "line")})
    return _pluggable(simulator, "arduino", board, lambda: _permitted(ArduinoV2(ABSENT)), parts)


@pytest.fixture
def arduino_v1(simulators: Callable[..., Simulator]) -> Rig:
    simulator = simulators("--can", "slcan", "--arduino-protocol", "v1")
    pins = {"pump": 6}
    board = _permitted(ArduinoV1(simulator.links["arduino"]["port"], pins=pins))
    parts = frozenset({("arduino", "line")})
    return _pluggable(simulator, "arduino", board, lambda: _permitted(ArduinoV1(ABSENT, pins=pins)), parts)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Rig:
    """The rig that a parametrised test names."""
    found: Rig = request.getfixturevalue(request.param)
    return found
