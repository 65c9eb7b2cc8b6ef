"""The CAN rows on what `ip -details -statistics -json link show` printed on Linux 6.1 (iproute2 6.1), cut to what is read."""

from __future__ import annotations

from typing import Any

import pytest

from cellguard.doctor.can import ODD_COUNTS, judge_adapter, judge_bit_rate, judge_bus, link_of

NO_ERRORS = {"restarts": 0, "bus_error": 0, "arbitration_lost": 0, "error_warning": 0, "error_passive": 0, "bus_off": 0}


def link(flags: list[str], data: dict[str, Any], seen: dict[str, int] | None = None) -> dict[str, Any]:
    info = {"info_kind": "can", "info_data": data, "info_xstats": seen or NO_ERRORS}
    return {"ifname": "can0", "flags": flags, "operstate": "UP", "txqlen": 10, "link_type": "can", "linkinfo": info}


def controller(state: str, rate: int, restart_ms: int, errors: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    tx, rx = errors
    timing = {"bitrate": rate, "sample_point": "0.875", "tq": 125}
    return {"state": state, "berr_counter": {"tx": tx, "rx": rx}, "restart_ms": restart_ms, "bittiming": timing}


UP = ["NOARP", "UP", "LOWER_UP", "ECHO"]
DOWN_DATA = {"state": "STOPPED", "berr_counter": {"tx": 0, "rx": 0}, "restart_ms": 0}
SLCAN_OFF = {"state": "BUS-OFF", "restart_ms": 0, "bittiming_bitrate": 500000}


def test_a_controller_that_is_up_at_the_right_rate_and_active_is_well() -> None:
    found = link(UP, controller("ERROR-ACTIVE", 500000, 100))
    assert judge_adapter(found, "can0", 500000).verdict == "ok"
    assert judge_bit_rate(found, "can0", 500000).said == "500000 bit/s, back from bus-off after 100 ms"
    assert judge_bus(found, "can0").verdict == "ok"


def test_an_interface_that_is_down_says_how_to_bring_it_up() -> None:
    found = link(["NOARP", "ECHO"], DOWN_DATA)
    down = judge_adapter(found, "can0", 500000)
    assert (down.verdict, down.said) == ("fault", "can0 is down")
    assert "ip link set can0 up type can bitrate 500000 restart-ms 100" in down.todo
    assert judge_bit_rate(found, "can0", 500000).verdict == "unchecked"
    assert judge_bus(found, "can0").verdict == "unchecked"


def test_another_bit_rate_than_configured_is_a_fault_with_both_numbers() -> None:
    found = judge_bit_rate(link(UP, controller("ERROR-ACTIVE", 250000, 100)), "can0", 500000)
    assert found.verdict == "fault"
    assert "250000" in found.said
    assert "500000" in found.said


def test_a_controller_that_stays_away_after_bus_off_is_noted() -> None:
    found = judge_bit_rate(link(UP, controller("ERROR-ACTIVE", 500000, 0)), "can0", 500000)
    assert (found.verdict, "restart-ms 100" in found.todo) == ("note", True)


@pytest.mark.parametrize("state", ["ERROR-WARNING", "ERROR-PASSIVE", "BUS-OFF"])
def test_a_bus_in_trouble_is_a_fault_that_names_the_wires(state: str) -> None:
    found = judge_bus(link(UP, controller(state, 500000, 100, (128, 7))), "can0")
    assert found.verdict == "fault"
    assert "sending 128, receiving 7" in found.said
    assert "60 Ω" in found.todo


def test_an_adapter_with_a_fixed_set_of_rates_and_without_counters_is_read_too() -> None:
    found = link(["NO-CARRIER", "NOARP", "UP"], SLCAN_OFF, {**NO_ERRORS, "bus_off": 1})
    assert judge_bit_rate(found, "can2", 500000).said.startswith("500000 bit/s")
    assert judge_bus(found, "can2").verdict == "fault"
    assert "bus_off 1" in judge_bus(found, "can2").said


def test_a_bus_that_was_off_and_came_back_is_noted() -> None:
    found = judge_bus(link(UP, controller("ERROR-ACTIVE", 500000, 100), {**NO_ERRORS, "bus_off": 2}), "can0")
    assert (found.verdict, "bus_off 2" in found.said) == ("note", True)


def test_another_kind_of_interface_is_no_can() -> None:
    assert judge_adapter({"ifname": "eth0", "flags": ["UP"]}, "eth0", 500000).verdict == "fault"


def test_an_interface_that_does_not_exist_tells_nothing() -> None:
    assert link_of("cellguard-none") == {}


def test_each_counter_that_should_stand_still_has_a_sentence_of_what_to_do() -> None:
    assert all(len(todo.split()) > 5 for todo in ODD_COUNTS.values())
