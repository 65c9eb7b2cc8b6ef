"""One life of the agent in virtual time: the production core, codecs, RTU client and inverter device, without threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_agent.config import EdgeConfig
from edge_agent.guard.board_permit import BoardPermit
from edge_agent.guard.codecs.can_frame import EXTENDED
from edge_agent.guard.codecs.canopen import Bmus
from edge_agent.guard.devices.arduino import ArduinoV2
from edge_agent.guard.devices.arduino_port import MUTE_S
from edge_agent.guard.devices.inverter import Inverter
from edge_agent.guard.devices.runner import FIRST_DELAY_S, GROWTH, LONGEST_DELAY_S, STEADY_S
from edge_agent.guard.loop import PACE_S, WAIT_S
from edge_agent.guard.model import NoData, Opened
from edge_agent.guard.ports import Arrival, NotYet
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.interface import Command, Durable, DurableWrite, Inputs, Settings
from shared.errors import DeviceError
from simulator.can_bus import Frame
from tests.evidence.lab import bus_of
from tests.evidence.wires import Event, VirtualRtu

if TYPE_CHECKING:
    from tests.evidence.world import World

GATHER_S = 0.002
DISK_S = 0.02
"""How long a durable write takes."""


class Line:
    """`devices.runner.Runner` without its thread: opens, reports, opens again after a growing delay."""

    def __init__(self, source: str, agent: Agent, open_it: Callable[[], str], close: Callable[[], None]) -> None:
        self.source, self._agent, self._open, self._close = source, agent, open_it, close
        self.is_open = False
        self.due = agent.world.now
        self._delay_s = FIRST_DELAY_S
        self._opened_at = 0.0

    def opened(self) -> bool:
        now = self._agent.world.now
        if self.is_open or now < self.due:
            return self.is_open
        try:
            identity = self._open()
        except NotYet:
            self._delay_s, self.due = FIRST_DELAY_S, now + 0.01
        except DeviceError as error:
            self.lost(error, "absent")
        else:
            self.is_open, self._opened_at = True, now
            self._agent.inbox.append(Opened(self.source, now, identity))
        return self.is_open

    def lost(self, error: DeviceError, reason: str = "lost") -> None:
        now = self._agent.world.now
        if self.is_open and now - self._opened_at > STEADY_S:
            self._delay_s = FIRST_DELAY_S
        self.is_open = False
        self._close()
        self._agent.inbox.append(NoData(self.source, "", now, reason, str(error)))
        self.due = now + self._delay_s
        self._delay_s = min(max(FIRST_DELAY_S, self._delay_s * GROWTH), LONGEST_DELAY_S)


class Port:
    """What the board's driver writes to."""

    def __init__(self, agent: Agent) -> None:
        self._cable, self._holder = agent.world.arduino_cable, agent
        self.in_waiting = 0

    def write(self, data: bytes) -> None:
        self._cable.check(self._holder)
        self._cable.to_device += data


class VirtualBoard(ArduinoV2):
    """The production driver of protocol v2; only its port is virtual."""

    def __init__(self, agent: Agent) -> None:
        super().__init__("virtual")
        self._agent = agent
        self.due = 0.0

    def open(self) -> str:
        if not self._permitted.is_set():
            raise NotYet("waiting for zero current")
        self._agent.world.arduino_cable.open(self._agent)
        self._sent = None
        self._lines.clear()
        self._heard = False
        self._quiet_since = self._agent.world.now + MUTE_S
        self._virtual_port: Any = Port(self._agent)
        return "virtual board"

    def close(self) -> None:
        self._agent.world.arduino_cable.close(self._agent)

    def turn(self, now: float) -> Sequence[Arrival]:
        cable = self._agent.world.arduino_cable
        self.due = self._send_due(self._virtual_port, now)
        data = cable.taken(self._agent)
        self.due = min(self.due, now + 0.25)
        if not data and now - self._quiet_since < self.silent_s:
            return ()
        arrivals = self._arrivals(self._lines.feed(data), now)
        # a first line allows the first command
        self.due = min(self.due, self._send_due(self._virtual_port, now))
        return arrivals


