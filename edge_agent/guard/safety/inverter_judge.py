"""The rules of the inverter's poll: bus, currents, powers, fault words, the envelope of what was commanded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edge_agent.guard.model import Mode, Reading
from edge_agent.guard.safety.facts import InverterFacts, Sample
from edge_agent.guard.safety.interface import Settings, SignalInfo
from edge_agent.guard.safety.modules import ELECTRIC, Rows
from edge_agent.guard.safety.rules import Gate, small_current_a
from edge_agent.guard.safety.trackers import Alarm, Condition, Scale, conditions

COMM_BITS, TIMER_BIT = 0b1001, 0b1000
FAULT_WORDS = ("fault_control", "fault_power_0", "fault_power_1", "fault_extra_0", "fault_extra_1", "fault_extra_2")
SETTLE_S = 1.0
READBACK_AFTER_S = 1.5
READBACK_TOLERANCE = 0.05
PLAIN = Scale(half=1e-9)


class Ordered(NamedTuple):
    """What was commanded from `t` on, in the inverter's unit and in A."""

    t: float
    mode: Mode
    setpoint: float
    amps: float


class Poll(NamedTuple):
    """One poll, by name; absent or bad values are left out."""

    t: float
    values: dict[str, float]
    module_sum_v: float | None


class Envelope:
    """The commands that may still show in the current: those in effect within the settling time."""

    def __init__(self, ramp_a_per_s: float) -> None:
        self._ramp = ramp_a_per_s
        self._orders: deque[Ordered] = deque([Ordered(float("-inf"), Mode.OFF, 0.0, 0.0)], maxlen=600)
        self.mode_since = float("-inf")

    @property
    def last(self) -> Ordered:
        """The order in effect."""
        return self._orders[-1]

    def note(self, order: Ordered) -> None:
        """Remember a command when it differs from the one before."""
        if order.mode is not self.last.mode:
            self.mode_since = order.t
        if order[1:] != self.last[1:]:
            self._orders.append(order)

    def settle_s(self) -> float:
        """1 s + step / ramp, of the largest step still remembered."""
        amps = [order.amps for order in self._orders]
        return SETTLE_S + (max(amps) - min(amps)) / self._ramp

    def opposite_a(self, current_a: float, now: float) -> float:
        """How far the current runs against every command of the settling time; 0 or less when it does not."""
        since = now - self.settle_s()
        while len(self._orders) > 1 and self._orders[1].t <= since:
            self._orders.popleft()
        amps = [order.amps for order in self._orders]
        return max(-current_a if min(amps) >= 0 else 0.0, current_a if max(amps) <= 0 else 0.0)


class Judged(NamedTuple):
    """A judged value of the poll: how it is worked out (None: not now) and its conditions."""

    value: Callable[[Poll], float | None]
    conditions: list[Condition]


