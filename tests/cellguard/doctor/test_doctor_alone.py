"""The doctor while no guard runs: it may open the ports itself, and only then."""

from __future__ import annotations

import fcntl
from typing import Any

import pytest

from cellguard.doctor.timer import judge, measure
from edge_agent.comm_timer import Measured, load, store
from edge_agent.config import load_edge
from edge_agent.guard.core_settings import not_fail_safe
from edge_agent.guard.durable import FILE_NAME, encode
from edge_agent.guard.safety.interface import Durable

BOARD = ("arduino-firmware", "reset-capacitor")


def test_without_a_guard_board_and_timer_are_tried_and_the_measurement_is_kept(rig_without_guard: Any) -> None:
    rig_without_guard.simulator(fault="inverter.comm_timer", refresh="any_frame")

    found = rig_without_guard.doctor("--measure-comm-timer")

    assert found.code == 5
    assert found.rows["guard"]["verdict"] == "fault"
    assert found.rows["arduino-firmware"]["said"].startswith("sketch v2 on ")
    assert found.rows["reset-capacitor"]["verdict"] == "fault"  # the simulator's board is reset by each opening
    assert "10 µF" in found.rows["reset-capacitor"]["todo"]
    assert found.rows["module-data"]["said"] == "not checked: the guard does not answer"
    assert found.rows["broker"]["verdict"] == "fault"
    assert found.rows["modules"]["said"] == "not checked: the broker does not answer"
    assert found.rows["comm-timer"]["verdict"] == "ok"
    assert "refreshed by any_frame" in found.rows["comm-timer"]["said"]
    assert "the inverter's timer with silence" in found.stderr
    kept = load(rig_without_guard.settings.parent / "state")
    assert kept is not None
    assert kept.timer_s == 1.0


def test_no_port_is_opened_while_somebody_holds_the_guards_lock(rig_without_guard: Any) -> None:
    run = rig_without_guard.settings.parent / "run"
    run.mkdir()
    with (run / "guard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = rig_without_guard.doctor("--measure-comm-timer")

    for name in (*BOARD, "comm-timer"):
        assert found.rows[name]["verdict"] == "unchecked"
        assert "guard runs" in found.rows[name]["said"]
    assert "opening" not in found.stderr


def test_no_port_is_opened_after_a_guard_that_was_killed_with_closed_contactors(rig_without_guard: Any) -> None:
    record = rig_without_guard.settings.parent / "state" / FILE_NAME
    record.write_bytes(encode(Durable(armed=True, latches=(), roster=None)))

    found = rig_without_guard.doctor()

    for name in BOARD:
        assert found.rows[name]["verdict"] == "unchecked"
        assert "closed contactors" in found.rows[name]["said"]
    assert "opening" not in found.stderr


@pytest.mark.parametrize("rule", ["write41025", "never_trips"])
def test_what_refreshes_the_timer_is_measured_and_kept_and_info_believes_only_a_timer_that_trips(
    rig_without_guard: Any, rule: str
) -> None:
    rig_without_guard.simulator(fault="inverter.comm_timer", refresh=rule)
    settings = load_edge(rig_without_guard.settings)
    assert settings.inverter is not None
    assert "inverter_comm_timer" in not_fail_safe(settings)

    tried: list[str] = []
    measured = measure(settings.inverter, tried.append)

    assert measured.refreshed_by == rule
    assert tried[0] == "silence"
    state = rig_without_guard.settings.parent / "state"
    store(state, measured)
    assert load(state) == measured
    assert ("inverter_comm_timer" in not_fail_safe(settings)) == (rule == "never_trips")
    assert judge(measured, 1.0).verdict == ("fault" if rule == "never_trips" else "ok")
    mode, setpoint = rig_without_guard.simulator(get=["inverter.mode", "inverter.setpoint"])["get"].values()
    assert (mode, setpoint) == (0, 0)


def test_a_measurement_at_another_setting_of_the_timer_does_not_count() -> None:
    measured = Measured("write41025", 1.0, "2026-01-01")
    assert measured.trusted(1.0)
    assert not measured.trusted(2.0)
    assert judge(Measured("nothing", 1.0, "2026-01-01"), 1.0).verdict == "fault"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"refreshed_by":"any_write"}', b'{"timer_s":"x"}', b"\xff"])
def test_a_broken_record_of_the_timer_is_none(rig_without_guard: Any, content: bytes) -> None:
    state = rig_without_guard.settings.parent / "state"
    (state / "comm_timer.json").write_bytes(content)
    assert load(state) is None
    assert "inverter_comm_timer" in not_fail_safe(load_edge(rig_without_guard.settings))
