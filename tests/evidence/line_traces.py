"""Random polls of the inverter under gates that open and close, and random lines of the Arduino."""

from __future__ import annotations

from statistics import median

from edge_agent.guard.model import Mode, Reading
from edge_agent.guard.safety.engine import Situation
from tests.evidence import oracle
from tests.evidence.oracle import C, D, Row, Sample, Stream, W
from tests.evidence.trace import CELLS, Trace, settings


class InverterTrace(Trace):
    """Polls under gates that open and close."""

    def __init__(self, seed: object) -> None:
        super().__init__(seed)
        res = {signal.name: 0.499 * abs(signal.scale) for signal in settings().inverter_signals}
        part, plain, streams = CELLS / 96, 1e-9, self.streams
        bus = [
            Row(f"pack.voltage_{side}", level, *way(limit * part, clear * part, res["battery_voltage"]), 3, 0.6, "closed")
            for side, way, level, limit, clear in (
                ("high", oracle.above, W, 384.0, 382.0), ("high", oracle.above, D, 390.0, 388.0),
                ("low", oracle.below, W, 268.0, 270.0), ("low", oracle.below, D, 264.0, 266.0),
            )
        ]  # fmt: skip
        streams["battery_voltage"] = Stream(-1e9, 1e9, bus)
        streams["over_current"] = oracle.rows_of(
            "pack.over_current", "closed", plain, (3, 0.3), (W, 102, 2), (D, 110, 2)
        )
        streams["over_power"] = oracle.rows_of("pack.over_power", "closed", plain, (3, 0.3), (W, 102, 2), (D, 110, 2))
        streams["open"] = oracle.rows_of("pack.current_while_open", "open", res["current"], (3, 0.3), (C, 5.6, 0.5))
        streams["against"] = oracle.rows_of("pack.current_against_command", "closed", plain, (5, 2.0), (W, 3, 1))
        streams["fault"] = oracle.flag("inverter.fault", D, 1, 0.0)
        streams["comm"] = oracle.flag("inverter.fault", D, 3, 2.0)
        streams["warning"] = oracle.flag("inverter.warning", W, 1, 0.0)
        self.names = [signal.name for signal in settings().inverter_signals]

    def gates(self) -> None:
        if self.dice.random() < 0.12:
            self.closed = not self.closed
            self.opened = not self.closed and self.dice.random() < 0.8
            for row in self.rows():
                if row.gate != "always" and row.gate not in self.held:
                    row.forget()
            # the engine hears of it in the next turn, as from the loop
            self.engine.tick(Situation(self.closed, self.opened, None, Mode.OFF, 0.0), self.now)

    @property
    def held(self) -> tuple[str, ...]:
        return ("always", *(["closed"] if self.closed else []), *(["open"] if self.opened else []))

    def sample(self) -> None:
        walk = self.walk
        values: dict[str, float] = {
            "battery_voltage": walk("v", 7.5, (5.49, 5.5, 5.51, 5.53, 5.54, 5.55, 5.58, 5.6, 5.62, 5.63, 7.95, 8.0, 8.05, 8.1, 8.13)),
            "current": walk("i", 0.0, (1.9, 2.0, 2.1, 2.9, 3.0, 3.1, -3.1, 5.05, 5.1, 5.2, 5.59, 5.6, -5.6, 100.1, 102, -103, 110, -111)),
            "power": walk("p", 0.0, (29.9, 30.0, 30.6, 30.7, 32.3, 32.4, 33.0, -33.1)),
            "fault_control": walk("f", 0, (0, 0, 1, 2, 8, 9, 16)),
            "fault_power_0": walk("g", 0, (0, 0, 0, 0, 4)),
            "warnings": walk("w", 0, (0, 0, 8)),
        }  # fmt: skip
        for name in list(values):
            if self.dice.random() < 0.03:
                del values[name]
        told = tuple(values.get(name) for name in self.names)
        self.feed(Reading("inverter", "poll", self.now, told, told))
        for name, value in self.judged(values).items():
            self.streams[name].see(Sample(self.now, value), self.held)

    def judged(self, values: dict[str, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        if "battery_voltage" in values:
            found["battery_voltage"] = values["battery_voltage"]
        if "current" in values:
            amps = abs(values["current"])
            found |= {"over_current": 0.0 if amps < 5.6 else 100.0 * amps / 100.0, "open": amps, "against": amps}
        if "power" in values:
            found["over_power"] = 100.0 * abs(values["power"]) / 30.0
        if "fault_control" in values:
            found["comm"] = float(bool(int(values["fault_control"]) & 9))
        if "fault_control" in values or "fault_power_0" in values:
            bits = int(values.get("fault_control", 0)) & ~9 | int(values.get("fault_power_0", 0))
            found["fault"] = float(bits > 0)
        if "warnings" in values:
            found["warning"] = min(values["warnings"], 1.0)
        return found


class BoardTrace(Trace):
    """Lines of the Arduino: thermistors by the median of five, pressure, ground fault, broken sensors."""

    def __init__(self, seed: object) -> None:
        super().__init__(seed)
        streams = self.streams
        self.recent: dict[str, list[float]] = {"temp1": [], "temp2": []}
        for name in self.recent:
            streams[name] = oracle.rows_of(f"arduino.{name}_high", "always", 0.0499, (5, 2.0), (W, 40, 3), (D, 50, 3))
            streams[name].rows[0].off_s = 30.0
        half = 0.499 * 0.2
        press = [
            Row(f"arduino.press_{side}", level, *way(limit, limit + margin, half), 5, 1.0)
            for side, way, level, limit, margin in (
                ("low", oracle.below, W, 20.0, 1.0), ("low", oracle.below, D, 10.0, 1.0),
                ("high", oracle.above, W, 120.0, -1.0), ("high", oracle.above, D, 140.0, -1.0),
            )
        ]  # fmt: skip
        streams["press"] = Stream(-1e9, 1e9, press)
        for name in ("temp1", "temp2", "press"):
            streams[f"{name} broken"] = oracle.flag(f"arduino.{name}_sensor", W, 5, 1.0)
        streams["ground"] = oracle.flag("arduino.ground_fault", D, 2, 0.1)

    def sample(self) -> None:
        heat = (36.9, 37.0, 37.1, 39.9, 40.0, 46.9, 47.0, 47.1, 49.9, 50.0, 60.0)
        values: list[float | None] = [self.walk(name, 25.0, heat) for name in self.recent]
        values += [
            self.walk("press", 75.0, (9.8, 10.0, 10.2, 11.0, 11.2, 19.8, 20.0, 21.0, 21.2, 119.0, 120.0, 139.0, 140.0))
        ]
        values += [500.0, self.walk("ground", 0.0, (0.0, 1.0)), 0.0]
        broken = {i for i in (0, 1, 2) if self.walk(f"broken {i}", 0, (0, 0, 1, 1))}
        told = tuple(None if i in broken else value for i, value in enumerate(values))
        self.feed(Reading("arduino", "line", self.now, told, told, tuple((i, "open_sensor") for i in sorted(broken))))
        for i, name in enumerate(("temp1", "temp2", "press")):
            self.streams[f"{name} broken"].see(Sample(self.now, float(i in broken)))
            value = told[i]
            if value is None:
                continue
            if name in self.recent:
                self.recent[name] = [*self.recent[name], value][-5:]
                value = median(self.recent[name])
            self.streams[name].see(Sample(self.now, value))
        self.streams["ground"].see(Sample(self.now, values[4] or 0.0))