class InverterJudge:
    """Feed polls; keeps the last believed current, link voltage and read-back."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._names = [signal.name for signal in rows.settings.inverter_signals]
        self.envelope = Envelope(rows.settings.ramp_a_per_s)
        self.facts = InverterFacts()
        self.current: Sample | None = None
        self.link: Sample | None = None
        self.battery_v: float | None = None
        self.t_good = float("-inf")
        self.gates: frozenset[Gate] = frozenset({Gate.ALWAYS})
        self._other_current: tuple[float, float] | None = None
        self._ran_since = float("nan")
        self._rules = _rules(rows, self.envelope, self)

    def opened(self) -> None:
        """Its line was opened again: whatever was written may be lost."""
        self.facts = self.facts._replace(opened=self.facts.opened + 1)

    def forget(self, gate: Gate) -> None:
        """A gate no longer holds: samples from before are not consecutive with those after it holds again."""
        for rule in self._rules:
            for condition in rule.conditions:
                if condition.gate is gate:
                    condition.reset()

    def note_other_current(self, t: float, amps: float) -> None:
        """A second trusted current, from a source that is not the inverter."""
        self._other_current = (t, amps)

    def disagreement_a(self, poll: Poll) -> float | None:
        """How far the trusted currents are apart; None with fewer than two fresh ones."""
        if self._other_current is None or "current" not in poll.values or poll.t - self._other_current[0] > 1.0:
            return None
        return abs(poll.values["current"] - self._other_current[1])

    def trip(self, poll: Poll) -> float | None:
        """1 while the inverter is off by itself: it was seen to run in a mode that is still ordered."""
        envelope, mode = self.envelope, poll.values.get("mode")
        if mode is None:
            return None
        ordered = envelope.last.mode
        if ordered is not Mode.OFF and int(mode) == ordered:
            self._ran_since = envelope.mode_since
        return float(int(mode) == Mode.OFF and ordered is not Mode.OFF and self._ran_since == envelope.mode_since)

    def mismatch(self, poll: Poll) -> float | None:
        """1 when mode or setpoint still read back differently well after they were ordered.

        Not while the inverter is off by itself: that is `trip`, which has HOLD's time until everything is written again.
        """
        order, mode, setpoint = self.envelope.last, poll.values.get("mode"), poll.values.get("setpoint")
        if mode is None or setpoint is None:
            return None
        if poll.t - order.t < READBACK_AFTER_S or self.trip(poll):
            return 0.0
        return float(int(mode) != order.mode or abs(setpoint - order.setpoint) > READBACK_TOLERANCE)

    def feed(self, reading: Reading, module_sum_v: float | None) -> None:
        """Judge one poll."""
        bad = {index for index, _ in reading.bad}
        values = {
            name: value
            for index, (name, value) in enumerate(zip(self._names, reading.values, strict=False))
            if value is not None and index not in bad
        }
        poll = Poll(reading.t_mono, values, module_sum_v)
        self._remember(poll)
        for rule in self._rules:
            value = rule.value(poll)
            if value is None:
                continue
            for condition in rule.conditions:
                if condition.gate in self.gates and condition.sample(value, poll.t):
                    self._rows.register.update(condition, round(value, 3))

    def _remember(self, poll: Poll) -> None:
        facts, values = self.facts, poll.values
        mode, timed_out = values.get("mode"), bool(int(values.get("fault_control", 0)) & TIMER_BIT)
        self.facts = InverterFacts(
            facts.seq + 1, poll.t, None if mode is None else int(mode), values.get("setpoint"), facts.opened, timed_out
        )
        self.battery_v = values.get("battery_voltage", self.battery_v)
        if "current" in values:
            self.current = Sample(self.facts.seq, poll.t, values["current"])
            self.t_good = poll.t
        if "dc_bus_voltage" in values:
            self.link = Sample(self.facts.seq, poll.t, values["dc_bus_voltage"])


def _scale_of(signals: tuple[SignalInfo, ...], name: str) -> Scale:
    """Values are physical; half the resolution of the signal is what a threshold gives way."""
    return next((Scale(half=0.499 * abs(signal.scale)) for signal in signals if signal.name == name), PLAIN)


def _rules(rows: Rows, envelope: Envelope, judge: InverterJudge) -> list[Judged]:
    settings, rules = rows.settings, rows.rules
    signals = settings.inverter_signals

    def build(key: str, alarm: Alarm, name: str = "", side: int = 1) -> list[Condition]:
        return conditions(alarm, rules[key], side, _scale_of(signals, name))

    battery = "battery_voltage"
    return [
        Judged(_of(battery), build("bus_voltage", Alarm("pack.voltage_low", ("discharge",), ELECTRIC), battery, 0)),
        Judged(_of(battery), build("bus_voltage", Alarm("pack.voltage_high", ("charge",), ELECTRIC), battery)),
        Judged(_sum_error, build("module_sum", Alarm("pack.module_sum", effects=ELECTRIC))),
        Judged(_current_load(settings), build("over_current", Alarm("pack.over_current", effects=ELECTRIC))),
        Judged(_power_load(settings), build("over_power", Alarm("pack.over_power", effects=ELECTRIC))),
        Judged(_magnitude, build("current_open", Alarm("pack.current_while_open", effects=ELECTRIC), "current")),
        Judged(judge.disagreement_a, build("current_agree", Alarm("pack.currents_disagree", effects=ELECTRIC))),
        Judged(
            _opposite(envelope),
            _zeroing(build("current_envelope", Alarm("pack.current_against_command", effects=("inverter_zero",)))),
        ),
        Judged(_faults, build("inverter_fault", Alarm("inverter.fault", effects=ELECTRIC))),
        Judged(_comm_fault, build("inverter_comm_fault", Alarm("inverter.fault", effects=ELECTRIC))),
        Judged(_of("warnings", 1.0), build("inverter_warning", Alarm("inverter.warning"))),
        Judged(judge.trip, _zeroing(build("inverter_trip", Alarm("inverter.trip", effects=("inverter_zero",))))),
        Judged(judge.mismatch, build("inverter_readback", Alarm("inverter.readback", effects=ELECTRIC))),
    ]


def _zeroing(found: list[Condition]) -> list[Condition]:
    """The reaction of these is setpoint 0, not a latch."""
    for condition in found:
        condition.zero = True
    return found


Value = Callable[[Poll], float | None]


def _of(name: str, most: float | None = None) -> Value:
    def value(poll: Poll) -> float | None:
        found = poll.values.get(name)
        return found if found is None or most is None else min(found, most)

    return value


def _sum_error(poll: Poll) -> float | None:
    bus_v = poll.values.get("battery_voltage")
    if poll.module_sum_v is None or bus_v is None or poll.module_sum_v <= 0:
        return None
    return abs(bus_v - poll.module_sum_v) / poll.module_sum_v * 100.0


def _magnitude(poll: Poll) -> float | None:
    current_a = poll.values.get("current")
    return None if current_a is None else abs(current_a)


def _current_load(settings: Settings) -> Value:
    """Current as a percentage of the limit of its direction."""
    limits = settings.inverter

    def value(poll: Poll) -> float | None:
        current_a = poll.values.get("current")
        if current_a is None or limits is None:
            return None
        # noise is not load: what counts as no current at all is never a percentage of a small limit
        if abs(current_a) < small_current_a(settings):
            return 0.0
        return 100.0 * (current_a / limits.max_discharge_a if current_a > 0 else -current_a / limits.max_charge_a)

    return value


def _power_load(settings: Settings) -> Value:
    limits = settings.inverter

    def value(poll: Poll) -> float | None:
        power_kw = poll.values.get("power")
        return None if power_kw is None or limits is None else 100.0 * abs(power_kw) / limits.max_power_kw

    return value


def _opposite(envelope: Envelope) -> Value:
    def value(poll: Poll) -> float | None:
        current_a = poll.values.get("current")
        return None if current_a is None else envelope.opposite_a(current_a, poll.t)

    return value


def _faults(poll: Poll) -> float | None:
    words = [int(poll.values[name]) for name in FAULT_WORDS if name in poll.values]
    if not words:
        return None
    control = int(poll.values.get("fault_control", 0)) & ~COMM_BITS
    return float(bool(control or any(int(poll.values.get(name, 0)) for name in FAULT_WORDS[1:])))


def _comm_fault(poll: Poll) -> float | None:
    word = poll.values.get("fault_control")
    return None if word is None else float(bool(int(word) & COMM_BITS))
