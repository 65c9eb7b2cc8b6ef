from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.battery import CAPACITY_AS, Battery, charge_at_pct, rest_voltage_v
from simulator.profiles import PROFILES

IDEAL = PROFILES["ideal"]


@given(st.floats(-9, 109), st.floats(0.01, 1))
def test_a_fuller_cell_never_shows_less_voltage(soc_pct: float, more_pct: float) -> None:
    assert rest_voltage_v(soc_pct + more_pct) >= rest_voltage_v(soc_pct)


@given(st.floats(0, 100))
def test_the_charge_of_a_voltage_gives_that_voltage_back(soc_pct: float) -> None:
    voltage = rest_voltage_v(soc_pct)
    assert rest_voltage_v(charge_at_pct(voltage)) == pytest.approx(voltage, abs=1e-3)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 30)), min_size=1, max_size=40))
def test_charge_is_conserved_in_every_cell(flows: list[tuple[float, float]]) -> None:
    battery = Battery(IDEAL, modules=2, cells=3)
    before = [soc for module in battery.modules for soc in module.soc_pct]
    for current_a, dt in flows:
        battery.pass_charge(current_a * dt, current_a**2 * dt, dt, (False, False))
    passed_pct = 100 * sum(current_a * dt for current_a, dt in flows) / CAPACITY_AS
    after = [soc for module in battery.modules for soc in module.soc_pct]
    assert after == pytest.approx([soc - passed_pct for soc in before], abs=1e-9)
    counted = battery.modules[0].discharged_as - battery.modules[0].charged_as
    assert counted == pytest.approx(passed_pct * CAPACITY_AS / 100, abs=1e-6)


@pytest.mark.parametrize("cell", range(12))
def test_a_pinned_cell_flows_into_sum_minimum_and_maximum(cell: int) -> None:
    battery = Battery(IDEAL, modules=2, cells=12)
    module = battery.modules[1]
    free = module.rest_v
    module.cell_pins["voltage_v", cell] = 4.25
    battery.refresh_module(1)
    assert module.rest_v == pytest.approx(free + 4.25 - free / 12)
    assert max(module.cells_v(50.0)) == 4.25
    assert battery.rest_v == pytest.approx(free + module.rest_v)


@pytest.mark.parametrize("cells", range(1, 15))
def test_a_pinned_cell_temperature_shows_on_a_sensor_whatever_the_number_of_cells(cells: int) -> None:
    for cell in range(cells):
        module = Battery(IDEAL, modules=1, cells=cells).modules[0]
        module.cell_pins["temperature_c", cell] = 61.0
        assert len(module.sensors_c()) == 7
        assert max(module.sensors_c()) == 61.0


def test_a_cells_own_pin_wins_over_its_modules() -> None:
    module = Battery(IDEAL, modules=1, cells=12).modules[0]
    module.pins["temperature_c"] = 55.0
    module.cell_pins["temperature_c", 4] = 20.0
    assert sorted(set(module.sensors_c())) == [20.0, 55.0]


def test_current_warms_the_cells_and_the_pump_cools_them() -> None:
    still, pumped = (Battery(IDEAL, modules=1, cells=1) for _ in range(2))
    for _ in range(1000):
        still.pass_charge(0.0, 100.0**2 * 10, 10.0, (False, False))
        pumped.pass_charge(0.0, 100.0**2 * 10, 10.0, (True, True))
    assert still.modules[0].temperature_c[0] > pumped.modules[0].temperature_c[0] + 5 > IDEAL.ambient_c + 5


def test_a_pinned_state_of_charge_is_held_and_moves_the_voltage() -> None:
    battery = Battery(IDEAL, modules=1, cells=12)
    battery.modules[0].pins["soc_pct"] = 5.0
    battery.pass_charge(3600.0, 0.0, 1.0, (False, False))
    assert battery.modules[0].soc_pct == [5.0] * 12
    assert battery.rest_v == pytest.approx(12 * rest_voltage_v(5.0))
