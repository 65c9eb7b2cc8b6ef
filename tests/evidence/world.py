"""The simulator's rig and the agent's production code in one process and one virtual time: real bytes both ways."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import core_settings
from edge_agent.guard.devices import inverter as inverter_device
from edge_agent.guard.devices import rtu as rtu_device
from edge_agent.guard.safety.interface import Command, Durable, ScheduleFile, ScheduleStep
from simulator.can_bus import Frame
from simulator.main import Options, rig_size
from simulator.names import Names
from simulator.rig import Rig
from simulator.rtu import BAUDRATE
from simulator.serial_port import SerialPort
from simulator.truth import Truth
from tests.evidence.agent import Agent
from tests.evidence.lab import bus_of, lab_config
from tests.evidence.wires import Cable, Clock, NoTrace

STEP_S = 0.02
BUS_S = 0.002
"""Frames are handed over this late at most: the bus is looked at in bundles, as the agent gathers them."""


class Killed(BaseException):
    """The process that was waiting is gone."""


class World:
    """`connect`, `command`, `at`, `run`; judge by `truth`. Only one may run at a time: see `clocked`."""

    def __init__(self, seed: int = 1, profile: str = "ideal", config: EdgeConfig | None = None) -> None:
        self.now = 1000.0
        self.config = config or lab_config()
        self.settings = core_settings(self.config, bus_of(self.config))
        self.truth = Truth()
        self.rig = Rig(rig_size(Options(seed=seed, profile=profile)), self.truth, self._deliver, self.now)
        self.names = Names(self.rig)
        self.disk = Durable()
        self.can_plugged = True
        self.lives = 0
        self.inverter_cable, self.arduino_cable = Cable(), Cable()
        cables: list[Any] = [self.inverter_cable, self.arduino_cable]
        self._ports = (
            SerialPort("inverter", cables[0], BAUDRATE, self.rig.rtu, NoTrace()),
            SerialPort("arduino", cables[1], self.rig.board.baudrate, self.rig.arduino, NoTrace()),
        )
        self.arduino_cable.opened = self.rig.reset_arduino
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.agent: Agent | None = None
        self.rig.faults.on_change.update(
            {
                "can.unplug": self._plug_can,
                "inverter.unplug": lambda: self._plug("inverter.unplug", self.inverter_cable, self._ports[0]),
                "arduino.unplug": lambda: self._plug("arduino.unplug", self.arduino_cable, self._ports[1]),
            }
        )
        self.start()

    # ---- the process ----

    def start(self) -> None:
        """The agent starts with what is on disk."""
        self.lives += 1
        self.agent = Agent(self, self.settings, self.config, self.disk)

    def kill(self) -> None:
        """SIGKILL."""
        if self.agent is not None:
            self.agent.end()
        self.agent = None

    @property
    def living(self) -> Agent:
        assert self.agent is not None
        return self.agent

    # ---- time ----

    def at(self, t: float, call: Callable[[], None]) -> None:
        """Call it when the world is at `t`."""
        heapq.heappush(self._calls, (t, next(self._numbers), call))

    def run(self, seconds: float, until: Callable[[], object] | None = None) -> bool:
        """Let time pass, at most about 0.6 s more than asked; True when `until` came true."""
        end = self.now + seconds
        while self.now < end:
            if until is not None and until():
                return True
            if self.agent is None or self.agent.frozen:
                self._step(end)
                continue
            try:
                self.agent.line_turn()
            except Killed:
                continue
        return until is not None and bool(until())

    def wait(self, until: float, ready: Callable[[], bool] | None = None) -> None:
        """A thread of the agent waits. Raises Killed when its process ends meanwhile."""
        waiting = self.agent
        while ready is None or not ready():
            if self.now >= until:
                break
            self._step(until)
            while waiting is not None and waiting.frozen and self.agent is waiting:
                self._step(self.now + STEP_S)
            if self.agent is not waiting:
                raise Killed

    def _step(self, limit: float) -> None:
        now = self.now
        agent = self.agent
        bus, (inverter, arduino) = self.rig.bus, self._ports
        inverter_due, arduino_due = inverter.due, arduino.due
        due = min(limit, now + STEP_S, inverter_due, arduino_due, max(bus.due, now + BUS_S))
        if agent is not None:
            due = min(due, agent.due)
        if self._calls:
            due = min(due, self._calls[0][0])
        self.now = now = max(due, now + 1e-4)
        self.rig.advance(now)
        while self._calls and self._calls[0][0] <= now:
            heapq.heappop(self._calls)[2]()
        if self.rig.faults.has("can.flood"):
            self.rig.nodes.tick(now)
        if bus.due <= now:
            bus.advance(now)
        if inverter_due <= now or self.inverter_cable.to_device:
            self._pump(inverter, self.inverter_cable)
        if arduino_due <= now or self.arduino_cable.to_device:
            self._pump(arduino, self.arduino_cable)
        if self.agent is not None and not self.agent.frozen:
            self.agent.poll(now)

    def _pump(self, port: SerialPort, cable: Cable) -> None:
        if cable.to_device:
            port._to_device.put(bytes(cable.to_device), self.now)
            cable.to_device.clear()
        port.pump(self.now)

    def _deliver(self, frames: list[Frame]) -> None:
        if self.agent is not None and self.can_plugged:
            self.agent.receive(frames, self.now)

    # ---- cables ----

    def _plug_can(self) -> None:
        self.can_plugged = not self.rig.faults.has("can.unplug")
        if not self.can_plugged:
            self.rig.bus.clear()

    def _plug(self, fault: str, cable: Cable, port: SerialPort) -> None:
        if self.rig.faults.has(fault):
            cable.unplug()
            port._cut()
        else:
            cable.plugged = True

    # ---- the operator ----

    def command(self, target: str, klass: str, **body: Any) -> str:
        """Ask for something; the id under which it is answered."""
        name = f"c{next(self._numbers)}"
        schedule = body.pop("schedule", None)
        asked = Command(name, target, klass, "operator", body, schedule=schedule)  # type: ignore[arg-type]  # a letter
        self.living.commands.append(asked)
        return name

    def rest(self) -> None:
        """From the start to STANDBY with every source fresh."""
        assert self.run(20.0, lambda: self.living.state == "STANDBY"), self.living.state
        # nothing closes before every source has been steady for a second
        assert self.run(20.0, lambda: not self.living.core._facts.unknown), self.living.core._facts.unknown

    def connect(self) -> None:
        """From the start to READY."""
        self.rest()
        self.command("contactor", "E", action="close")
        assert self.run(120.0, lambda: self.living.state == "READY"), (self.living.state, self.living.answers)

    def drive(self, *steps: tuple[float, float]) -> None:
        """Start a schedule of (seconds, ampere)."""
        file = ScheduleFile("evidence.csv", "A", tuple(ScheduleStep(*step) for step in steps))
        self.command("schedule", "E", action="start", file="evidence.csv", schedule=file)
        assert self.run(5.0, lambda: self.living.state == "RUN"), (self.living.state, self.living.answers)


@contextmanager
def clocked(world: World) -> Iterator[World]:
    """The device modules of this process read this world's clock."""
    clock: Any = Clock(world)
    modules: list[Any] = [inverter_device, rtu_device]
    before = [module.time for module in modules]
    for module in modules:
        module.time = clock
    try:
        yield world
    finally:
        for module, was in zip(modules, before, strict=True):
            module.time = was
