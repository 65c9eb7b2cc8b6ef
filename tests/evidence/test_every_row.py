"""Each row of SAFETY §2 on the production engine: a trace that raises its alarm, and one just inside the limit that does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from edge_agent.guard.model import Level, Mode, NoData, Reading
from edge_agent.guard.safety.engine import Engine, Situation
from edge_agent.guard.safety.rules import DEFAULTS
from tests.evidence.lab import lab_settings

W, D, F, C = Level.WARNING, Level.DANGER, Level.FAULT, Level.CRITICAL
CELL_RAW, MODULE_RAW = 155, 4500
HEALTHY_POLL = {
    "battery_voltage": 360.0,
    "current": 0.0,
    "power": 0.0,
    "mode": 2.0,
    "setpoint": 0.0,
    "fault_control": 0.0,
}


class Case(NamedTuple):
    """What is moved (part, signal → raw or physical value) to trip the row, and to what without tripping it."""

    alarm: str
    level: Level
    trips: dict[str, float]
    stays: dict[str, float]
    seconds: float = 4.0
    closed: bool = False
    limits: dict[str, Any] | None = None


ROWS: dict[str, list[Case]] = {
    "cell_voltage": [
        Case("module-01.cell-05.voltage_high", D, {"Cell_5_Voltage": 200}, {"Cell_5_Voltage": 189}),
        Case("module-01.cell-05.voltage_low", D, {"Cell_5_Voltage": 50}, {"Cell_5_Voltage": 61}),
    ],
    "cell_voltage_fast": [
        Case("module-01.cell-05.voltage_high", D, {"Cell_5_Voltage": 205}, {"Cell_5_Voltage": 199}, 0.45),
        Case("module-01.cell-05.voltage_low", D, {"Cell_5_Voltage": 30}, {"Cell_5_Voltage": 51}, 0.45),
    ],
    "module_voltage": [
        Case("module-01.voltage_high", D, {"CMA_Voltage": 4900}, {"CMA_Voltage": 4799}),
        Case("module-01.voltage_low", D, {"CMA_Voltage": 3300}, {"CMA_Voltage": 3401}),
    ],
    "bus_voltage": [
        Case("pack.voltage_high", D, {"battery_voltage": 390.0}, {"battery_voltage": 383.9}, closed=True),
        Case("pack.voltage_low", D, {"battery_voltage": 264.0}, {"battery_voltage": 268.1}, closed=True),
    ],
    "temperature": [Case("module-01.temperature_high", D, {"CMA_Max_Temp": 50}, {"CMA_Max_Temp": 39})],
    "temperature_fast": [Case("module-01.temperature_high", D, {"CMA_Temp4": 60}, {"CMA_Temp4": 39}, 0.45)],
    "thermistor": [Case("arduino.temp1_high", D, {"temp1": 50.0}, {"temp1": 39.9})],
    "temperature_low": [Case("module-01.temperature_low", W, {"CMA_Min_Temp": 5}, {"CMA_Min_Temp": 6})],
    "temperature_rate": [Case("module-01.temperature_rate", W, {"warming": 2.4}, {"warming": 1.8}, 200.0)],
    "temperature_spread": [Case("module-01.temperature_spread", W, {"CMA_Min_Temp": 17}, {"CMA_Min_Temp": 18})],
    "cell_spread": [Case("module-01.cell_spread", W, {"Cell_5_Voltage": 165}, {"Cell_5_Voltage": 164})],
    "cell_sum": [Case("module-01.cell_sum", F, {"CMA_Voltage": 4550}, {"CMA_Voltage": 4514})],
    "module_sum": [Case("pack.module_sum", F, {"battery_voltage": 371.0}, {"battery_voltage": 365.0}, 6.0, closed=True)],
    "min_max": [Case("module-01.min_max", F, {"Max_Cell_Voltage": 160}, {"Max_Cell_Voltage": 156})],
    "current_agree": [Case("pack.currents_disagree", F, {"other": 8.0}, {"other": 5.5})],
    "current_envelope": [Case("pack.current_against_command", W, {"current": 3.1}, {"current": 2.9}, closed=True)],
    "over_current": [Case("pack.over_current", D, {"current": -110.5}, {"current": -101.0}, closed=True)],
    "over_power": [Case("pack.over_power", D, {"power": 33.1}, {"power": 30.5}, closed=True)],
    "current_open": [Case("pack.current_while_open", C, {"current": 5.7}, {"current": 5.5})],
    "contradiction": [
        Case("pack.contradiction", D, {"Cell_1_Voltage": 190, "Cell_2_Voltage": 60}, {"Cell_1_Voltage": 190, "Cell_2_Voltage": 61}),
    ],
    "frozen": [
        Case("module-02.frozen", F, {"current": 6.0}, {"current": 4.0}, 30.0, closed=True, limits={
            "frozen": {"warning": 5.0, "danger": 20.0, "hysteresis": 1.0}
        }),
    ],
    "pressure": [
        Case("arduino.press_high", D, {"press": 120.0}, {"press": 110.0}, limits={"pressure": {"danger": (5.0, 120.0)}}),
    ],
    "ground_fault": [Case("arduino.ground_fault", D, {"ground_fault": 1.0}, {"ground_fault": 0.0})],
    "inverter_fault": [
        Case("inverter.fault", D, {"fault_control": 256.0}, {"fault_control": 0.0}),
        Case("inverter.fault", D, {"fault_control": 8.0}, {"fault_control": 0.0}),
    ],
    "inverter_warning": [Case("inverter.warning", W, {"warnings": 8.0}, {"warnings": 0.0})],
}  # fmt: skip
ELSEWHERE = {"overrun"}
"""Judged by the supervisor, not by the engine: tests/safety."""
CASES = [(key, case) for key, cases in ROWS.items() for case in cases]


class Trace:
    """A pack as it rests, with one thing moved."""

    def __init__(self, case: Case, moved: dict[str, float]) -> None:
        self.settings = lab_settings(limits=case.limits or {})
        self.case, self.moved, self.now = case, moved, 0.0
        self.engine = Engine(self.settings, 0.0)
        self.seen: dict[str, Level] = {}

    def run(self) -> dict[str, Level]:
        """Three quiet seconds, then what is moved for as long as the case says; the worst of each alarm."""
        for seconds, moved in ((3.0, {}), (self.case.seconds, self.moved)):
            until = self.now + seconds - 1e-9
            while self.now < until:
                self.now += 0.2
                self.turn(moved)
        return self.seen

    def turn(self, moved: dict[str, float]) -> None:
        engine = self.engine
        engine.feed(Reading("can", "sync", self.now, (0,), (0.0,)))
        for number in range(1, 9):
            for reading in self.module(number, moved if number == 1 else {}):
                engine.feed(reading)
        if "other" in moved:
            engine.inverter.note_other_current(self.now, moved["other"])
        engine.feed(self.named("inverter", "poll", self.settings.inverter_signals, {**HEALTHY_POLL, **moved}))
        board = {"temp1": 25.0, "temp2": 25.0, "press": 75.0, "ground_fault": 0.0, "pins": 0.0, **moved}
        engine.feed(self.named("arduino", "line", self.settings.arduino_signals, board))
        closed = self.case.closed
        engine.tick(Situation(closed, not closed, tuple(range(1, 9)), Mode.CURRENT, 0.0), self.now)
        engine.facts()
        for active in engine.actives:
            self.seen[active.id] = max(active.level, self.seen.get(active.id, Level.OK))

    def named(self, source: str, part: str, signals: Any, values: dict[str, float]) -> Reading:
        found = tuple(values.get(signal.name) for signal in signals)
        return Reading(source, part, self.now, found, found)

    def module(self, number: int, moved: dict[str, float]) -> Iterator[Reading]:
        warmth = 25 + round(moved.get("warming", 0.0) * (self.now - 3.0) / 60.0)
        # a quiet noise, but not on the module that stands still
        volts = MODULE_RAW + (0 if number == 2 and self.case.alarm.endswith("frozen") else int(self.now * 5) % 2)
        rest = {"CMA_Voltage": volts, "CMA_Min_Temp": warmth, "CMA_Max_Temp": warmth}
        for part in ("pdo1", "pdo3", "pdo4", "pdo6"):
            counts = []
            for signal in self.settings.module_parts[part]:
                name = signal.name
                usual = rest.get(name, CELL_RAW if "Cell" in name else warmth if "Temp" in name else 0)
                counts.append(moved.get(name, 0 if name in {"Cell_13_Voltage", "Cell_14_Voltage"} else usual))
            yield Reading(f"module-{number:02d}", part, self.now, tuple(counts), tuple(counts))


def test_there_is_a_trace_for_each_row_of_the_table() -> None:
    assert set(ROWS) | ELSEWHERE == set(DEFAULTS)


@pytest.mark.parametrize(("key", "case"), CASES, ids=lambda value: value if isinstance(value, str) else value.alarm)
def test_a_row_is_raised_beyond_its_limit(key: str, case: Case) -> None:
    assert Trace(case, case.trips).run().get(case.alarm) == case.level, key


@pytest.mark.parametrize(("key", "case"), CASES, ids=lambda value: value if isinstance(value, str) else value.alarm)
def test_a_row_stays_quiet_just_inside_its_limit(key: str, case: Case) -> None:
    assert Trace(case, case.stays).run().get(case.alarm, Level.OK) < case.level, key


def test_two_senders_of_one_module_are_a_fault_and_one_late_frame_is_none() -> None:
    case = Case("module-01.duplicate", F, {}, {})
    trace = Trace(case, {})
    trace.run()
    trace.engine.feed(NoData("module-01", "pdo1", trace.now, "duplicate"))
    assert trace.run() == {}
    for _ in range(6):
        trace.engine.feed(NoData("module-01", "pdo1", trace.now, "duplicate"))
        trace.now += 0.2
        trace.turn({})
    assert trace.seen == {"module-01.duplicate": F}
