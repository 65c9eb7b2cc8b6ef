"""What went wrong on the lab's rig before (reference list, by number), each line as a regression test."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edge_agent.guard.model import Mode, NoData, Output, State
from edge_agent.guard.safety.interface import InverterSettings, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.schedule import ScheduleFault, parse


def test_mistake_02_a_module_that_dies_keeps_its_alarm_and_its_number(running: Any) -> None:
    running.silent = {4}
    running.until(lambda: running.state is State.LATCHED, 20.0)
    running.doze(20.0)
    assert running.alarm("module-04.stale")["state"] == "active"
    assert running.core.state.vault.record.roster == tuple(range(1, 9))


@pytest.mark.parametrize("cell", range(1, 13))
def test_mistake_03_cell_12_is_checked(rig: Any, cell: Any) -> None:
    rig.cells[6][cell - 1] = 4.22
    rig.until(lambda: rig.state is State.LATCHED, 8.0)
    assert f"module-07.cell-{cell:02d}.voltage_high" in rig.states["state/safety"]["latches"]


@pytest.mark.parametrize(
    ("volts", "level"),
    [
        (2.81, None),
        (2.80, "WARNING"),
        (2.71, "WARNING"),
        (2.70, "DANGER"),
        (4.09, None),
        (4.10, "WARNING"),
        (4.20, "DANGER"),
    ],
)
def test_mistake_04_a_threshold_trips_at_its_own_count(rig: Any, volts: Any, level: Any) -> None:
    rig.cells[0][:] = [volts] * 12
    rig.module_v[1] = volts * 12
    rig.run(6.0)
    side = "low" if volts < 3 else "high"
    assert rig.alarm(f"module-01.cell-05.voltage_{side}").get("level") == level


def test_mistake_05_under_voltage_is_low_and_blocks_discharge_only(rig: Any) -> None:
    rig.cells[2][3] = 2.75
    rig.run(6.0)
    blocked = rig.states["state/safety"]["blocked"]
    assert blocked["discharge"] == ["module-03.cell-04.voltage_low"]
    assert blocked["charge"] == []


def test_mistake_06_low_and_high_cells_together_allow_neither_direction_and_latch(running: Any) -> None:
    running.cells[2][3], running.cells[5][1] = 2.75, 4.15
    running.until(lambda: running.alarm("pack.contradiction")["state"] == "active", 3.0)
    assert running.orders[-1].inverter.setpoint == 0.0
    running.until(lambda: running.state is State.LATCHED, 4.0)
    blocked = running.states["state/safety"]["blocked"]
    assert blocked["charge"]
    assert blocked["discharge"]


def test_mistake_07_a_silent_bus_takes_the_setpoint_away(running: Any) -> None:
    running.silent = set(range(1, 9))
    running.until(lambda: running.current_a == 0.0, 3.0)
    assert running.orders[-1].inverter.setpoint == 0.0


def test_mistake_08_danger_is_no_trap_states_go_on_and_a_reset_leads_back(running: Any) -> None:
    running.temperature_c[0] = 55.0
    running.until(lambda: running.state is State.LATCHED, 4.0)
    running.temperature_c[0] = 25.0
    running.doze(35.0)
    running.states.clear()
    running.command("safety", action="reset_latch", latch="module-01.temperature_high")
    running.run(0.1)
    assert running.states["state/safety"]["state"] == "STANDBY"
    assert running.alarm("module-01.temperature_high")["state"] == "cleared"


def test_mistake_09_pump_and_fan_go_off_five_minutes_after_it_is_cool_and_the_state_says_so(rig: Any) -> None:
    rig.temperature_c[0] = 36.0
    rig.run(5.0)
    assert rig.states["state/outputs"]["pump"] == {"commanded": 1, "readback": 1, "by": "cooling"}
    rig.temperature_c[0] = 33.0
    rig.doze(30.0)
    assert rig.board.mask & Output.PUMP
    rig.temperature_c[0] = 31.0
    rig.doze(299.0)
    assert rig.board.mask & Output.PUMP
    rig.doze(5.0)
    assert rig.states["state/outputs"]["pump"]["readback"] == 0
    assert rig.states["state/outputs"]["fan"]["commanded"] == 0


def test_mistake_10_relays_wait_for_the_current_and_their_opening_is_verified(running: Any) -> None:
    real = running.inverter
    real.ignores = True
    running.command("contactor", action="open")
    running.run(1.5)
    assert running.closed
    real.ignores = False
    running.until(lambda: not running.closed, 1.5)
    assert abs(running.opened(1)[-1][3]) < 2.0
    running.until(lambda: running.state is State.STANDBY, 2.0)


def test_mistake_11_precharge_never_closes_both_mains(rig: Any) -> None:
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 10.0)
    rig.precharge_fails = True
    rig.command("contactor", action="close")
    both = []
    rig.until(lambda: bool(both.append(rig.closed)) or rig.now > 150.0, 60.0)
    assert not any(both)


@pytest.mark.parametrize("when", ["STANDBY", "READY", "RUN"])
def test_mistake_12_an_emergency_stop_never_switches_a_relay_on(rig: Any, when: Any) -> None:
    rig.until(lambda: rig.state is State.STANDBY, 10.0)
    if when != "STANDBY":
        rig.connect()
    if when == "RUN":
        rig.drive(-35.0)
    since = rig.now
    rig.command("estop")
    rig.run(10.0)
    assert rig.state is State.LATCHED
    assert [e for e in rig.truth if e[0] > since and e[1].startswith("relay") and e[2]] == []


def test_mistake_13_after_recovery_the_schedules_own_setpoint_returns(make_rig: Any) -> None:
    rig = make_rig(recover=True, limit_rise_a_per_s=50.0)
    rig.connect()
    rig.drive(-35.0)
    rig.cells[0][0] = 4.12
    rig.until(lambda: abs(rig.current_a - 2.0) < 0.1, 4.0)
    rig.cells[0][0] = 4.0
    rig.until(lambda: abs(rig.current_a + 35.0) < 0.1, 8.0)
    assert rig.state is State.RUN


def test_mistake_14_a_new_mode_always_begins_at_zero(ready: Any) -> None:
    ready.drive(30.0)
    orders = []
    ready.command("inverter", mode="power", setpoint=10.0)
    for _ in range(200):
        ready.tick()
        orders.append(ready.orders[-1].inverter)
    switched = next(i for i, order in enumerate(orders) if order.mode is Mode.POWER)
    assert orders[switched].setpoint == 0.0
    assert abs(orders[-1].setpoint - 10.0) < 1e-6


def test_mistake_15_a_mode_that_does_not_read_back_is_a_fault(running: Any) -> Any:
    reading = running.poll
    index = [s.name for s in running.settings.inverter_signals].index("mode")

    def lying() -> Any:
        poll = reading()
        values = tuple(1.0 if i == index else value for i, value in enumerate(poll.values))
        return poll._replace(values=values, raw=values)

    running.poll = lying
    running.until(lambda: running.alarm("inverter.readback")["state"] == "active", 8.0)
    assert running.alarm("inverter.readback")["level"] == "FAULT"


def test_mistake_15_fault_words_are_read_and_judged(running: Any) -> None:
    running.inverter.other_faults = 1 << 9
    running.until(lambda: running.state is State.LATCHED, 4.0)
    assert running.alarm("inverter.fault")["level"] == "DANGER"


def test_mistake_17_a_schedule_in_another_unit_than_the_mode_is_refused(ready: Any) -> None:
    schedule = ScheduleFile("power.csv", "kW", (ScheduleStep(100.0, -10.0),))
    answer = ready.ask("schedule", schedule=schedule, action="start", file="power.csv")
    assert answer.code == "E_FILE"
    assert "kW" in answer.reason
    assert 'mode = "current"' in answer.reason


def test_mistake_17_a_schedule_does_not_drift_and_ends(ready: Any) -> None:
    steps = tuple(ScheduleStep(2.0, setpoint) for setpoint in (20.0, -20.0, 20.0))
    began = ready.now
    ready.ask("schedule", schedule=ScheduleFile("s.csv", "A", steps), action="start", file="s.csv")
    ready.until(lambda: ready.states["state/schedule"]["state"] == "done", 8.0)
    assert ready.now - began == pytest.approx(6.0, abs=0.05)
    ready.run(10.0)
    assert ready.current_a == 0.0
    assert ready.state is State.READY


def test_mistake_18_nothing_needs_the_pc_to_start(make_rig: Any) -> None:
    rig = make_rig()
    rig.broker = False
    rig.run(8.0)
    assert rig.state is State.STANDBY


def test_mistake_21_the_core_goes_on_after_every_danger(running: Any) -> None:
    running.cells[0][0] = 4.3
    running.until(lambda: running.state is State.LATCHED, 4.0)
    before = running.orders[-1].outputs.valid_until
    running.doze(60.0)
    assert running.orders[-1].outputs.valid_until > before + 59.0
    assert running.orders[-1].outputs.feed


def test_mistake_22_an_all_ones_frame_never_clears_a_temperature_alarm(rig: Any) -> None:
    real, broken = rig.module_readings, []

    def module(index: Any, number: Any = None) -> Any:
        found = [reading for reading in real(index, number) if reading.part != "pdo6"]
        if index or not broken:
            return found
        ones = rig.reading("module-01", "pdo1", (-1, 65535, 255, 255, -1, -1))
        return [ones, *(reading for reading in found if reading.part != "pdo1")]

    rig.module_readings = module
    rig.temperature_c[0] = 45.0
    rig.run(6.0)
    assert rig.alarm("module-01.temperature_high")["state"] == "active"
    broken.append(True)
    rig.doze(30.0)
    assert rig.alarm("module-01.temperature_high")["state"] == "active"
    assert rig.alarm("module-01.stale")["state"] == "active"


def test_mistake_23_an_open_thermistor_and_an_unplugged_pressure_sensor_are_alarms_and_cooling_starts(
    make_rig: Any,
) -> None:
    rig = make_rig()
    rig.run(10.0)
    rig.board.adc["temp1"], rig.board.adc["press"] = math.nan, math.nan
    rig.run(3.0)
    assert rig.alarm("arduino.temp1_sensor")["state"] == "active"
    assert rig.alarm("arduino.press_sensor")["state"] == "active"
    assert rig.board.mask & Output.PUMP
    assert rig.ask("pump", on=False).code == "E_THERMAL"


def test_mistake_24_modules_13_and_14_are_judged_like_all_others(make_rig: Any) -> None:
    inverter = InverterSettings(max_voltage_v=800.0, min_voltage_v=400.0)
    rig = make_rig(series=14, commission_count=14, inverter=inverter)
    rig.temperature_c[12] = 52.0
    rig.cells[13][11] = 2.6
    rig.until(lambda: rig.state is State.LATCHED, 10.0)
    rig.run(2.0)
    assert set(rig.states["state/safety"]["latches"]) >= {"module-13.temperature_high", "module-14.cell-12.voltage_low"}


def test_mistake_25_an_emergency_stop_leaves_the_cooling_on_and_opens_the_relays(running: Any) -> None:
    running.temperature_c[3] = 38.0
    running.run(3.0)
    assert running.board.mask & Output.PUMP
    running.command("estop")
    running.until(lambda: running.state is State.LATCHED, 5.0)
    running.run(10.0)
    assert running.board.mask & (Output.PUMP | Output.FAN) == Output.PUMP | Output.FAN
    assert not running.contacts


def test_mistake_17_a_header_without_a_known_quantity_is_refused() -> None:
    with pytest.raises(ScheduleFault, match="line 1"):
        parse("Interval [s],Voltage [V]\n1,2\n", "x.csv")


def test_a_line_that_is_not_believed_by_the_codec_is_no_data(running: Any) -> None:
    running.extra_readings.append(NoData("module-02", "pdo3", running.now, "all_ones"))
    running.run(1.0)
    assert running.state is State.RUN
