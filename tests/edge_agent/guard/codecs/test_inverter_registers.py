from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guard.codecs.inverter import (
    LONGEST_BLOCK,
    MODE,
    REGISTERS,
    SETPOINT,
    bits,
    blocks,
    poll_reading,
    setpoint_counts,
    split,
)
from edge_agent.guard.model import Mode
from shared.signals import INVERTER

ADDRESSES = [register.address for register in REGISTERS]
INDEX = {signal.name: index for index, signal in enumerate(INVERTER)}


def counts(**given: int) -> dict[int, int]:
    by_name = {register.name: register.address for register in REGISTERS}
    return dict.fromkeys(ADDRESSES, 0) | {by_name[name]: value & 0xFFFF for name, value in given.items()}


def test_a_poll_gives_every_signal_of_the_catalog_in_its_order() -> None:
    reading = poll_reading(counts(battery_voltage=12379, power=-2184, current=-1042, mode=2, setpoint=-1042), 3.0)
    assert len(reading.values) == len(INVERTER)
    assert reading.values[INDEX["battery_voltage"]] == pytest.approx(377.79, abs=0.01)
    assert reading.values[INDEX["power"]] == pytest.approx(-9.998, abs=0.001)
    assert reading.values[INDEX["current"]] == pytest.approx(-20.0, abs=0.01)
    assert reading.values[INDEX["setpoint"]] == pytest.approx(-20.0, abs=0.01)
    assert reading.raw[INDEX["current"]] == -1042
    assert reading.bad == ()


def test_the_scale_of_the_current_can_be_set() -> None:
    reading = poll_reading(counts(current=-3277), 0.0, dc_current_scale=32.767)
    assert reading.values[INDEX["current"]] == pytest.approx(-100.0, abs=0.01)


@pytest.mark.parametrize(("mode", "scale"), [(0, 52.094), (1, 218.44), (2, 52.094), (4, 32.767)])
def test_the_setpoint_is_read_in_the_unit_of_the_mode(mode: int, scale: float) -> None:
    reading = poll_reading(counts(mode=mode, setpoint=1000), 0.0)
    assert reading.values[INDEX["setpoint"]] == pytest.approx(1000 / scale)


def test_a_register_that_does_not_exist_is_absent_and_nothing_else_is_lost() -> None:
    found = counts(power=100)
    del found[30256]
    reading = poll_reading(found, 0.0)
    assert reading.bad == ((0, "absent"),)
    assert reading.values[0] is None
    assert reading.values[INDEX["power"]] == pytest.approx(100 / 218.44)


def test_a_value_outside_its_physical_range_is_not_believed() -> None:
    assert poll_reading(counts(mode=9), 0.0).bad == ((INDEX["mode"], "out_of_range"),)


def test_mistake_15_fault_words_are_read_and_their_bits_have_names() -> None:
    assert bits("fault_control", 1 << 3 | 1 << 8) == ("Modbus communication failed", "emergency power off")
    assert bits("fault_power_0", 1 << 14) == ("K1 welded",)
    assert bits("fault_power_1", 1 << 8) == ("reverse polarity",)
    assert bits("warnings", 1 << 9 | 1 << 1) == ("bit 1", "over-current")
    assert bits("contactors", 0x30) == ("DC contactor 1", "DC contactor 2")
    assert bits("fault_extra_1", 0) == ()


def test_the_registers_are_read_in_two_blocks_across_their_holes() -> None:
    assert blocks(ADDRESSES, gap=5) == ((30256, 30), (MODE, 2))


def test_a_refused_block_is_read_in_its_runs_without_holes() -> None:
    assert split(blocks(ADDRESSES, gap=5)[0], ADDRESSES) == ((30256, 2), (30262, 18), (30285, 1))


@settings(deadline=None)
@given(st.sets(st.sampled_from(ADDRESSES), max_size=3))
def test_every_register_that_exists_is_found_whichever_are_missing(missing: set[int]) -> None:
    read, waiting = set(), list(blocks(ADDRESSES, gap=5))
    exists = set(ADDRESSES) - missing
    for _ in range(200):
        if not waiting:
            break
        block = waiting.pop(0)
        if set(block.addresses) <= exists:
            read |= set(block.addresses)
        else:
            waiting = [*split(block, ADDRESSES), *waiting]
    assert waiting == []
    assert read == exists


@settings(deadline=None)
@given(st.sets(st.integers(0, 65535), max_size=60), st.integers(0, 10))
def test_blocks_cover_what_is_wanted_and_are_never_too_long(addresses: set[int], gap: int) -> None:
    found = blocks(addresses, gap)
    assert all(block.size <= LONGEST_BLOCK for block in found)
    covered = [address for block in found for address in block.addresses]
    assert addresses <= set(covered)
    assert len(covered) == len(set(covered))


@pytest.mark.parametrize(
    ("mode", "setpoint", "expected"),
    [(Mode.CURRENT, -20.0, -1042), (Mode.POWER, 10.0, 2184), (Mode.CURRENT, 1e6, 32767), (Mode.POWER, -1e6, -32768)],
)
def test_a_setpoint_becomes_counts_of_its_mode_within_16_bits(mode: Mode, setpoint: float, expected: int) -> None:
    assert setpoint_counts(mode, setpoint) == expected


def test_every_signal_has_its_register_and_every_word_its_bits() -> None:
    assert [register.name for register in REGISTERS] == [signal.name for signal in INVERTER]
    assert SETPOINT == MODE + 1
    assert all(register.bits for register in REGISTERS if register.name.startswith("fault"))
