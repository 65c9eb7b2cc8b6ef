"""A danger opens the circuit: zero first, then relays 3 and 1, then 2, without load, within the budget."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.guard.model import Output, State

UNDER_LOAD_A = 2.0


def openings(rig: Any, since: Any) -> Any:
    return [e for e in rig.truth if e[1] in {"relay.1", "relay.2"} and not e[2] and e[0] >= since]


def test_over_temperature_writes_zero_then_opens_without_load_within_three_seconds(running: Any) -> None:
    since = running.now
    running.temperature_c[2] = 55.0
    took = running.until(lambda: not running.closed, 3.0)
    running.run(0.5)
    zero = next(e for e in running.truth if e[0] >= since and e[1] == "inverter.setpoint" and not e[2])
    first, second = openings(running, since)
    assert took <= 3.0
    assert zero[0] < first[0]
    assert (first[1], second[1]) == ("relay.1", "relay.2")
    assert 0.09 <= second[0] - first[0] <= 0.2
    assert all(abs(current_a) < UNDER_LOAD_A for *_, current_a in (first, second))
    assert running.board.mask & Output.PUMP
    assert running.board.mask & Output.FAN


def test_the_alarm_is_active_while_hot_and_latched_once_the_heat_is_gone(running: Any) -> None:
    running.temperature_c[2] = 55.0
    running.until(lambda: running.state is State.LATCHED, 5.0)
    assert running.alarm("module-03.temperature_high")["state"] == "active"
    running.temperature_c[2] = 25.0
    running.run(2.0)
    alarm = running.alarm("module-03.temperature_high")
    assert (alarm["state"], alarm["level"], alarm["limit"], alarm["unit"]) == ("latched", "DANGER", 50.0, "°C")
    assert not running.closed
    assert "module-03.temperature_high" in running.states["state/safety"]["latches"]


@pytest.mark.parametrize("amps", [-60.0, 60.0])
def test_a_high_current_is_down_below_two_amperes_when_the_first_relay_opens(ready: Any, amps: Any) -> None:
    ready.drive(amps)
    since = ready.now
    ready.cells[4][6] = 4.24 if amps < 0 else 2.66
    ready.until(lambda: not ready.closed, 3.0)
    ready.run(0.3)
    assert len(openings(ready, since)) == 2
    assert all(abs(e[3]) < UNDER_LOAD_A for e in openings(ready, since))


def test_an_inverter_that_ignores_zero_is_opened_under_load_within_three_and_a_half_seconds_and_critical(
    running: Any,
) -> None:
    running.inverter.ignores = True
    running.temperature_c[0] = 55.0
    took = running.until(lambda: not running.closed, 3.7)
    running.run(1.0)
    assert took <= 3.5
    alarm = running.alarm("relays.opened_under_load")
    assert (alarm["level"], alarm["state"]) == ("CRITICAL", "latched")
    assert running.state is State.LATCHED


def test_a_small_current_does_not_count_as_none_before_zero_is_read_back(ready: Any) -> None:
    ready.drive(-4.0)
    real, since = ready._line, ready.now
    ready._line = lambda actions: real(actions if ready.now > since + 1.0 else None)
    ready.command("contactor", action="open")
    ready.run(0.9)
    assert ready.closed
    ready.until(lambda: ready.state is State.STANDBY, 3.0)
    assert all(abs(e[3]) < UNDER_LOAD_A for e in openings(ready, since))


def test_two_new_samples_open_without_a_latch_also_when_a_slow_line_was_silent_for_longer_than_it_may(
    running: Any,
) -> None:
    real, since = running._line, running.now

    def slow(actions: Any) -> Any:
        """Writes go before polls, and this line takes its time for both."""
        readings = real(actions)
        return readings if running.now > since + 1.7 else []

    running._line = slow
    running.command("contactor", action="open")
    running.until(lambda: "inverter.stale" in running.unknown(), 1.7)
    running.until(lambda: running.state is State.STANDBY, 2.0)
    assert running.now - since < 2.9
    assert all(abs(e[3]) < UNDER_LOAD_A for e in openings(running, since))
    assert running.states["state/safety"]["latches"] == []


def test_estop_goes_through_zero_is_answered_done_and_latches(running: Any) -> None:
    since = running.now
    command = running.command("estop")
    running.until(lambda: running.state is State.LATCHED, 4.0)
    assert [a.status for a in running.answers[command]] == ["accepted", "done"]
    assert running.answers[command][1].readback == {"relay1": False, "relay2": False, "relay3": False}
    assert all(abs(e[3]) < UNDER_LOAD_A for e in openings(running, since))
    assert running.states["state/safety"]["latches"] == ["estop"]


def test_contactor_open_ends_in_standby_without_a_latch_and_can_close_again(running: Any) -> None:
    command = running.command("contactor", action="open")
    running.until(lambda: running.state is State.STANDBY, 4.0)
    assert [a.status for a in running.answers[command]] == ["accepted", "done"]
    assert running.states["state/schedule"]["state"] == "aborted"
    running.connect()
    assert running.closed


def test_the_armed_mark_is_on_disk_before_relay_2_closes_and_gone_after_opening(make_rig: Any) -> None:
    rig = make_rig()
    rig.write_delay_s = 0.7
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 10.0)
    rig.ask("contactor", action="close")
    rig.until(lambda: bool(rig.contacts), 10.0)
    assert rig.durable.armed
    rig.until(lambda: rig.state is State.READY, 10.0)
    rig.command("contactor", action="open")
    rig.until(lambda: rig.state is State.STANDBY, 5.0)
    rig.run(1.5)
    assert not rig.durable.armed


def test_a_latch_reaches_the_disk_and_comes_back_after_a_restart(running: Any) -> None:
    running.temperature_c[1] = 55.0
    running.until(lambda: running.state is State.LATCHED, 5.0)
    running.run(0.2)
    running.temperature_c[1] = 25.0
    assert "module-02.temperature_high" in running.durable.latches
    running.start()
    running.until(lambda: running.state is State.LATCHED, 8.0)
    assert "module-02.temperature_high" in running.states["state/safety"]["latches"]


def test_reset_latch_needs_its_name_thirty_fine_seconds_and_an_open_circuit(running: Any) -> None:
    running.temperature_c[1] = 55.0
    running.until(lambda: running.state is State.LATCHED, 5.0)
    assert running.ask("safety", action="reset_latch", latch="module-02.temperature_high").code == "E_DANGER"
    running.temperature_c[1] = 25.0
    running.doze(20.0)
    assert running.ask("safety", action="reset_latch", latch="module-02.temperature_high").code == "E_DANGER"
    running.run(12.0)
    assert running.ask("safety", action="reset_latch", latch="module-05.stale").code == "E_WRONG_LATCH"
    assert running.state is State.LATCHED
    assert running.ask("safety", action="reset_latch", latch="module-02.temperature_high").status == "accepted"
    running.run(0.1)
    assert running.state is State.STANDBY
    assert running.alarm("module-02.temperature_high")["state"] == "cleared"
    running.connect()


def test_relays_that_do_not_open_are_critical_and_keep_the_latch_from_being_reset(running: Any) -> None:
    running.board.stuck = True
    running.command("contactor", action="open")
    running.until(lambda: running.state is State.LATCHED, 10.0)
    assert running.alarm("relays.unconfirmed")["level"] == "CRITICAL"
    running.doze(40.0)
    answer = running.ask("safety", action="reset_latch", latch="relays.unconfirmed")
    assert answer.code in {"E_NOT_CONFIRMED", "E_DANGER"}


def test_a_board_that_ignores_opening_is_opened_by_its_own_dead_man_and_confirmed(running: Any) -> None:
    running.board.deaf = True
    running.command("contactor", action="open")
    running.until(lambda: running.state is State.STANDBY, 10.0)
    assert not running.contacts


def test_both_mains_welded_is_critical_within_two_seconds_when_current_flows(running: Any) -> None:
    running.welded = Output.RELAY1 | Output.RELAY2
    running.inverter.ignores = True
    running.command("contactor", action="open")
    running.until(lambda: not running.board.mask & Output.RELAY2, 4.0)
    running.until(lambda: running.alarm("pack.current_while_open")["state"] == "active", 2.0)
    assert running.alarm("pack.current_while_open")["level"] == "CRITICAL"


def test_both_mains_welded_without_current_is_critical_within_twelve_seconds(ready: Any) -> None:
    ready.welded = Output.RELAY1 | Output.RELAY2
    ready.command("contactor", action="open")
    ready.until(lambda: ready.alarm("relays.weld_main").get("level") == "CRITICAL", 12.0)
    ready.until(lambda: ready.state is State.LATCHED, 2.0)
    ready.doze(40.0)
    assert ready.ask("safety", action="reset_latch", latch="relays.weld_main").code == "E_LOCAL_ONLY"


def test_a_healthy_opening_never_reports_a_weld(ready: Any) -> None:
    ready.command("contactor", action="open")
    ready.run(15.0)
    assert ready.state is State.STANDBY
    assert ready.alarm("relays.weld_main")["state"] == "never"
