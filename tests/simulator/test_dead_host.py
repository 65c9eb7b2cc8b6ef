"""What the rig does by itself when its host dies under load: the last line of defence, seen from the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


def running(bench: Make, rule: str) -> Any:
    rig = bench(modules=8)
    rig.rig.faults.inject("inverter.comm_timer", {"refresh": rule})
    rig.close_circuit()
    rig.start_inverter(-35.0, timer_s=2.0)
    for _ in range(10):
        rig.write(41025, 20)
        rig.run_fed(0.3, 0x0C)
    assert rig.rig.plant.current_a == pytest.approx(-35.0, abs=0.1)
    return rig


@pytest.mark.parametrize("rule", ["write41025", "any_write", "any_frame"])
def test_the_inverter_is_zero_after_two_seconds_and_the_relays_open_without_load_after_three_and_a_half(
    bench: Make, rule: str
) -> None:
    rig = running(bench, rule)
    died = rig.now
    rig.run(6.0)
    zero = next(row for row in rig.changes("inverter.setpoint") if row.t_mono > died)
    opened = [row for n in (1, 2) for row in rig.changes(f"relay.{n}") if row.t_mono > died]
    assert zero.t_mono - died <= 2.0
    assert zero.by == "comm_timer"
    assert [row.by for row in opened] == ["deadman", "deadman"]
    assert all(3.0 < row.t_mono - died < 3.6 and abs(row.circuit_current_a) < 2 for row in opened)
    assert rig.rig.plant.pump
    assert rig.rig.plant.fan


def test_a_timer_that_never_trips_leaves_the_deadman_to_open_under_load(bench: Make) -> None:
    rig = running(bench, "never_trips")
    died = rig.now
    rig.run(6.0)
    opened = next(row for row in rig.changes("relay.1") if row.t_mono > died)
    assert opened.circuit_current_a == pytest.approx(-35.0, abs=0.1)
    assert rig.rig.inverter.mode == 2
    assert rig.rig.plant.current_a == 0.0


def test_traffic_of_readings_only_keeps_a_timer_refreshed_by_any_frame(bench: Make) -> None:
    rig = running(bench, "any_frame")
    for _ in range(20):
        rig.read(30263)
        rig.run_fed(0.3, 0x0C)
    assert rig.rig.plant.current_a == pytest.approx(-35.0, abs=0.1)
