from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


def test_every_register_of_the_rig_reads_in_blocks_of_at_most_32(bench: Make) -> None:
    rig = bench()
    assert len(rig.read(30262, 22)) == 22
    assert len(rig.read(30256, 2)) == 2
    assert len(rig.read(41024, 24)) == len(rig.read(41024, 24, function=3)) == 24


@pytest.mark.parametrize(("address", "count"), [(30258, 1), (30257, 6), (30283, 3), (30284, 1), (41023, 2), (41048, 1)])
def test_a_block_with_an_unknown_address_is_an_illegal_address(bench: Make, address: int, count: int) -> None:
    reply = bench().rig.inverter.serve(bytes([4]) + address.to_bytes(2, "big") + count.to_bytes(2, "big"), 100.0)
    assert reply == bytes([0x84, 2])


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (b"\x01\x00\x00\x00\x01", b"\x81\x01"),
        (b"\x10\xa0\x43\x00\x01\x02\x00\x05", b"\x90\x01"),
        (b"\x04\x76\x36", b"\x84\x03"),
        (b"\x04\x76\x36\x00\x00", b"\x84\x03"),
        (b"\x04\x76\x36\x00\x7e", b"\x84\x03"),
        (b"\x03\x76\x36\x00\x01", b"\x83\x02"),
    ],
)
def test_what_the_slave_does_not_know_is_an_exception(bench: Make, pdu: bytes, answer: bytes) -> None:
    assert bench().rig.inverter.serve(pdu, 100.0) == answer


def test_nothing_but_the_access_code_is_written_before_the_access_code(bench: Make) -> None:
    rig = bench()
    assert rig.write(41027, 52) == bytes([0x86, 4])
    assert rig.write(41024, 125)[0] == 6
    assert rig.write(41027, 52)[0] == 6
    assert rig.read(41027) == [52]


@pytest.mark.parametrize(("address", "value"), [(41026, 3), (41026, 5), (41025, 1001)])
def test_a_mode_or_timer_that_does_not_exist_is_an_illegal_value(bench: Make, address: int, value: int) -> None:
    rig = bench()
    rig.write(41024, 125)
    assert rig.write(address, value) == bytes([0x86, 3])


def test_grid_limits_and_readings_cannot_be_written(bench: Make) -> None:
    rig = bench()
    rig.write(41024, 125)
    assert rig.write(41033, 1) == rig.write(30267, 1) == bytes([0x86, 2])


def test_a_limit_beyond_the_device_is_clamped_and_reads_back_clamped(bench: Make) -> None:
    rig = bench()
    rig.write(41024, 125)
    rig.write(41031, 32000)
    rig.write(41030, -5209)
    assert rig.read(41030, 2) == [-5209, round(222 * 52.094)]


@pytest.mark.parametrize(
    ("mode", "scale", "setpoint", "current_a"),
    [(2, 52.094, -20.0, -20.0), (1, 218.44, 2.7, 20.0), (2, 52.094, 35.0, 35.0)],
)
def test_the_setpoint_is_scaled_by_the_mode_and_drives_the_circuit(
    bench: Make, mode: int, scale: float, setpoint: float, current_a: float
) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(0.0, timer_s=100)
    rig.write(41026, mode)
    rig.write(41027, round(setpoint * scale))
    rig.run_fed(1.0, 0x0C)
    assert rig.rig.inverter.setpoint == pytest.approx(setpoint, abs=0.02)
    assert rig.rig.plant.current_a == pytest.approx(current_a, rel=0.01)
    current, power = rig.read(30267)[0] / 52.094, rig.read(30266)[0] / 218.44
    volts = rig.read(30265)[0] / 32.767
    assert current == pytest.approx(current_a, rel=0.01)
    assert power * 1000 == pytest.approx(current * volts, abs=10)


def test_constant_voltage_charges_towards_its_voltage(bench: Make) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(0.0, timer_s=100)
    rig.write(41026, 4)
    rig.write(41027, round((rig.rig.battery.rest_v + 0.5) * 32.767))
    rig.run_fed(0.6, 0x0C)
    assert -222 < rig.rig.plant.current_a < -1
    assert rig.rig.plant.terminal_v == pytest.approx(rig.rig.battery.rest_v + 0.5, abs=0.2)


@pytest.mark.parametrize(("amps", "least", "most"), [(-60.0, -10.1, -9.9), (60.0, 11.9, 12.1)])
def test_the_current_limits_of_the_registers_hold(bench: Make, amps: float, least: float, most: float) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(amps, timer_s=100)
    rig.write(41030, round(-10 * 52.094))
    rig.write(41031, round(12 * 52.094))
    rig.run_fed(1.0, 0x0C)
    assert least < rig.rig.plant.current_a < most


def test_charging_stops_short_of_the_maximum_voltage_and_discharging_of_the_minimum(bench: Make) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(-50.0, timer_s=100)
    limit_v = rig.rig.battery.rest_v + 0.3
    rig.write(41028, round(limit_v * 32.767))
    rig.run_fed(1.0, 0x0C)
    assert rig.rig.plant.current_a < 0
    assert rig.rig.plant.terminal_v <= limit_v + 0.1
    rig.write(41029, round((rig.rig.battery.rest_v + 1) * 32.767))
    rig.write(41027, round(50 * 52.094))
    rig.run_fed(1.0, 0x0C)
    assert rig.rig.plant.current_a == 0.0


