"""Each row of the rule table: one trace that trips it, one healthy trace that does not; and the settings' own check."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.guard.model import NoData, State
from edge_agent.guard.safety.interface import LimitOverride
from edge_agent.guard.safety.modules import Rows, part_checks
from edge_agent.guard.safety.rules import DEFAULTS, build
from edge_agent.guard.safety.trackers import Register


def cell(volts: Any, module: Any = 0, index: Any = 4) -> Any:
    return lambda rig: rig.cells[module].__setitem__(index, volts)


def all_cells(volts: Any) -> Any:
    def change(rig: Any) -> None:
        rig.cells[:] = [[volts] * 12 for _ in range(8)]

    return change


def module_v(volts: Any) -> Any:
    return lambda rig: rig.module_v.__setitem__(1, volts)


def hot(celsius: Any) -> Any:
    return lambda rig: rig.temperature_c.__setitem__(0, celsius)


def adc(name: Any, value: Any) -> Any:
    return lambda rig: rig.board.adc.__setitem__(name, value)


def attribute(name: Any, value: Any) -> Any:
    return lambda rig: setattr(rig.inverter, name, value)


def ground(rig: Any) -> None:
    rig.board.ground_fault = 1


def counts(part: Any, index: Any, change: Any) -> Any:
    """One count of every frame of module 1 is moved."""

    def wrap(rig: Any) -> Any:
        real = rig.module_readings

        def moved(module: Any, number: Any = None) -> Any:
            found = real(module, number)
            return [
                rig.reading(r.source, r.part, tuple(c + change * (i == index) for i, c in enumerate(r.raw)))
                if (module, r.part) == (0, part)
                else r
                for r in found
            ]

        rig.module_readings = moved

    return wrap


def polled(name: Any, value: Any) -> Any:
    def wrap(rig: Any) -> Any:
        real = rig.poll
        index = [s.name for s in rig.settings.inverter_signals].index(name)

        def moved() -> Any:
            poll = real()
            values = tuple(value if i == index else v for i, v in enumerate(poll.values))
            return poll._replace(values=values, raw=values)

        rig.poll = moved

    return wrap


def extra(rig: Any) -> Any:
    real = rig._can

    def more() -> Any:
        found = real()
        return found + rig.module_readings(0, 9) if found else found

    rig._can = more


def late_answers(rig: Any) -> Any:
    real = rig._can

    def more() -> Any:
        found = real()
        return found + rig.module_readings(0) if found else found

    rig._can = more


def reported_duplicates(rig: Any) -> Any:
    real = rig._can

    def more() -> Any:
        found = real()
        return [*found, NoData("module-01", "pdo1", rig.now, "duplicate")] if found else found

    rig._can = more


# rule, state in which it is judged, what happens, alarm, level, seconds until it is raised
TRIPS = [
    ("cell_voltage", "STANDBY", cell(4.21), "module-01.cell-05.voltage_high", "DANGER", 1.2),
    ("cell_voltage", "STANDBY", cell(2.69), "module-01.cell-05.voltage_low", "DANGER", 1.2),
    ("cell_voltage", "RUN", cell(4.13), "module-01.cell-05.voltage_high", "WARNING", 1.2),
    ("cell_voltage_fast", "STANDBY", cell(4.26), "module-01.cell-05.voltage_high", "DANGER", 0.7),
    ("cell_voltage_fast", "STANDBY", cell(2.49), "module-01.cell-05.voltage_low", "DANGER", 0.7),
    ("module_voltage", "STANDBY", module_v(49.0), "module-01.voltage_high", "DANGER", 1.2),
    ("module_voltage", "STANDBY", module_v(33.0), "module-01.voltage_low", "DANGER", 1.2),
    ("bus_voltage", "READY", polled("battery_voltage", 391.0), "pack.voltage_high", "DANGER", 1.5),
    ("bus_voltage", "READY", polled("battery_voltage", 263.0), "pack.voltage_low", "DANGER", 1.5),
    ("temperature", "STANDBY", hot(41), "module-01.temperature_high", "WARNING", 1.4),
    ("temperature", "STANDBY", hot(50), "module-01.temperature_high", "DANGER", 1.4),
    ("temperature_fast", "STANDBY", hot(60), "module-01.temperature_high", "DANGER", 0.7),
    ("thermistor", "STANDBY", adc("temp2", 50.0), "arduino.temp2_high", "DANGER", 4.0),
    ("temperature_low", "STANDBY", counts("pdo1", 4, -21), "module-01.temperature_low", "WARNING", 4.0),
    ("temperature_spread", "STANDBY", counts("pdo1", 4, -9), "module-01.temperature_spread", "WARNING", 4.0),
    ("cell_spread", "STANDBY", cell(3.86), "module-01.cell_spread", "WARNING", 4.0),
    ("cell_sum", "STANDBY", counts("pdo1", 1, 16), "module-01.cell_sum", "WARNING", 4.0),
    ("cell_sum", "STANDBY", counts("pdo1", 1, -51), "module-01.cell_sum", "FAULT", 4.0),
    ("module_sum", "READY", polled("battery_voltage", 360.0 * 1.032), "pack.module_sum", "FAULT", 4.0),
    ("min_max", "STANDBY", counts("pdo1", 3, 2), "module-01.min_max", "WARNING", 4.0),
    ("min_max", "STANDBY", counts("pdo1", 2, -5), "module-01.min_max", "FAULT", 4.0),
    ("over_current", "RUN", polled("current", -111.0), "pack.over_current", "DANGER", 1.2),
    ("over_power", "RUN", polled("power", 33.1), "pack.over_power", "DANGER", 1.2),
    ("current_open", "STANDBY", polled("current", 8.0), "pack.current_while_open", "CRITICAL", 1.2),
    ("current_envelope", "READY", polled("current", 9.0), "pack.current_against_command", "WARNING", 4.0),
    ("ground_fault", "STANDBY", ground, "arduino.ground_fault", "DANGER", 0.5),
    ("inverter_fault", "STANDBY", attribute("other_faults", 4), "inverter.fault", "DANGER", 0.5),
    ("inverter_fault", "STANDBY", polled("fault_control", 256.0), "inverter.fault", "DANGER", 0.5),
    ("inverter_comm_fault", "STANDBY", polled("fault_control", 8.0), "inverter.fault", "DANGER", 3.5),
    ("inverter_warning", "STANDBY", attribute("warnings", 8), "inverter.warning", "WARNING", 0.5),
    ("extra_module", "STANDBY", extra, "module-09.extra", "FAULT", 9.0),
    ("duplicate", "STANDBY", reported_duplicates, "module-01.duplicate", "FAULT", 3.0),
    ("extra_cell", "STANDBY", counts("pdo4", 4, 150), "module-01.cell-13.extra", "FAULT", 3.0),
]

HEALTHY = [
    ("cell_voltage", "STANDBY", all_cells(3.99)),
    ("cell_voltage", "STANDBY", all_cells(2.85)),
    ("cell_voltage", "RUN", cell(3.80)),
    ("module_voltage", "STANDBY", module_v(45.1)),
    ("bus_voltage", "READY", polled("battery_voltage", 361.0)),
    ("bus_voltage", "STANDBY", polled("battery_voltage", 0.0)),
    ("temperature", "RUN", hot(39)),
    ("thermistor", "RUN", adc("temp2", 39.0)),
    ("temperature_low", "STANDBY", hot(6)),
    ("temperature_spread", "STANDBY", counts("pdo1", 4, -7)),
    ("cell_spread", "STANDBY", cell(3.84)),
    ("cell_sum", "RUN", counts("pdo1", 1, 14)),
    ("min_max", "RUN", counts("pdo1", 3, 1)),
    ("module_sum", "READY", polled("battery_voltage", 364.0)),
    ("over_current", "RUN", polled("current", -101.0)),
    ("over_power", "RUN", polled("power", 30.5)),
    ("current_open", "STANDBY", polled("current", 5.0)),
    ("current_envelope", "READY", polled("current", 2.9)),
    ("pressure", "RUN", adc("press", 140.0)),
    ("inverter_fault", "RUN", attribute("other_faults", 0)),
    ("duplicate", "RUN", late_answers),
]


def bring(rig: Any, state: Any) -> None:
    if state == "STANDBY":
        rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 10.0)
        return
    rig.connect()
    if state == "RUN":
        rig.drive(-35.0)


@pytest.mark.parametrize("trip", TRIPS, ids=lambda trip: f"{trip[0]}-{trip[4]}")
def test_each_rule_trips_on_its_violation(rig: Any, trip: Any) -> None:
    rule, state, change, alarm, level, within = trip
    bring(rig, state)
    change(rig)
    rig.until(lambda: rig.alarm(alarm).get("level") == level, within)
    assert rule in build(rig.settings)
    body = rig.alarm(alarm)
    assert body["state"] == "active"
    rig.doze(9.0)
    assert (rig.state is State.LATCHED) == (level != "WARNING")


@pytest.mark.parametrize(("rule", "state", "change"), HEALTHY, ids=lambda v: v if isinstance(v, str) else "")
def test_each_rule_stays_quiet_on_a_healthy_trace(rig: Any, rule: Any, state: Any, change: Any) -> None:
    bring(rig, state)
    change(rig)
    rig.run(6.0)
    raised = [e["alarm"] for e in rig.events if e["kind"] == "alarm"]
    assert raised == [], rule
    assert rig.state is State[state]


def test_a_short_violation_does_not_trip(running: Any) -> None:
    running.temperature_c[0] = 52.0
    running.run(0.4)
    running.temperature_c[0] = 30.0
    running.run(3.0)
    assert running.state is State.RUN


def test_an_alarm_clears_only_inside_its_hysteresis_and_after_a_while(rig: Any) -> None:
    bring(rig, "STANDBY")
    rig.temperature_c[0] = 41.0
    rig.run(2.0)
    rig.temperature_c[0] = 38.0
    rig.run(5.0)
    assert rig.alarm("module-01.temperature_high")["state"] == "active"
    rig.temperature_c[0] = 37.0
    rig.run(0.7)
    assert rig.alarm("module-01.temperature_high")["state"] == "active"
    rig.run(1.0)
    assert rig.alarm("module-01.temperature_high")["state"] == "cleared"


def test_module_currents_are_recorded_and_never_judged(rig: Any) -> None:
    bring(rig, "STANDBY")
    assert rig.reading("module-01", "pdo1", (-1570, 4500, 155, 155, 25, 25)).values[0] == -157.0
    rig.run(5.0)
    assert [e for e in rig.events if e["kind"] == "alarm"] == []


def test_cold_blocks_charging_and_far_below_both_directions(rig: Any) -> None:
    rig.connect()
    counts("pdo1", 4, -26)(rig)
    rig.run(3.5)
    blocked = rig.states["state/safety"]["blocked"]
    assert (blocked["charge"], blocked["discharge"]) == (["module-01.temperature_low"], [])
    counts("pdo1", 4, -20)(rig)
    rig.run(3.5)
    assert rig.states["state/safety"]["blocked"]["discharge"] == ["module-01.temperature_low"]
    assert rig.ask("inverter", mode="current", setpoint=5.0).code == "E_BLOCKED_DISCHARGE"


def test_a_warning_takes_the_worsening_direction_away_at_once_and_gives_it_back_slowly(running: Any) -> None:
    running.cells[0][0] = 4.12
    running.until(lambda: running.alarm("module-01.cell-01.voltage_high")["state"] == "active", 2.0)
    running.run(0.5)
    assert running.orders[-1].inverter.setpoint == 0.0
    running.cells[0][0] = 4.0
    running.until(lambda: running.alarm("module-01.cell-01.voltage_high")["state"] == "cleared", 4.0)
    running.run(10.0)
    assert running.current_a == pytest.approx(-5.0, abs=1.0)
    assert running.state is State.RUN


def test_a_module_that_stands_still_under_load_is_a_warning_then_a_fault(make_rig: Any) -> None:
    rig = make_rig(limits={"frozen": LimitOverride(warning=5.0, danger=10.0, hysteresis=1.0)})
    rig.connect()
    rig.drive(-35.0)
    rig.frozen = {3}
    rig.until(lambda: rig.alarm("module-03.frozen").get("level") == "WARNING", 9.0)
    rig.until(lambda: rig.alarm("module-03.frozen").get("level") == "FAULT", 9.0)
    assert rig.alarm("module-02.frozen")["state"] == "never"


def test_a_module_without_pdo6_is_a_warning_and_drives_on_by_the_temperatures_of_pdo1(running: Any) -> None:
    readings = running.module_readings
    running.module_readings = lambda index: [r for r in readings(index) if (r.source, r.part) != ("module-03", "pdo6")]
    running.doze(6.0)
    assert running.alarm("module-03.thermistors_missing")["level"] == "WARNING"
    assert running.alarm("module-02.thermistors_missing")["state"] == "never"
    assert running.state is State.RUN
    running.temperature_c[2] = 55.0
    running.until(lambda: running.state is State.LATCHED, 4.0)
    running.module_readings = readings
    running.doze(8.0)
    assert running.alarm("module-03.thermistors_missing")["state"] == "cleared"


def test_a_module_that_warms_by_two_kelvin_a_minute_is_a_warning_only(rig: Any) -> None:
    bring(rig, "STANDBY")
    for minute in range(4):
        rig.temperature_c[0] = 25.0 + 3 * minute
        rig.doze(60.0)
    assert rig.alarm("module-01.temperature_rate")["level"] == "WARNING"
    assert rig.alarm("module-02.temperature_rate")["state"] == "never"
    assert rig.state is State.STANDBY


def test_pressure_has_limits_only_when_they_are_configured(make_rig: Any) -> None:
    rig = make_rig(limits={"pressure": LimitOverride(danger=(5.0, 120.0))})
    bring(rig, "STANDBY")
    rig.board.adc["press"] = 130.0
    rig.until(lambda: rig.alarm("arduino.press_high").get("level") == "DANGER", 3.0)
    assert rig.alarm("arduino.press_high")["limit"] == 120.0


@pytest.mark.parametrize(
    ("action", "state", "level"), [("trip", "LATCHED", "DANGER"), ("warn", "RUN", "WARNING"), ("record", "RUN", None)]
)
def test_the_action_of_a_row_says_what_it_may_do(make_rig: Any, action: Any, state: Any, level: Any) -> None:
    override = LimitOverride(action=action)
    rig = make_rig(limits={"temperature": override, "temperature_fast": override})
    rig.connect()
    rig.drive(-35.0)
    rig.temperature_c[0] = 61.0
    rig.run(5.0)
    assert rig.state is State[state]
    assert rig.alarm("module-01.temperature_high").get("level") == level


def test_a_second_trusted_current_that_disagrees_is_a_fault(rig: Any) -> None:
    bring(rig, "READY")
    judge = rig.core._engine.inverter
    rig.until(lambda: not judge.note_other_current(rig.now, 9.0) and rig.state is State.LATCHED, 6.0)
    assert "pack.currents_disagree" in rig.states["state/safety"]["latches"]


def test_every_module_cell_and_temperature_is_judged_high_and_low(settings_of: Any) -> None:
    settings = settings_of()
    found = set()
    rig_rules = build(settings)
    rows = Rows(settings, rig_rules, Register())
    for module in range(1, 9):
        for signals in settings.module_parts.values():
            for judged in part_checks(rows, f"module-{module:02d}", signals):
                found |= {(condition.alarm.id, condition.level.name) for condition in judged.conditions}
    for module in range(1, 9):
        for number in range(1, 13):
            for side in ("high", "low"):
                name = f"module-{module:02d}.cell-{number:02d}.voltage_{side}"
                assert {(name, "WARNING"), (name, "DANGER")} <= found
        assert (f"module-{module:02d}.temperature_high", "DANGER") in found


def test_bus_and_module_limits_follow_the_pack(settings_of: Any) -> None:
    rows = build(settings_of(series=4, cells=6))
    assert rows["bus_voltage"].danger == (pytest.approx(66.0), pytest.approx(97.5))
    assert rows["module_voltage"].warning == (17.0, 24.0)
    assert set(DEFAULTS) <= set(rows)


@pytest.mark.parametrize(
    ("part", "alarm"), [("writes", "inverter.write_refused"), ("limits", "inverter.limit_clamped")]
)
def test_what_the_inverter_refuses_or_clamps_is_a_warning_for_a_while(rig: Any, part: Any, alarm: Any) -> None:
    bring(rig, "STANDBY")
    rig.extra_readings.append(NoData("inverter", part, rig.now, "invalid", "register 41030"))
    rig.run(1.0)
    assert (rig.alarm(alarm)["level"], rig.alarm(alarm)["state"]) == ("WARNING", "active")
    rig.doze(11.0)
    assert rig.alarm(alarm)["state"] == "cleared"


def test_single_spikes_of_a_thermistor_are_taken_out_by_the_median(rig: Any) -> None:
    bring(rig, "STANDBY")
    real, lines = rig.board_readings, []

    def spiky() -> Any:
        lines.append(1)
        rig.board.adc["temp1"] = 70.0 if len(lines) % 4 == 0 else 30.0
        return real()

    rig.board_readings = spiky
    rig.run(6.0)
    assert rig.alarm("arduino.temp1_high")["state"] == "never"
