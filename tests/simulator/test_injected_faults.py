from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Refused
from simulator.faults import Faults, fault_table

Make = Callable[..., Any]
OF_THE_CONTRACT = [
    "can.silence",
    "can.raw",
    "can.freeze",
    "can.flood",
    "can.duplicate",
    "can.unplug",
    "inverter.silence",
    "inverter.unplug",
    "inverter.delay",
    "inverter.corrupt",
    "inverter.ignore_setpoint",
    "inverter.refuse_write",
    "inverter.fault",
    "inverter.scale",
    "inverter.comm_timer",
    "arduino.silence",
    "arduino.raw",
    "arduino.noise",
    "arduino.reset",
    "arduino.unplug",
    "relay.weld",
    "precharge.fail",
]


def ids(frames: list[Any]) -> list[int]:
    return [frame.can_id for frame in frames]


def test_every_fault_of_the_contract_is_in_the_table() -> None:
    assert sorted(fault_table(8)) == sorted(OF_THE_CONTRACT)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("can.silent", {}, "no fault 'can.silent'; there are can.silence"),
        ("can.silence", {}, "can.silence needs module"),
        ("can.silence", {"module": 9}, 'whole number 1..8 or "all", not 9'),
        ("can.silence", {"module": "some"}, "not 'some'"),
        ("can.silence", {"module": True}, "not True"),
        ("can.silence", {"module": 1, "for_s": 3}, "can.silence has no 'for_s'; it has module"),
        ("can.raw", {"module": 1, "pdo": 9, "data": ""}, "pdo must be a whole number 1..8"),
        ("can.raw", {"module": 1, "pdo": 1, "data": "zz"}, "up to 8 bytes in hex, not 'zz'"),
        ("can.raw", {"module": 1, "pdo": 1, "data": "123"}, "up to 8 bytes in hex"),
        ("can.flood", {"id": 0, "rate": float("inf")}, "rate must be a number"),
        ("inverter.delay", {"min_s": 2, "max_s": 1}, "min_s 2 is above max_s 1"),
        ("inverter.comm_timer", {"refresh": "always"}, "one of write41025, any_write"),
        ("relay.weld", {"n": 4}, "n must be a whole number 1..3"),
        ("can.unplug", {"module": 1}, "it has no arguments"),
    ],
)
def test_a_wrong_fault_says_what_is_allowed(name: str, arguments: dict[str, Any], says: str) -> None:
    faults = Faults(8)
    with pytest.raises(Refused, match=re.escape(says)):
        faults.inject(name, arguments)
    assert not any(faults.has(known) for known in faults.table)


def test_healing_takes_all_of_a_name_or_only_the_named_ones() -> None:
    faults = Faults(8)
    for module in (3, 5, 7):
        faults.inject("can.silence", {"module": module})
    faults.heal("can.silence", {"module": 5})
    assert [row["module"] for row in faults.active("can.silence")] == [3, 7]
    faults.heal("can.silence", {})
    assert not faults.has("can.silence")


def test_all_may_be_said_as_a_key_too() -> None:
    faults = Faults(8)
    faults.inject("can.silence", {"all": True})
    assert faults.on_module("can.silence", 8)


def test_a_silent_module_answers_neither_sync_nor_sdo_until_healed(bench: Make) -> None:
    rig = bench()
    rig.rig.faults.inject("can.silence", {"module": 2})
    assert 0x182 not in ids(rig.sync())
    assert 0x181 in ids(rig.frames)
    rig.rig.faults.heal("can.silence", {"module": 2})
    assert 0x182 in ids(rig.sync())
    rig.rig.faults.inject("can.silence", {"module": "all"})
    assert rig.sync() == []


@pytest.mark.parametrize("data", ["ffffffffffffffff", "0000000000000000", "0102", ""])
def test_a_raw_payload_replaces_one_pdo_of_one_module(bench: Make, data: str) -> None:
    rig = bench()
    rig.rig.faults.inject("can.raw", {"module": 2, "pdo": 1, "data": data})
    said = {frame.can_id: frame.data.hex() for frame in rig.sync()}
    assert said[0x182] == data
    assert said[0x181] != data
    rig.rig.faults.heal("can.raw", {})
    assert {frame.can_id: frame.data.hex() for frame in rig.sync()}[0x182] == said[0x181]


def test_a_frozen_module_repeats_its_last_payloads(bench: Make) -> None:
    rig = bench()
    rig.sync()
    rig.rig.faults.inject("can.freeze", {"module": 1})
    for module in rig.rig.battery.modules[:2]:
        module.pins["temperature_c"] = 50.0
    rig.rig.battery.refresh()
    said = {frame.can_id: frame.data[7] for frame in rig.sync()}
    assert (said[0x181], said[0x182]) == (25, 50)
    rig.rig.faults.heal("can.freeze", {})
    assert {frame.can_id: frame.data[7] for frame in rig.sync()}[0x181] == 50


def test_a_flood_comes_at_its_rate_and_a_full_one_starves_the_rest(bench: Make) -> None:
    rig = bench()
    rig.rig.faults.inject("can.flood", {"id": 0x0A100100, "rate": 100})
    rig.run(1.0)
    assert len(rig.frames) == pytest.approx(100, abs=3)
    assert all(frame.extended for frame in rig.frames)
    rig.rig.faults.heal("can.flood", {})
    rig.rig.faults.inject("can.flood", {"id": 0, "rate": 20_000})
    rig.run(0.1)
    frames = rig.sync()
    assert set(ids(frames)) == {0}
    assert len(frames) > 150


def test_a_duplicated_module_speaks_twice_with_other_values(bench: Make) -> None:
    rig = bench()
    rig.rig.faults.inject("can.duplicate", {"module": 1})
    said = [frame.data for frame in rig.sync() if frame.can_id == 0x381]
    assert len(said) == 2
    assert said[0] != said[1]


def test_a_welded_relay_stays_closed_for_the_board_to_see_nothing_of(bench: Make) -> None:
    rig = bench()
    rig.run_fed(0.2, 0x00)
    rig.run_fed(0.2, 0x0C)
    rig.rig.faults.inject("relay.weld", {"n": 1})
    rig.run_fed(0.5, 0x00)
    assert rig.rig.plant.contacts[1].closed
    assert not rig.rig.plant.contacts[2].closed
    assert rig.rig.board.pins == 0
    rig.rig.faults.heal("relay.weld", {})
    assert not rig.rig.plant.contacts[1].closed
    assert rig.changes("relay.1")[-1].by == "fault"


def test_the_weld_check_sees_the_link_rise(bench: Make) -> None:
    rig = bench(modules=8)
    rig.rig.faults.inject("relay.weld", {"n": 3})
    rig.run_fed(0.2, 0x00)
    rig.run_fed(0.5, 0x08)
    assert rig.read(30265)[0] / 32.767 > 0.5 * rig.rig.plant.terminal_v


def test_a_failed_precharge_leaves_the_link_at_zero(bench: Make) -> None:
    rig = bench(modules=8)
    rig.rig.faults.inject("precharge.fail", {})
    rig.run_fed(0.2, 0x00)
    rig.run_fed(3.0, 0x18)
    assert rig.rig.plant.link_v == 0.0
    rig.rig.faults.heal("precharge.fail", {})
    rig.run_fed(3.0, 0x18)
    assert rig.rig.plant.link_v > 300