def test_no_current_without_a_closed_circuit(bench: Make) -> None:
    rig = bench()
    rig.start_inverter(30.0, timer_s=100)
    rig.run(1.0)
    assert rig.rig.plant.current_a == 0.0


REFRESHES = {
    "write41025": {"write41025"},
    "any_write": {"write41025", "write"},
    "any_frame": {"write41025", "write", "read"},
    "never_trips": {"write41025", "write", "read", "nothing"},
}


@pytest.mark.parametrize("traffic", ["nothing", "read", "write", "write41025"])
@pytest.mark.parametrize("rule", REFRESHES)
def test_the_comm_timer_trips_unless_refreshed_by_what_its_rule_names(bench: Make, rule: str, traffic: str) -> None:
    rig = bench()
    rig.rig.faults.inject("inverter.comm_timer", {"refresh": rule})
    rig.start_inverter(20.0, timer_s=2.0)
    for _ in range(12):
        rig.run(0.5)
        if traffic == "read":
            rig.read(30272)
        elif traffic == "write":
            rig.write(41027, round(20 * 52.094))
        elif traffic == "write41025":
            rig.write(41025, 20)
    tripped = traffic not in REFRESHES[rule]
    assert rig.rig.inverter.mode == (0 if tripped else 2)
    assert rig.read(30272)[0] == (1 << 3 if tripped else 0)
    assert rig.rig.inverter.counted["comm_trips"] == int(tripped)


def test_a_trip_is_on_the_record_at_its_own_instant_with_setpoint_and_mode_zero(bench: Make) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(20.0, timer_s=1.5)
    began = rig.now
    rig.run_fed(3.0, 0x0C)
    zero = [change for change in rig.changes("inverter.setpoint") if change.value == 0][-1]
    assert zero.by == "comm_timer"
    assert zero.t_mono == pytest.approx(began + 1.5, abs=1e-6)
    assert zero.circuit_current_a == pytest.approx(20.0, abs=0.1)
    assert rig.changes("inverter.mode")[-1][1:] == ("inverter.mode", 0, zero.circuit_current_a, "comm_timer")
    assert rig.rig.plant.current_a == 0.0


def test_the_trips_fault_bit_clears_only_after_access_code_and_timer(bench: Make) -> None:
    rig = bench()
    rig.start_inverter(20.0, timer_s=1.0)
    rig.run(1.2)
    assert rig.read(30272) == [8]
    assert rig.write(41025, 20) == bytes([0x86, 4])
    rig.write(41024, 125)
    assert rig.read(30272) == [8]
    rig.write(41025, 20)
    assert rig.read(30272) == [0]


def test_a_timer_of_zero_is_off(bench: Make) -> None:
    rig = bench()
    rig.start_inverter(20.0, timer_s=0.0)
    rig.run(30.0, step_s=0.1)
    assert rig.rig.inverter.mode == 2


def test_an_inverter_that_ignores_setpoints_keeps_the_current_until_healed_or_tripped(bench: Make) -> None:
    rig = bench()
    rig.close_circuit()
    rig.start_inverter(20.0, timer_s=5.0)
    rig.run_fed(0.5, 0x0C)
    rig.rig.faults.inject("inverter.ignore_setpoint", {})
    rig.write(41027, 0)
    rig.write(41026, 0)
    rig.run_fed(1.0, 0x0C)
    assert rig.read(41026, 2) == [0, 0]
    assert rig.rig.plant.current_a == pytest.approx(20.0, abs=0.1)
    rig.rig.faults.heal("inverter.ignore_setpoint", {})
    rig.run_fed(1.0, 0x0C)
    assert rig.rig.plant.current_a == 0.0


def test_refused_scaled_and_faulty_registers(bench: Make) -> None:
    rig = bench()
    rig.write(41024, 125)
    rig.rig.faults.inject("inverter.refuse_write", {"address": 41027})
    assert rig.write(41027, 5) == bytes([0x86, 4])
    rig.rig.faults.inject("inverter.scale", {"register": 30263, "factor": 0.5})
    assert rig.read(30263)[0] == pytest.approx(rig.rig.battery.rest_v * 32.767 / 2, abs=1)
    rig.rig.faults.inject("inverter.fault", {"register": 30273, "bit": 15})
    rig.rig.faults.inject("inverter.fault", {"register": 30273, "bit": 0})
    assert rig.read(30273) == [-32768 + 1]
    rig.rig.faults.heal("inverter.fault", {"bit": 0})
    assert rig.read(30273) == [-32768]


def test_delivered_energy_counts_in_64_bits(bench: Make) -> None:
    rig = bench(modules=8)
    rig.close_circuit()
    rig.start_inverter(100.0, timer_s=100)
    rig.run_fed(20.0, 0x0C)
    words = [word & 0xFFFF for word in rig.read(30280, 4)]
    kwh = sum(word << 16 * (3 - place) for place, word in enumerate(words)) / 92_160_000
    assert kwh == pytest.approx(100 * 357 * 20 / 3.6e6, rel=0.03)
