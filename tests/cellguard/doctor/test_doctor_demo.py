"""The doctor looks at a running demo: healthy, then with one device after the other lost."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.system
DEVICES = {"can-adapter", "can-frames", "module-data", "inverter-line", "arduino-firmware"}


def contactors_closed(demo: Any) -> bool:
    outputs = demo.guard()["state/outputs"]
    return any(outputs[relay]["readback"] != 0 for relay in ("relay1", "relay2", "relay3"))


def test_a_healthy_rig_has_no_fault_and_what_could_not_be_looked_at_says_so(demo: Any, wait_until: Any) -> None:
    wait_until(demo.flows, 25.0, "a current")

    found = demo.doctor("--measure-comm-timer")

    assert {name: found.rows[name]["said"] for name in found.with_verdict("fault")} == {}
    assert found.code == 0
    assert found.with_verdict("ok") >= DEVICES | {
        "broker",
        "node",
        "guard",
        "storage",
        "spool",
        "files",
        "python",
        "disk",
    }
    unchecked = found.with_verdict("unchecked")
    assert unchecked >= {"can-bitrate", "can-bus", "comm-timer", "current-noise", "reset-capacitor", "gpio"}
    assert all(found.rows[name]["said"].startswith("not checked: ") for name in unchecked)
    assert found.with_verdict("note") <= {"clock", "own-clock"}  # a test machine's clock may run free
    assert "8 modules" in found.rows["module-data"]["said"]
    assert "guard runs" in found.rows["comm-timer"]["said"]  # its ports are its own, whatever is asked for
    assert "stop cellguard-guard" in found.rows["comm-timer"]["todo"]


def test_an_inverter_that_does_not_answer_is_named_with_what_to_do(demo: Any, wait_until: Any) -> None:
    demo.simulator(fault="inverter.silence")
    try:
        found = demo.doctor("--seconds", "3")
    finally:
        demo.simulator(heal="inverter.silence")

    assert found.code == 5
    assert "does not answer" in found.rows["inverter-line"]["said"]
    assert "RS-485" in found.rows["inverter-line"]["todo"]
    assert found.with_verdict("fault") & DEVICES == {"inverter-line"}
    wait_until(demo.whole, 20.0, "the guard to miss nothing")


def test_a_module_that_falls_silent_is_named_with_what_to_do(demo: Any, wait_until: Any) -> None:
    demo.simulator(fault="can.silence", module=5)
    try:
        found = demo.doctor("--seconds", "5")
    finally:
        demo.simulator(heal="can.silence")

    assert found.code == 5
    assert "module-05 (pdo1, pdo3, pdo4)" in found.rows["module-data"]["said"]
    assert "CAN plug" in found.rows["module-data"]["todo"]
    assert "module-05" in found.rows["modules"]["said"]
    assert found.with_verdict("fault") & DEVICES == {"module-data"}
    wait_until(demo.whole, 20.0, "the guard to miss nothing")


def test_an_unplugged_board_is_named_and_zero_is_measured_once_the_contactors_read_back_open(
    demo: Any, wait_until: Any
) -> None:
    demo.simulator(fault="arduino.unplug")
    wait_until(lambda: demo.guard()["state/safety"]["state"] == "LATCHED", 10.0, "LATCHED")
    try:
        found = demo.doctor()
    finally:
        demo.simulator(heal="arduino.unplug")

    assert found.code == 5
    assert found.rows["arduino-firmware"]["verdict"] == "fault"
    assert "plug the board in" in found.rows["arduino-firmware"]["todo"]
    assert found.rows["safety"]["verdict"] == "fault"
    assert found.with_verdict("fault") & DEVICES == {"arduino-firmware"}
    wait_until(lambda: not contactors_closed(demo), 15.0, "the board to read back open")
    noise = found.rows["current-noise"]  # taken already when they had opened before the board was gone
    if noise["verdict"] == "unchecked":
        noise = demo.doctor().rows["current-noise"]
    assert (noise["verdict"], "60 samples" in noise["said"]) == ("ok", True), noise
