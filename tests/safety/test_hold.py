"""No fresh data, no energy: zero, a while of waiting, then open; and the agent's own absence."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.guard.model import Mode, NoData, Opened, Output, State
from edge_agent.guard.safety.interface import Durable


def test_a_silent_module_is_zero_within_three_seconds_and_open_within_fifteen_and_latched_by_its_name(
    running: Any,
) -> None:
    since = running.now
    running.silent = {5}
    zero = running.until(lambda: abs(running.current_a) < 2.0, 3.0)
    assert running.state is State.HOLD
    alarm = running.alarm("module-05.stale")
    assert (alarm["state"], alarm["level"]) == ("active", "WARNING")
    opened = running.until(lambda: not running.closed, 15.0)
    running.run(1.0)
    assert zero <= 3.0
    assert running.now - since <= 16.0
    assert 10.0 < zero + opened <= 15.0
    assert running.state is State.LATCHED
    assert running.alarm("module-05.stale")["level"] == "FAULT"
    assert [e for e in running.truth if e[1] == "relay.1" and not e[2] and abs(e[3]) >= 2.0] == []


def test_a_module_that_comes_back_leads_to_ready_and_never_by_itself_to_run(running: Any) -> None:
    running.silent = {5}
    running.until(lambda: running.state is State.HOLD, 3.0)
    running.run(5.0)
    running.silent = set()
    running.until(lambda: running.state is State.READY, 3.0)
    assert [e["to"] for e in running.events if e["kind"] == "state"][-2:] == ["HOLD", "READY"]
    running.doze(30.0)
    assert [e["to"] for e in running.events if e["kind"] == "state"][-1] == "READY"
    assert running.state is State.READY
    assert running.closed
    assert running.current_a == 0.0
    assert running.states["state/schedule"]["state"] == "paused"
    assert running.alarm("module-05.stale")["state"] == "cleared"
    assert running.ask("schedule", action="resume").status == "accepted"
    running.until(lambda: abs(running.current_a + 35.0) < 0.1, 5.0)


def test_a_source_must_be_back_for_a_steady_second(running: Any) -> None:
    running.silent = {5}
    running.until(lambda: running.state is State.HOLD, 3.0)
    running.silent = set()
    running.run(0.8)
    assert running.state is State.HOLD
    running.silent = {5}
    running.run(1.5)
    assert running.state is State.HOLD


def test_the_board_is_left_alone_until_boot_is_over(rig: Any) -> None:
    orders = []
    rig.until(
        lambda: bool(orders.append(rig.orders[-1].outputs) if rig.orders else None) or rig.state is State.STANDBY, 8.0
    )
    fed = next(i for i, order in enumerate(orders) if order.feed)
    assert fed
    assert all(order.mask == Output.NONE for order in orders[:fed])


def test_a_gap_below_the_time_limit_changes_nothing(running: Any) -> None:
    running.silent = set(range(1, 9))
    running.run(0.8)
    running.silent = set()
    running.run(3.0)
    assert running.state is State.RUN


@pytest.mark.parametrize("part", ["pdo1", "pdo3", "pdo4"])
def test_one_missing_required_part_is_enough_to_hold(running: Any, part: Any) -> Any:
    real = running.module_readings

    def without(index: Any, number: Any = None) -> Any:
        return [r for r in real(index, number) if (index, r.part) != (2, part)]

    running.module_readings = without
    running.until(lambda: running.state is State.HOLD, 2.0)
    assert "module-03.stale" in running.core.state.phase.why


def test_an_optional_part_never_gates_anything(running: Any) -> None:
    real = running.module_readings
    running.module_readings = lambda index, number=None: [
        r for r in real(index, number) if r.part not in {"pdo2", "pdo6"}
    ]
    running.doze(20.0)
    assert running.state is State.RUN


def test_a_lost_inverter_opens_within_fifteen_seconds_and_is_critical(running: Any) -> None:
    since = running.now
    running.inverter.silent = True
    running.until(lambda: abs(running.current_a) < 2.0, 3.0)
    running.until(lambda: not running.closed, 15.0)
    running.run(2.0)
    assert running.opened(1, since)[0][0] - since <= 15.0
    assert running.state is State.LATCHED
    assert "inverter.stale" in running.states["state/safety"]["latches"]


def test_an_inverter_line_that_comes_back_after_its_timer_tripped_leads_to_ready(running: Any) -> None:
    running.inverter.silent = True
    running.run(4.0)
    assert running.state is State.HOLD
    running.inverter.silent = False
    running.extra_readings.append(Opened("inverter", running.now))
    running.until(lambda: running.state is State.READY, 4.0)
    running.run(5.0)
    assert running.states["state/safety"]["latches"] == []


def test_a_board_that_is_silent_for_two_seconds_holds_and_comes_back(running: Any) -> None:
    running.board.talks = False
    running.run(2.0)
    assert running.state is State.HOLD
    running.board.talks = True
    running.until(lambda: running.state is State.READY, 3.0)
    assert running.closed


def test_a_board_that_is_silent_longer_is_critical_zero_and_latched(running: Any) -> None:
    running.board.talks = False
    running.until(lambda: running.alarm("arduino.lost").get("level") == "CRITICAL", 3.5)
    running.until(lambda: running.state is State.LATCHED, 8.0)
    assert running.core.state.drive.setpoint == 0.0


def test_a_board_that_was_reset_is_critical_and_its_old_mask_is_never_sent_again(running: Any) -> None:
    since = running.now
    running.board.reset()
    running.until(lambda: running.state is not State.RUN, 1.0)
    assert not running.orders[-1].outputs.mask & (Output.RELAY1 | Output.RELAY2 | Output.RELAY3)
    running.run(5.0)
    assert running.alarm("arduino.reset")["level"] == "CRITICAL"
    assert running.state is State.LATCHED
    assert [e for e in running.truth if e[0] > since and e[1].startswith("relay.") and e[2]] == []


def test_a_frozen_agent_sees_its_own_absence_and_energises_nothing_stale(running: Any) -> None:
    running.run(10.0, agent=False)
    assert not running.closed
    resumed = running.now
    running.run(4.0)
    assert running.state is State.LATCHED
    assert "guard.overrun" in running.states["state/safety"]["latches"]
    stale = [
        e
        for e in running.truth
        if e[0] >= resumed and e[2] and (e[1].startswith("relay.") or e[1] == "inverter.setpoint")
    ]
    assert stale == []


def test_what_piled_up_during_a_freeze_energises_nothing(running: Any) -> None:
    old = [*running.board_readings(), running.poll(), *running.module_readings(0)]
    running.run(10.0, agent=False)
    resumed = running.now
    running.extra_readings += [reading._replace(t_mono=running.now + 0.005) for reading in old * 20]
    running.run(5.0)
    assert running.state is State.LATCHED
    assert not running.closed
    assert [
        e for e in running.truth if e[0] >= resumed and e[2] and e[1].startswith(("relay.", "inverter.setpoint"))
    ] == []


def test_a_short_stall_goes_through_zero_before_it_opens(running: Any) -> None:
    since = running.now
    running.run(1.3, agent=False)
    running.run(5.0)
    assert running.state is State.LATCHED
    assert all(abs(e[3]) < 2.0 for e in running.truth if e[0] > since and e[1] in {"relay.1", "relay.2"})


def test_three_half_second_stalls_in_a_minute_are_too_many(running: Any) -> None:
    for _ in range(3):
        running.run(0.6, agent=False)
        running.run(8.0)
    assert running.state is State.LATCHED


def test_one_half_second_stall_is_only_a_warning(running: Any) -> None:
    running.run(0.6, agent=False)
    running.run(3.0)
    assert running.state is State.RUN
    assert running.alarm("guard.overrun")["level"] == "WARNING"
    running.run(5.0)
    assert running.alarm("guard.overrun")["state"] == "cleared"


def test_a_killed_agent_leaves_an_open_circuit_by_the_timers_alone(running: Any) -> None:
    since = running.now
    running.run(4.0, agent=False)
    assert not running.closed
    assert running.opened(1, since)[0][0] - since <= 4.0
    assert abs(running.opened(1, since)[0][3]) < 2.0


@pytest.mark.parametrize("pause_s", [0.05, 0.5, 1.0, 2.0, 3.0])
def test_a_quick_restart_under_load_opens_without_load_and_comes_back_latched(ready: Any, pause_s: Any) -> None:
    ready.drive(60.0)
    since = ready.now
    ready.run(pause_s, agent=False)
    ready.start()
    ready.until(lambda: ready.state is State.LATCHED, 8.0)
    loaded = [
        e for e in ready.truth if e[0] >= since and e[1] in {"relay.1", "relay.2"} and not e[2] and abs(e[3]) >= 2.0
    ]
    assert loaded == []
    assert "guard.restarted" in ready.states["state/safety"]["latches"]
    zero = [e[0] for e in ready.truth if e[0] >= since and e[1] in {"inverter.setpoint", "inverter.mode"} and not e[2]]
    assert zero
    assert zero[0] <= ready.opened(1, since)[0][0]


def test_boot_without_any_device_ends_degraded_in_standby(make_rig: Any) -> None:
    rig = make_rig()
    rig.board.present, rig.inverter.silent, rig.silent = False, True, set(range(1, 9))
    took = rig.until(lambda: rig.state is State.STANDBY, 8.0)
    assert took <= 8.0
    rig.extra_readings.append(NoData("arduino", "", rig.now, "absent"))
    rig.run(10.0)
    assert "arduino absent" in rig.states["degraded"]["why"]
    assert rig.states["state/safety"]["latches"] == []
    assert rig.ask("contactor", action="close").code == "E_STALE"


def test_boot_with_the_armed_mark_and_no_board_is_latched_and_critical(make_rig: Any) -> None:
    rig = make_rig(durable=Durable(armed=True))
    rig.board.present = False
    rig.until(lambda: rig.state is State.LATCHED, 8.0)
    assert rig.alarm("relays.unconfirmed")["level"] == "CRITICAL"


def test_devices_that_appear_later_end_the_degradation(make_rig: Any) -> None:
    rig = make_rig()
    rig.board.present = False
    rig.run(12.0)
    assert "arduino stale" in rig.states["degraded"]["why"]
    rig.board.present = True
    rig.run(3.0)
    assert rig.states["degraded"]["why"] == []
    rig.connect()


def test_a_lost_broker_pauses_the_schedule_at_zero_until_resumed(running: Any) -> None:
    running.broker = False
    running.run(9.0)
    assert running.state is State.RUN
    running.run(3.0)
    assert running.current_a == 0.0
    running.broker = True
    running.run(5.0)
    assert running.states["state/schedule"]["state"] == "paused"
    assert running.ask("schedule", action="resume").status == "accepted"


def test_an_autonomous_schedule_goes_on_without_the_broker(make_rig: Any) -> None:
    rig = make_rig(autonomous=True)
    rig.connect()
    rig.drive(-35.0)
    rig.broker = False
    rig.doze(30.0)
    assert rig.state is State.RUN


def test_current_against_the_command_is_zeroed_without_a_latch(running: Any) -> None:
    running.inverter.ignores, running.current_a = True, 30.0
    running.until(lambda: running.state is State.HOLD, 6.0)
    assert "pack.current_against_command" in running.core.state.phase.why
    assert running.orders[-1].inverter.setpoint == 0.0
    running.inverter.ignores = False
    running.until(lambda: running.state is State.READY, 6.0)
    assert running.orders[-1].inverter.mode is Mode.OFF
    assert running.states["state/safety"]["latches"] == []
