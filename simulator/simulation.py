"""The rig behind its real links, driven by one loop in one thread: no locks, nothing blocks."""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from simulator.arduino_v2 import BoardV2
from simulator.can_bus import Frame
from simulator.can_link import open_can_link
from simulator.control import ControlServer
from simulator.control_door import Door
from simulator.links import Pty
from simulator.names import Names
from simulator.rig import BITRATE, Rig, RigSize
from simulator.rtu import BAUDRATE
from simulator.serial_port import SerialPort
from simulator.trace import Trace
from simulator.truth import Truth

TICK_S = 0.005
SHORTEST_WAIT_S = 0.001


class Simulation:
    """Opens the links in `directory`; `run` until `stop`, then `close`."""

    def __init__(self, size: RigSize, can: str, directory: Path, control: Path, truth: Path | None) -> None:
        self._stopped = False
        self._next_tick = 0.0
        self._selector = selectors.DefaultSelector()
        self._registered: dict[int, tuple[int, Callable[[float], None]]] = {}
        self._control_path = control
        with ExitStack() as opened:
            opened.callback(self._selector.close)
            self._open(size, can, directory, truth, opened)
            self.names = Names(self.rig)
            self._add_link_names()
            self.control = ControlServer(control, Door(self.rig, self.names, self.trace))
            opened.callback(self.control.close)
            self._opened = opened.pop_all()
        self._bind_faults()

    def _open(self, size: RigSize, can: str, directory: Path, truth: Path | None, opened: ExitStack) -> None:
        self.truth = Truth(truth)
        opened.callback(self.truth.close)
        self.trace = Trace()
        self.can = open_can_link(can, directory, BITRATE)
        opened.callback(self.can.unplug)
        self.rig = rig = Rig(size, self.truth, self._deliver, time.monotonic())
        self.inverter = SerialPort("inverter", Pty(directory / "inverter"), BAUDRATE, rig.rtu, self.trace)
        opened.callback(self.inverter.unplug)
        self.arduino = SerialPort("arduino", Pty(directory / "arduino"), rig.board.baudrate, rig.arduino, self.trace)
        opened.callback(self.arduino.unplug)
        self.arduino.opened = rig.reset_arduino

    @property
    def links(self) -> str:
        """The line of CONTRACT §6 that tells where everything is."""
        return json.dumps(
            {
                "can": self.can.described,
                "inverter": {"port": str(self.inverter.pty.link)},
                "arduino": {"port": str(self.arduino.pty.link)},
                "control": str(self._control_path),
            }
        )

    def stop(self) -> None:
        """Make `run` return soon; safe from a signal handler."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        while not self._stopped:
            self._register()
            ready = self._selector.select(self._wait_s(time.monotonic()))
            now = time.monotonic()
            self.rig.advance(now)
            for key, _ in ready:
                key.data(now)
            self._pump(now)

    def close(self) -> None:
        """Remove every link and socket."""
        self._opened.close()

    # ---- one turn ----

    def _wait_s(self, now: float) -> float:
        due = min(self._next_tick, self.rig.bus.due, self.inverter.due, self.arduino.due)
        if self.can.waiting:
            return SHORTEST_WAIT_S
        return min(TICK_S, max(SHORTEST_WAIT_S, due - now))

    def _pump(self, now: float) -> None:
        self.rig.nodes.tick(now)
        self.rig.bus.advance(now)
        if self.can.waiting:
            self.can.flush()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self.can.watch()
            self.inverter.watch()
            self.arduino.watch()
        self.inverter.pump(now)
        self.arduino.pump(now)

    def _register(self) -> None:
        """Keep the selector in step with the descriptors that exist now."""
        wanted = self._wanted()
        for fd in [fd for fd in self._registered if fd not in wanted]:
            self._forget(fd)
        for fd, (events, handler) in wanted.items():
            known = self._registered.get(fd)
            if known == (events, handler):
                continue
            if known is not None:
                self._forget(fd)
            self._selector.register(fd, events, handler)
            self._registered[fd] = (events, handler)

    def _forget(self, fd: int) -> None:
        """Before a descriptor is closed: its number may come back at once as another one's."""
        if self._registered.pop(fd, None) is not None:
            self._selector.unregister(fd)

    def _wanted(self) -> dict[int, tuple[int, Callable[[float], None]]]:
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        wanted: dict[int, tuple[int, Callable[[float], None]]] = {
            self.control.fd: (selectors.EVENT_READ, self._accept),
            self.can.fd: (selectors.EVENT_READ, self._hear),
        }
        for port in (self.inverter, self.arduino):
            if port.pty.is_open:
                wanted[port.pty.fd] = (selectors.EVENT_READ, port.receive)
        for client in self.control.clients:
            wanted[client.fd] = (both if client.writing else selectors.EVENT_READ, client.serve)
        wanted.pop(-1, None)
        return wanted

    def _accept(self, _now: float) -> None:
        self.control.accept()

    def _hear(self, now: float) -> None:
        for frame in self.can.receive():
            self.rig.bus.submit_host(frame, now)

    def _deliver(self, frames: list[Frame]) -> None:
        self.trace.add_frames(time.monotonic(), frames)  # the turn began before: what it did first is not the host's
        self.can.send(frames)

    # ---- unplugging ----

    def _bind_faults(self) -> None:
        self.rig.faults.on_change.update(
            {
                "can.unplug": self._plug_can,
                "inverter.unplug": lambda: self._plug("inverter.unplug", self.inverter),
                "arduino.unplug": lambda: self._plug("arduino.unplug", self.arduino),
            }
        )

    def _plug_can(self) -> None:
        self._forget(self.can.fd)
        if self.rig.faults.has("can.unplug"):
            self.can.unplug()
            self.rig.bus.clear()
        else:
            self.can.plug()

    def _plug(self, fault: str, port: SerialPort) -> None:
        self._forget(port.pty.fd)
        if self.rig.faults.has(fault):
            port.unplug()
        else:
            port.pty.plug()

    def _add_link_names(self) -> None:
        self.names.add("can.dropped", lambda: self.can.dropped)
        self.names.add("inverter.lost_bytes", lambda: self.inverter.lost_bytes)
        self.names.add("arduino.lost_bytes", lambda: self.arduino.lost_bytes)
        self.names.add("arduino.protocol", lambda: "v2" if isinstance(self.rig.board, BoardV2) else "v1")
