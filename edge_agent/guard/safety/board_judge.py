"""The rules of the Arduino's lines: thermistors by median, pressure, ground fault, broken sensors, and what its pins say."""

from __future__ import annotations

from collections import deque
from statistics import median

from edge_agent.guard.model import Output, Reading
from edge_agent.guard.safety.facts import BoardFacts
from edge_agent.guard.safety.modules import ELECTRIC, HEATING, Rows
from edge_agent.guard.safety.trackers import Alarm, Condition, Scale, conditions

MEDIAN_OF = 5
THERMISTORS = ("temp1", "temp2")


class BoardJudge:
    """Feed `board` and `line` readings. A sensor that is fitted and cannot be believed is an alarm, never a number."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        settings = rows.settings
        fitted = settings.arduino.sensors if settings.arduino is not None else ()
        self._index = {signal.name: index for index, signal in enumerate(settings.arduino_signals)}
        self._fitted = tuple(name for name in fitted if name in self._index)
        self._recent = {name: deque[float](maxlen=MEDIAN_OF) for name in self._fitted if name in THERMISTORS}
        self._rules = {name: self._sensor_rules(name) for name in self._fitted}
        self._broken = {name: conditions(Alarm(f"arduino.{name}_sensor"), rows.rules["sensor"], 1) for name in fitted}
        ground = Alarm("arduino.ground_fault", effects=ELECTRIC)
        self._ground = conditions(ground, rows.rules["ground_fault"], 1)
        self.facts = BoardFacts()
        self.unbelieved: frozenset[str] = frozenset(self._recent)

    def _sensor_rules(self, name: str) -> list[Condition]:
        signal = self._rows.settings.arduino_signals[self._index[name]]
        tolerance, rules = Scale(half=0.499 * abs(signal.scale)), self._rows.rules
        if name in THERMISTORS:
            return conditions(Alarm(f"arduino.{name}_high", effects=HEATING), rules["thermistor"], 1, tolerance)
        low, high = (Alarm(f"arduino.{name}_{side}", effects=ELECTRIC) for side in ("low", "high"))
        rule = rules["pressure"]
        return [*conditions(low, rule, 0, tolerance), *conditions(high, rule, 1, tolerance)]

    def feed(self, reading: Reading) -> None:
        """Judge one reading of the source `arduino`."""
        if reading.part == "board":
            self._board(reading)
        else:
            self._line(reading)

    def _board(self, reading: Reading) -> None:
        boot, armed, held = (int(value or 0) for value in reading.raw[:3])
        self.facts = self.facts._replace(boot=boot, armed=bool(armed), held=bool(held))

    def _line(self, reading: Reading) -> None:
        values, t = reading.values, reading.t_mono
        bad = {index for index, _ in reading.bad}
        pins = self._believed(values, "pins", bad)
        mask = None if pins is None else Output(int(pins) & 31)
        self.facts = self.facts._replace(seq=self.facts.seq + 1, t=t, pins=mask)
        broken = set()
        for name in self._fitted:
            value = self._believed(values, name, bad)
            self._sample(self._broken[name], float(value is None), t)
            if value is None:
                broken.add(name)
            else:
                self._sensor(name, value, t)
        self.unbelieved = frozenset(broken)
        ground = self._believed(values, "ground_fault", bad)
        if ground is not None:
            self._sample(self._ground, ground, t)

    def _believed(self, values: tuple[float | None, ...], name: str, bad: set[int]) -> float | None:
        index = self._index.get(name)
        return None if index is None or index in bad or index >= len(values) else values[index]

    def _sensor(self, name: str, value: float, t: float) -> None:
        recent = self._recent.get(name)
        if recent is not None:
            recent.append(value)
            value = median(recent)
        self._sample(self._rules[name], value, t)

    def _sample(self, found: list[Condition], value: float, t: float) -> None:
        for condition in found:
            if condition.sample(value, t):
                self._rows.register.update(condition, round(value, 2))

    def hottest_c(self) -> float:
        """The highest median of the fitted thermistors; -inf before the first."""
        return max((median(recent) for recent in self._recent.values() if recent), default=float("-inf"))

    def heat_unknown(self) -> bool:
        """Whether a fitted thermistor cannot be believed now, or never was."""
        return any(name in self.unbelieved or not recent for name, recent in self._recent.items())
