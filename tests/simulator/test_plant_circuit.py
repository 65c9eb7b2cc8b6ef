from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.battery import CAPACITY_AS, Battery, rest_voltage_v
from simulator.plant import LINK_CAPACITY_F, Plant
from simulator.profiles import PROFILES
from simulator.truth import Truth

ON, OFF = True, False


def closed_plant(drive: Callable[[float, float], float]) -> tuple[Plant, Truth]:
    truth = Truth()
    plant = Plant(Battery(PROFILES["ideal"], 2, 12), truth, 2.0, 0.0)
    plant.link_v = plant.battery.rest_v
    plant.drive = drive
    for number in (1, 2):
        plant.set_relay(number, ON, "command")
    plant.advance(0.1)
    return plant, truth


def stored_j(battery: Battery) -> float:
    """Energy in the cells, by integrating the rest voltage over the charge; independent of the plant's own sums."""
    total = 0.0
    for module in battery.modules:
        for soc in module.soc_pct:
            steps = 400
            width = soc / steps
            total += sum(rest_voltage_v((n + 0.5) * width) for n in range(steps)) * width / 100 * CAPACITY_AS
    return total


@given(st.lists(st.tuples(st.floats(-200, 200), st.floats(0.2, 20)), min_size=1, max_size=6))
def test_energy_and_charge_are_conserved(steps: list[tuple[float, float]]) -> None:
    wanted = [0.0]
    plant, _ = closed_plant(lambda _rest, _ohm: wanted[0])
    before, start_pct = stored_j(plant.battery), plant.battery.modules[0].soc_pct[0]
    energy, heat, charge = plant.totals.energy_j, plant.totals.heat_j, plant.totals.charge_as
    for amps, seconds in steps:
        wanted[0] = amps
        plant.advance(plant.now + seconds)
    plant.settle()
    given_j = plant.totals.energy_j - energy + plant.totals.heat_j - heat
    assert before - stored_j(plant.battery) == pytest.approx(given_j, rel=2e-3, abs=50.0)
    lost_as = (start_pct - plant.battery.modules[0].soc_pct[0]) / 100 * CAPACITY_AS
    assert lost_as == pytest.approx(plant.totals.charge_as - charge, abs=1e-6)


def test_discharge_is_positive_and_lowers_the_voltage() -> None:
    plant, _ = closed_plant(lambda _rest, _ohm: 60.0)
    rest = plant.terminal_v
    plant.advance(1.0)
    assert plant.current_a == 60.0
    assert plant.terminal_v < rest
    assert plant.link_v == pytest.approx(plant.terminal_v, abs=0.01)


def test_the_current_slews_and_does_not_jump() -> None:
    plant, _ = closed_plant(lambda _rest, _ohm: 100.0)
    since = plant.now
    assert plant.current_a == pytest.approx(200.0 * (since - 0.02), rel=0.05)


def test_precharge_fills_the_link_with_half_a_second_and_needs_relay_two() -> None:
    plant = Plant(Battery(PROFILES["ideal"], 8, 12), Truth(), 2.0, 0.0)
    plant.set_relay(3, ON, "command")
    plant.advance(1.0)
    assert plant.link_v == 0.0
    plant.set_relay(2, ON, "command")
    plant.advance(1.02 + 0.5)
    assert plant.link_v / plant.battery.rest_v == pytest.approx(1 - math.exp(-1), abs=0.02)
    assert plant.totals.charge_as == pytest.approx(LINK_CAPACITY_F * plant.link_v, rel=1e-3)
    plant.advance(5.0)
    assert plant.battery.rest_v - plant.link_v < 1.0
    assert plant.current_a < 0.01


def test_a_link_cut_off_bleeds_with_the_profiles_time_constant() -> None:
    plant, _ = closed_plant(lambda _rest, _ohm: 0.0)
    plant.set_relay(1, OFF, "command")
    plant.advance(0.2)
    start = plant.link_v
    plant.advance(2.2)
    assert plant.link_v == pytest.approx(start * math.exp(-1), rel=0.01)


def test_closing_onto_an_uncharged_link_is_an_inrush_on_the_record() -> None:
    truth = Truth()
    plant = Plant(Battery(PROFILES["ideal"], 8, 12), truth, 2.0, 0.0)
    for number in (1, 2):
        plant.set_relay(number, ON, "command")
    plant.advance(0.1)
    inrush = [row for row in truth.since(0.0) if row["what"] == "inrush"]
    assert len(inrush) == 1
    assert inrush[0]["value"] > 1000


def test_an_opening_under_load_shows_the_current_just_before_it() -> None:
    plant, truth = closed_plant(lambda _rest, _ohm: -34.9)
    plant.advance(2.0)
    plant.set_relay(1, OFF, "deadman")
    plant.advance(3.0)
    rows = {row["what"]: row for row in truth.since(2.0)}
    assert rows["relay.1"] == {
        "t_mono": pytest.approx(2.012),
        "what": "relay.1",
        "value": 0,
        "circuit_current_a": -34.9,
        "by": "deadman",
    }
    assert rows["circuit.closed"]["circuit_current_a"] == -34.9
    assert plant.current_a == 0.0


def test_a_welded_contact_stays_and_follows_its_coil_again_once_healed() -> None:
    plant, _ = closed_plant(lambda _rest, _ohm: 0.0)
    plant.weld(1, ON)
    plant.set_relay(1, OFF, "command")
    plant.advance(1.0)
    assert plant.closed
    plant.weld(1, OFF)
    assert not plant.closed


def test_welding_an_open_contact_closes_it() -> None:
    truth = Truth()
    plant = Plant(Battery(PROFILES["ideal"], 8, 12), truth, 2.0, 0.0)
    plant.weld(2, ON)
    assert plant.contacts[2].closed
    assert truth.since(0.0)[-1]["by"] == "fault"


def test_a_dead_precharge_path_leaves_the_link_empty() -> None:
    plant = Plant(Battery(PROFILES["ideal"], 8, 12), Truth(), 2.0, 0.0, precharge_fails=True)
    for number in (2, 3):
        plant.set_relay(number, ON, "command")
    plant.advance(3.0)
    assert plant.link_v == 0.0
