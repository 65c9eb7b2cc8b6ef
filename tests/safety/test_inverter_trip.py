"""The inverter's own communication timer, or a short loss of its supply, while it runs: zero, and nothing by itself."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.guard.model import Mode, State


def trip(rig: Any, fault: int = 8) -> None:
    """The inverter forgets mode and setpoint; its line answers all the time."""
    rig.inverter.mode, rig.inverter.setpoint, rig.inverter.faults = 0, 0.0, fault
    rig.note("inverter.mode", 0.0)


@pytest.mark.parametrize("fault", [8, 0])
def test_a_trip_while_running_is_zero_and_never_runs_again_by_itself(running: Any, fault: int) -> None:
    trip(running, fault)
    since = running.now
    running.until(lambda: running.state is State.HOLD, 0.5)
    assert "inverter.trip" in running.core.state.phase.why
    assert running.orders[-1].inverter.setpoint == 0.0
    running.until(lambda: running.state is State.READY, 4.0)
    running.doze(30.0)
    assert running.state is State.READY
    assert running.closed
    assert running.states["state/safety"]["latches"] == []
    assert running.states["state/schedule"]["state"] == "paused"
    assert [e for e in running.truth if e[0] > since and e[1] == "inverter.setpoint" and e[2]] == []


def test_after_a_trip_a_schedule_that_is_started_anew_runs(running: Any) -> None:
    trip(running)
    running.until(lambda: running.state is State.HOLD, 0.5)
    running.until(lambda: running.state is State.READY, 4.0)
    running.drive(-20.0)
    assert running.state is State.RUN
    assert running.inverter.mode == Mode.CURRENT
    assert running.alarm("inverter.trip")["state"] == "cleared"


def test_an_inverter_that_trips_again_and_again_is_opened_and_latched(running: Any) -> None:
    real = running.poll

    def dead() -> Any:
        trip(running)
        return real()

    running.poll = dead
    running.until(lambda: running.state is State.LATCHED, 20.0)
    assert not running.closed


def test_a_slow_line_has_the_time_of_a_hold_to_write_everything_again(running: Any) -> None:
    real, until = running.poll, running.now + 7.0

    def slow() -> Any:
        if running.now < until:
            trip(running, fault=0)
        return real()

    running.poll = slow
    running.until(lambda: running.state is State.READY, 12.0)
    assert running.now >= until
    assert running.closed
    assert running.states["state/safety"]["latches"] == []
    assert running.alarm("inverter.readback")["state"] == "never"


def test_changing_the_mode_or_stopping_is_no_trip(running: Any) -> None:
    assert running.ask("schedule", action="stop").status == "accepted"
    assert running.ask("inverter", mode="power", setpoint=5.0).status == "accepted"
    running.run(3.0)
    assert running.state is State.RUN
    assert running.inverter.mode == Mode.POWER
    assert running.ask("inverter", mode="current", setpoint=0.0).status == "accepted"
    running.run(5.0)
    running.drive(-20.0)
    assert running.state is State.RUN
    assert running.alarm("inverter.trip")["state"] == "never"
