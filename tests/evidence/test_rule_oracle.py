"""The incremental rule engine says after each sample what the slow oracle of SAFETY §2 says."""

from __future__ import annotations

from edge_agent.guard.model import Mode, Reading
from edge_agent.guard.safety.engine import Engine, Situation
from tests.evidence.lab import lab_settings
from tests.evidence.traces import follow

WORTH = {
    "module-01.cell-01.voltage_high", "module-01.cell-02.voltage_low", "module-01.voltage_high", "module-01.temperature_high",
    "module-01.temperature_low", "module-01.cell_sum", "module-01.min_max", "module-01.cell_spread",
    "module-01.temperature_spread", "module-01.duplicate", "module-01.cell-03.extra", "pack.contradiction", "pack.voltage_high",
    "pack.voltage_low", "pack.over_current", "pack.over_power", "pack.current_while_open", "pack.current_against_command",
    "inverter.fault", "inverter.warning", "arduino.temp1_high", "arduino.press_low", "arduino.press_high",
    "arduino.temp2_sensor", "arduino.ground_fault",
}  # fmt: skip


def test_the_engine_equals_the_slow_oracle_on_random_traces() -> None:
    raised = follow(1000, 1)
    # the traces are worth something: each rule was up at the end of one
    assert set(raised) >= WORTH


def _polls(engine: Engine, t: float, amps: float, *, closed: bool, opened: bool) -> None:
    names = [signal.name for signal in lab_settings().inverter_signals]
    values = tuple(amps if name == "current" else None for name in names)
    engine.tick(Situation(closed, opened, None, Mode.OFF, 0.0), t)
    engine.feed(Reading("inverter", "poll", t, values, values))
    engine.tick(Situation(closed, opened, None, Mode.OFF, 0.0), t)
    engine.facts()


def test_samples_from_before_a_gate_closed_do_not_count_when_it_holds_again() -> None:
    # two of three samples of current in the open circuit, an hour of operation, then one more: that is not three in a row
    engine = Engine(lab_settings(), 0.0)
    for t in (1.0, 1.25):
        _polls(engine, t, 9.0, closed=False, opened=True)
    for t in (2.0, 3600.0):
        _polls(engine, t, 40.0, closed=True, opened=False)
    _polls(engine, 3601.0, 9.0, closed=False, opened=True)
    assert [active.id for active in engine.actives if "while_open" in active.id] == []
    for t in (3601.25, 3601.5):
        _polls(engine, t, 9.0, closed=False, opened=True)
    assert [active.id for active in engine.actives if "while_open" in active.id] == ["pack.current_while_open"]