class Agent:
    """Everything of one process. `poll` does what its threads would do by now; `line_turn` is the RTU thread's turn."""

    def __init__(self, world: World, settings: Settings, config: EdgeConfig, record: Durable) -> None:
        self.world = world
        self.settings = settings
        now = world.now
        self.core = Core(settings, record, now)
        self.inbox: list[Arrival] = []
        self.commands: list[Command] = []
        self.frames: list[tuple[int, bytes, float]] = []
        self.frozen = self.stalled = False
        self.turns = 0
        self.events: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self._turned_at = now - 1.0
        self._disk: list[tuple[float, DurableWrite]] = []
        self._written = 0
        self._bmus = Bmus(bus_of(config).groups, settings.cells)
        self._can = Line("can", self, self._open_can, lambda: None)
        self._sync_due = self._gathered_at = now
        self.board = VirtualBoard(self)
        self._arduino = Line("arduino", self, self.board.open, self.board.close)
        self._permit = BoardPermit(
            self.board.permit_open, inverter=True, noise_a=settings.current_noise_a, wait_s=settings.wait_s, now=now
        )
        self.inverter = Inverter("virtual")
        self.inverter._rtu = VirtualRtu(world, world.inverter_cable)
        self.inverter._woken = Event(world)  # type: ignore[assignment]  # a thread's event, without the thread
        self.inverter._judged = Event(world)  # type: ignore[assignment]
        self._line = Line("inverter", self, self.inverter.open, self.inverter.close)

    @property
    def state(self) -> str:
        return self.core.state.phase.state.value

    def end(self) -> None:
        """The process is gone: its ports are closed by the kernel, what was not on disk is lost."""
        self.board.close()
        self.inverter.close()
        self._disk.clear()

    # ---- threads ----

    @property
    def due(self) -> float:
        """When `poll` has something to do next."""
        if self.frozen:
            return float("inf")
        due = self._turned_at + (PACE_S if self.inbox or self.commands else WAIT_S)
        if self._can.is_open:
            due = min(due, self._sync_due, self._gathered_at + GATHER_S if self.frames else self._sync_due)
        return min(due, self.board.due if self._arduino.is_open else self._arduino.due)

    def poll(self, now: float) -> None:
        while self._disk and self._disk[0][0] <= now:
            _, write = self._disk.pop(0)
            self.world.disk, self._written = write.record, write.ticket
        if self._can.opened():
            self._poll_can(now)
        if self._arduino.opened():
            self._poll_board(now)
        wait_s = PACE_S if self.inbox or self.commands else WAIT_S
        if not self.stalled and now >= self._turned_at + wait_s - 1e-9:
            self._turn(now)

    def line_turn(self) -> None:
        """One turn of the inverter's thread; the world goes on while it waits."""
        if not self._line.opened():
            self.world.wait(min(self._line.due, self.world.now + 0.25))
            return
        try:
            arrivals = self.inverter.read()  # the inbox of before is emptied meanwhile
            self.inbox.extend(arrivals)
        except DeviceError as error:
            self._line.lost(error)

    def _open_can(self) -> str:
        if not self.world.can_plugged:
            raise DeviceError("no such bus")
        self.frames.clear()
        self._bmus.restart()
        self._sync_due = self.world.now
        return "virtual bus"

    def _poll_can(self, now: float) -> None:
        if not self.world.can_plugged:
            self._can.lost(DeviceError("the adapter is gone"))
            return
        if now >= self._sync_due:
            turn = self._bmus.on_tick(now)
            for can_id, data in turn.frames:
                self.world.rig.bus.submit_host(Frame(can_id, data), now)
            self.inbox.extend(turn.arrivals)
            self._sync_due += (int((now - self._sync_due) / 0.2) + 1) * 0.2
        if self.frames and now >= self._gathered_at + GATHER_S - 1e-9:
            self._gathered_at = now
            self.inbox.extend(self._bmus.on_frames(self.frames))
            self.frames.clear()

    def _poll_board(self, now: float) -> None:
        try:
            self.inbox.extend(self.board.turn(now))
        except DeviceError as error:
            self._arduino.lost(error)

    def receive(self, frames: list[Frame], now: float) -> None:
        """The kernel's socket: frames wait there also while the process stands still."""
        if self._can.is_open:
            self.frames.extend((f.can_id | (EXTENDED if f.extended else 0), f.data, now) for f in frames)

    # ---- the loop ----

    def _turn(self, now: float) -> None:
        arrivals, self.inbox = self.inbox, []
        commands, self.commands = self.commands, []
        self.turns += 1
        self._turned_at = now
        actions = self.core.turn(Inputs(arrivals, commands, broker=True, written=self._written), now)
        if actions.inverter is not None:
            self.inverter.order_inverter(actions.inverter)
        if actions.outputs is not None:
            self.board.order_outputs(actions.outputs)
            self.board.due = min(self.board.due, now)
        if actions.durable is not None:
            self._disk.append((now + DISK_S, actions.durable))
        if arrivals:
            self._permit.see(arrivals)
        self._permit.at(now)
        self.events.extend(actions.events)  # type: ignore[arg-type]  # bodies are dicts
        self.answers.extend(actions.answers)
