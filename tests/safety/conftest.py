"""A closed loop in virtual time: modules, inverter, contactors, link and board as real things, around the production core."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from edge_agent.guard.model import RELAYS, Mode, Output, Reading, State
from edge_agent.guard.safety import interface as told
from edge_agent.guard.safety.core import Core
from shared.signals import ARDUINO, INVERTER, module_source

TICK_S = 0.01
LONG_TICK_S = 0.05
SLEW_A_PER_S = 200.0
COMM_TIMER_S = 2.0
CELL, CELSIUS, PLAIN = ("V", 0.01, 2.2), ("°C", 1.0, 0.0), ("", 1.0, 0.0)
PARTS = {
    "pdo1": {
        "CMA_Current": ("A", 0.1, 0.0), "CMA_Voltage": ("V", 0.01, 0.0), "Min_Cell_Voltage": CELL, "Max_Cell_Voltage": CELL,
        "CMA_Min_Temp": CELSIUS, "CMA_Max_Temp": CELSIUS,
    },
    "pdo2": {"CMA_Status": PLAIN, "SOC": ("%", 0.5, 0.0), "SOH": ("%", 1.0, 0.0), "CellBalancingStatus": PLAIN},
    "pdo3": {f"Cell_{k}_Voltage": CELL for k in range(1, 9)},
    "pdo4": {f"Cell_{k}_Voltage": CELL for k in range(9, 15)},
    "pdo6": {f"CMA_Temp{k}": CELSIUS for k in range(1, 8)},
}  # fmt: skip


def lab_settings(**changes: Any) -> told.Settings:
    inverter, arduino = (
        tuple(told.SignalInfo(s.name, s.unit, s.resolution, 0.0) for s in of) for of in (INVERTER, ARDUINO)
    )
    settings = told.Settings(
        module_parts={
            part: tuple(told.SignalInfo(name, *info) for name, info in of.items()) for part, of in PARTS.items()
        },
        inverter_signals=inverter,
        arduino_signals=arduino,
        commission_count=8,
        inverter=told.InverterSettings(),
        arduino=told.ArduinoSettings(),
    )
    return replace(settings, **changes)


@dataclass
class Board:
    """firmware/PROTOCOL.md in a few lines: armed by zero, dead-man, a line every 100 ms and after each command."""

    boot: int = 1
    mask: Output = Output.NONE
    armed: bool = False
    held: bool = False
    fed: float = float("-inf")
    line_due: float = 0.0
    present: bool = True
    talks: bool = True
    last_sent: tuple[Output, float] = (Output.NONE, float("-inf"))
    adc: dict[str, float] = field(default_factory=lambda: {"temp1": 25.0, "temp2": 25.0, "press": 75.0})
    ground_fault: int = 0
    deaf: bool = False
    stuck: bool = False

    def obey(self, mask: Output, now: float) -> None:
        if self.deaf or self.stuck:
            return
        if not mask & RELAYS:
            self.armed = True
        self.held = False
        self.mask = mask if self.armed else mask & ~RELAYS
        self.fed, self.line_due = now, now

    def tick(self, now: float) -> None:
        if now - self.fed > 3.5 and not self.stuck and not self.held and self.fed > float("-inf"):
            self.held, self.armed = True, False
            self.mask = Output.PUMP | Output.FAN

    def reset(self) -> None:
        self.boot += 1
        self.mask, self.armed, self.held, self.fed = Output.NONE, False, False, float("-inf")


@dataclass
class Inverter:
    """Registers and the current they cause; each write and each poll takes its time on the line."""

    mode: int = 0
    setpoint: float = 0.0
    epoch: int = 0
    queue: list[tuple[str, float]] = field(default_factory=list)
    busy_until: float = 0.0
    poll_due: float = 0.0
    silent: bool = False
    ignores: bool = False
    written: float = float("-inf")
    faults: int = 0
    other_faults: int = 0
    warnings: int = 0
    noise: Callable[[], float] = lambda: 0.0
    wanted: tuple[Mode, float] = (Mode.OFF, 0.0)


class Rig:
    """`run` time forward; look at `truth`, `state`, `answers`, `alarms`."""

    def __init__(self, settings: told.Settings | None = None, durable: told.Durable | None = None) -> None:
        self.settings = settings or lab_settings()
        self.now = 100.0
        self.cells = [[3.75] * self.settings.cells for _ in range(self.settings.series)]
        self.module_v, self.temperature_c = {}, [25.0] * self.settings.series
        self.silent, self.frozen = set[int](), set[int]()
        self.board, self.inverter = Board(), Inverter()
        self.welded, self.precharge_fails = Output.NONE, False
        self.link_v, self.current_a, self.bleed_tau_s = 0.0, 0.0, 2.0
        self.extra_readings, self.commands, self.orders, self.writes, self.truth, self.events = [], [], [], [], [], []
        self.answers, self.states, self.broker, self.estop = {}, {}, True, False
        self.durable = durable or told.Durable()
        self.written, self.write_delay_s, self.serial, self.tick_s = 0, 0.02, 0, TICK_S
        self._sync_due, self._cycle, self._contacts = 100.0, 0, Output.NONE
        self.start()

    def start(self) -> None:
        """A new agent on the same rig, with what its predecessor left on disk."""
        self.written = 0
        self.core = Core(self.settings, self.durable, self.now)
        self.writes = []

    @property
    def pack_v(self) -> float:
        return sum(sum(cells) for cells in self.cells)

    @property
    def contacts(self) -> Output:
        return (self.board.mask & RELAYS) | self.welded

    @property
    def closed(self) -> bool:
        return self.contacts & (Output.RELAY1 | Output.RELAY2) == Output.RELAY1 | Output.RELAY2

    def note(self, what: str, value: float) -> None:
        self.truth.append((self.now, what, value, self.current_a))

    def _note_contacts(self) -> None:
        if self.contacts != self._contacts:
            for number, bit in enumerate((Output.RELAY1, Output.RELAY2, Output.RELAY3), start=1):
                if (self.contacts ^ self._contacts) & bit:
                    self.note(f"relay.{number}", float(bool(self.contacts & bit)))
            self._contacts = self.contacts

    def _physics(self) -> None:
        inverter = self.inverter
        wanted_a = {0: 0.0, 1: inverter.setpoint * 1000.0 / self.pack_v, 2: inverter.setpoint}[inverter.mode]
        if self.closed:
            self.link_v = self.pack_v
            if not inverter.ignores:
                step = SLEW_A_PER_S * self.tick_s
                self.current_a += max(-step, min(step, wanted_a - self.current_a))
            return
        self.current_a = 0.0
        path = Output.RELAY2 | Output.RELAY3
        if self.contacts & path == path and not self.precharge_fails:
            self.link_v += (self.pack_v - self.link_v) * self.tick_s / 0.5
        else:
            self.link_v -= self.link_v * self.tick_s / self.bleed_tau_s

    def _can(self) -> list[Any]:
        if self.now < self._sync_due:
            return []
        self._sync_due += self.settings.sync_period_s
        self._cycle += 1
        found = [Reading("can", "sync", self.now, (self._cycle,), (float(self._cycle),))]
        for index in range(self.settings.series):
            if index + 1 not in self.silent:
                found += self.module_readings(index)
        return found

    def module_readings(self, index: int, number: int | None = None) -> list[Reading]:
        drop = self.current_a * 0.0008
        cells = [round((volts - drop - 2.2) / 0.01) for volts in self.cells[index]]
        total_v = self.module_v.get(index + 1, sum(self.cells[index]) - drop * len(cells))
        hot = round(self.temperature_c[index])
        padded = [*cells, *[0] * (14 - len(cells))]
        counts = {
            "pdo1": (-963, round(total_v / 0.01), min(cells), max(cells), hot, hot),
            "pdo2": (3 if index + 1 in self.frozen or self._cycle % 2 else 67, 0, 100, 0),
            "pdo3": tuple(padded[:8]),
            "pdo4": tuple(padded[8:]),
            "pdo6": (hot,) * 7,
        }
        source = module_source(number or index + 1)
        return [self.reading(source, part, raw) for part, raw in counts.items()]

    def reading(self, source: str, part: str, raw: tuple[int, ...], bad: tuple[tuple[int, str], ...] = ()) -> Reading:
        infos = self.settings.module_parts[part]
        values = tuple(count * info.scale + info.offset for count, info in zip(raw, infos, strict=True))
        return Reading(source, part, self.now, raw, values, bad)

    def _line(self, actions: told.Actions | None) -> list[Any]:
        """The RTU line: one transaction of 25 ms at a time, writes before polls, zero before mode before setpoint."""
        inverter, found = self.inverter, []
        order = actions.inverter if actions is not None else None
        if order is not None and (order.mode, order.setpoint, order.epoch) != (*inverter.wanted, inverter.epoch):
            old_mode = inverter.wanted[0]
            inverter.wanted, inverter.epoch = (order.mode, order.setpoint), order.epoch
            inverter.queue = [("mode", order.mode)] if order.mode != old_mode or order.mode != inverter.mode else []
            inverter.queue = [("setpoint", 0.0), *inverter.queue] if inverter.queue else []
            inverter.queue.append(("setpoint", order.setpoint))
        if inverter.silent or self.now < inverter.busy_until:
            return found
        if order is not None:
            inverter.written = self.now
        if inverter.queue:
            what, value = inverter.queue.pop(0)
            setattr(inverter, what, int(value) if what == "mode" else value)
            inverter.faults = 0
            inverter.busy_until = self.now + 0.025
            inverter.poll_due = self.now if not inverter.queue else inverter.poll_due
            self.note(f"inverter.{what}", value)
        elif self.now >= inverter.poll_due:
            inverter.poll_due = self.now + 0.25
            inverter.busy_until = self.now + 0.025
            found.append(self.poll())
        return found

    def poll(self) -> Reading:
        inverter = self.inverter
        named = {
            "battery_voltage": self.pack_v if self.closed else 0.0,
            "dc_bus_voltage": self.link_v,
            "power": self.current_a * self.pack_v / 1000.0,
            "current": self.current_a + inverter.noise(),
            "fault_control": float(inverter.faults),
            "fault_power_0": float(inverter.other_faults),
            "warnings": float(inverter.warnings),
            "mode": float(inverter.mode),
            "setpoint": inverter.setpoint,
        }
        values = tuple(named.get(signal.name, 0.0) for signal in self.settings.inverter_signals)
        return Reading("inverter", "poll", self.now, values, values)

    def _timers(self) -> None:
        inverter = self.inverter
        if self.now - inverter.written > COMM_TIMER_S and inverter.mode and inverter.written > 0:
            inverter.mode, inverter.setpoint, inverter.faults = 0, 0.0, 8
            self.note("inverter.mode", 0.0)

    def _arduino(self, actions: told.Actions | None) -> list[Any]:
        board = self.board
        order = actions.outputs if actions is not None else None
        if not board.present:
            return []
        mask, sent = board.last_sent
        if order is not None and order.feed and (order.mask != mask or self.now - sent >= 0.5):
            board.last_sent = (order.mask, self.now)
            board.obey(order.mask, self.now)
        board.tick(self.now)
        if not board.talks or order is None or not order.feed or self.now < board.line_due:
            return []
        board.line_due = self.now + 0.1
        return self.board_readings()

    def board_readings(self) -> list[Reading]:
        board = self.board
        raw = (board.boot, int(board.armed), int(board.held), int(board.mask), 0)
        values = (*(board.adc[name] for name in ("temp1", "temp2", "press")), 512.0, float(board.ground_fault))
        line = (*values, float(int(board.mask)))
        bad = tuple((i, "open_sensor") for i, value in enumerate(line) if math.isnan(value))
        shown = tuple(None if math.isnan(value) else value for value in line)
        return [
            Reading("arduino", "board", self.now, raw, tuple(map(float, raw))),
            Reading("arduino", "line", self.now, line, shown, bad),
        ]

    def tick(self, *, agent: bool = True) -> None:
        self.now = round(self.now + self.tick_s, 6)
        self._physics()
        self._timers()
        actions = self.orders[-1] if self.orders and agent else None
        arrivals = [*self._can(), *self._line(actions), *self._arduino(actions), *self.extra_readings]
        self.extra_readings = []
        self.board.tick(self.now)
        self._note_contacts()
        if not agent:
            return
        while self.writes and self.writes[0][0] <= self.now:
            order = self.writes.pop(0)[1]
            self.written, self.durable = order.ticket, order.record
        self.turn(arrivals)

    def turn(self, arrivals: list[Any]) -> told.Actions:
        commands, self.commands = tuple(self.commands), []
        inputs = told.Inputs(arrivals, commands, self.broker, self.written, "", self.estop)
        actions = self.core.turn(inputs, self.now)
        self.orders = [*self.orders[-1:], actions]
        for answer in actions.answers:
            self.answers.setdefault(answer.id, []).append(answer)
        self.events += actions.events
        self.states.update(actions.states)
        if actions.durable is not None:
            self.writes.append((self.now + self.write_delay_s, actions.durable))
        return actions

    def run(self, seconds: float, *, agent: bool = True) -> None:
        for _ in range(round(seconds / self.tick_s)):
            self.tick(agent=agent)

    def doze(self, seconds: float) -> None:
        """Run in the longest ticks the agent may take."""
        self.tick_s = LONG_TICK_S
        self.run(seconds)
        self.tick_s = TICK_S

    def until(self, condition: Callable[[], bool], seconds: float) -> float:
        """Run until the condition holds; how long it took. Not within `seconds`: the test fails."""
        began = self.now
        while not condition():
            self.tick()
            if self.now - began > seconds:
                pytest.fail(f"not within {seconds} s: state {self.state}, {self.states.get('state/safety')}")
        return self.now - began

    @property
    def state(self) -> State:
        return self.core.state.phase.state

    def command(
        self, target: str, *, local: bool = False, schedule: told.ScheduleFile | None = None, **body: Any
    ) -> str:
        self.serial += 1
        command_id = f"c{self.serial}"
        self.commands.append(told.Command(command_id, target, "E", "alice", body, local, schedule))
        return command_id

    def ask(self, target: str, **body: Any) -> Any:
        """Send and return the first answer."""
        command_id = self.command(target, **body)
        self.tick()
        return self.answers[command_id][0]

    def connect(self) -> None:
        """From wherever it starts to READY, in long ticks."""
        self.tick_s = LONG_TICK_S
        self.until(lambda: self.state is State.STANDBY and not self.unknown(), 12)
        answer = self.ask("contactor", action="close")
        assert answer.status == "accepted", answer
        self.until(lambda: self.state is State.READY, 15)
        self.tick_s = TICK_S

    def unknown(self) -> list[str]:
        return [name for name in self.states["state/safety"]["blocked"]["close"] if name.endswith(".stale")]

    def drive(self, setpoint: float) -> None:
        """One long step, until its current flows."""
        self.command_schedule(setpoint, seconds=1000.0)
        self.until(lambda: abs(self.current_a - setpoint) < 0.1, 10)

    def command_schedule(self, *setpoints: float, seconds: float = 25.0) -> None:
        """Start a schedule, by default ±35 A and ±60 A in turn, without waiting for the current."""
        steps = tuple(told.ScheduleStep(seconds, amps) for amps in setpoints or (-35.0, 35.0, -60.0, 60.0) * 3)
        answer = self.ask("schedule", schedule=told.ScheduleFile("s.csv", "A", steps), action="start", file="s.csv")
        assert answer.status == "accepted", answer

    def alarm(self, alarm_id: str) -> dict[str, Any]:
        return self.states.get(f"alarm/{alarm_id}", {"state": "never"})

    def opened(self, number: int, since: float = 0.0) -> list[tuple[float, str, float, float]]:
        return [e for e in self.truth if e[1] == f"relay.{number}" and not e[2] and e[0] >= since]


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    return lambda durable=None, **changes: Rig(lab_settings(**changes), durable)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def ready(rig: Rig) -> Rig:
    rig.connect()
    return rig


@pytest.fixture
def running(ready: Rig) -> Rig:
    ready.drive(-35.0)
    return ready


@pytest.fixture
def settings_of() -> Callable[..., told.Settings]:
    return lab_settings
