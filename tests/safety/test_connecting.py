"""Closing: weld check, measured precharge, every relay read back; a failure of each step opens again."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.guard.model import Output, State
from edge_agent.guard.safety.interface import ArduinoSettings, Durable


def standby(rig: Any) -> Any:
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 10.0)
    return rig


def closing(rig: Any) -> Any:
    command = rig.command("contactor", action="close")
    rig.until(lambda: rig.state is State.CONNECTING, 1.0)
    return command


def step_of(rig: Any) -> Any:
    return rig.core.state.phase.step


def test_a_healthy_rig_is_ready_in_about_five_seconds_and_main_plus_meets_a_charged_link(rig: Any) -> None:
    standby(rig)
    command = closing(rig)
    link_v = []
    rig.until(lambda: bool(link_v.append(rig.link_v)) or bool(rig.contacts & Output.RELAY1), 8.0)
    assert abs(link_v[-1] - rig.pack_v) < 0.015 * rig.pack_v
    rig.until(lambda: rig.state is State.READY, 2.0)
    assert rig.now - 100.0 < 8.0
    assert rig.contacts == Output.RELAY1 | Output.RELAY2
    assert [a.status for a in rig.answers[command]] == ["accepted", "done"]


def test_weld_check_switches_relay_2_alone_then_relay_3_alone(rig: Any) -> None:
    standby(rig)
    closing(rig)
    rig.until(lambda: rig.state is State.READY, 10.0)
    order = [(what, int(on)) for _, what, on, _ in rig.truth if what.startswith("relay.")]
    assert order == [
        ("relay.2", 1), ("relay.2", 0), ("relay.3", 1), ("relay.3", 0),
        ("relay.2", 1), ("relay.3", 1), ("relay.1", 1), ("relay.3", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("welded", "latch"),
    [
        (Output.RELAY3, "relays.weld_plus"),
        (Output.RELAY2, "relays.weld_minus"),
    ],
)
def test_a_welded_relay_is_latched_within_two_seconds_of_its_check(rig: Any, welded: Any, latch: Any) -> None:
    rig.welded = welded
    standby(rig)
    command = closing(rig)
    rig.until(lambda: bool(rig.board.mask & (Output.RELAY2 | Output.RELAY3)), 5.0)
    rig.until(lambda: latch in rig.states["state/safety"]["latches"], 3.0)
    rig.run(5.0)
    assert rig.state is State.LATCHED
    assert rig.answers[command][-1].status == "failed"
    assert not rig.board.mask & Output.RELAY1


def test_precharge_that_fails_is_retried_once_after_thirty_seconds_then_latched(rig: Any) -> None:
    standby(rig)
    rig.precharge_fails = True
    command = closing(rig)
    rig.until(lambda: bool(rig.board.mask & Output.RELAY3) and bool(rig.board.mask & Output.RELAY2), 10.0)
    rig.until(lambda: not rig.board.mask & Output.RELAY3, 6.0)
    assert rig.state is State.CONNECTING
    pause = rig.until(lambda: bool(rig.board.mask & Output.RELAY3), 33.0)
    assert pause >= 30.0
    rig.until(lambda: rig.state is State.LATCHED, 10.0)
    assert rig.states["state/safety"]["latches"] == ["precharge.failed"]
    assert rig.answers[command][-1].status == "failed"
    assert not [e for e in rig.truth if e[1] == "relay.1" and e[2]]


def test_a_live_link_is_waited_for_and_refused_after_a_minute(rig: Any) -> None:
    standby(rig)
    rig.bleed_tau_s, rig.link_v = 1e9, 200.0
    command = closing(rig)
    rig.doze(59.0)
    assert rig.state is State.CONNECTING
    assert not rig.contacts
    rig.run(3.0)
    assert rig.answers[command][-1].code == "E_LINK_LIVE"
    rig.run(3.0)
    assert rig.state is State.STANDBY


def test_a_link_that_bleeds_within_the_minute_is_closed_onto(rig: Any) -> None:
    standby(rig)
    rig.bleed_tau_s, rig.link_v = 20.0, 350.0
    closing(rig)
    rig.until(lambda: rig.state is State.READY, 60.0)
    assert rig.closed


def test_danger_during_precharge_opens_at_once(rig: Any) -> None:
    standby(rig)
    closing(rig)
    rig.until(lambda: bool(rig.board.mask & Output.RELAY3) and bool(rig.board.mask & Output.RELAY2), 8.0)
    rig.cells[0][0] = 4.26
    rig.until(lambda: not rig.contacts, 3.0)
    rig.run(1.0)
    assert rig.state is State.LATCHED
    assert not [e for e in rig.truth if e[1] == "relay.1" and e[2]]


def test_a_silent_board_stops_the_closing_and_latches(rig: Any) -> None:
    standby(rig)
    closing(rig)
    rig.until(lambda: bool(rig.board.mask & Output.RELAY2), 5.0)
    rig.board.talks = False
    rig.until(lambda: rig.state is not State.CONNECTING, 5.0)
    rig.run(8.0)
    assert not rig.contacts
    assert "relays.unconfirmed" in rig.states["state/safety"]["latches"]


def test_nothing_closes_while_the_mark_is_not_on_disk(rig: Any) -> None:
    standby(rig)
    rig.write_delay_s = 1e9
    closing(rig)
    rig.run(20.0)
    assert not rig.contacts


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"commission_count": None}, "E_NOT_COMMISSIONED"),
        ({"arduino": None}, "E_STALE"),
        ({"inverter": None}, "E_STALE"),
    ],
)
def test_closing_is_refused_with_its_reason(make_rig: Any, changes: Any, code: Any) -> None:
    rig = make_rig(**changes)
    rig.run(12.0)
    answer = rig.ask("contactor", action="close")
    assert (answer.status, answer.code) == ("rejected", code)
    assert answer.reason
    assert rig.state is State.STANDBY


def test_fewer_commissioned_modules_than_in_series_never_close(make_rig: Any) -> None:
    rig = make_rig(commission_count=7)
    rig.silent = {8}
    rig.run(12.0)
    answer = rig.ask("contactor", action="close")
    assert (answer.code, rig.state) == ("E_NOT_COMMISSIONED", State.STANDBY)
    assert "7 modules" in answer.reason


def test_a_module_that_was_not_commissioned_is_a_fault(make_rig: Any) -> None:
    rig = make_rig(commission_count=7)
    rig.until(lambda: rig.state is State.LATCHED, 20.0)
    assert rig.states["state/safety"]["latches"] == ["module-08.extra"]


def test_commission_by_the_local_door_records_who_answers_and_survives_a_restart(make_rig: Any) -> None:
    rig = make_rig(commission_count=None)
    rig.run(8.0)
    command = rig.command("commission", local=True)
    rig.run(0.5)
    assert [a.status for a in rig.answers[command]] == ["accepted", "done"]
    assert rig.durable.roster == tuple(range(1, 9))
    rig.start()
    rig.connect()
    assert rig.closed


def test_a_commissioned_module_that_is_dead_at_boot_is_missed(make_rig: Any) -> None:
    rig = make_rig()
    rig.silent = {5}
    rig.run(12.0)
    answer = rig.ask("contactor", action="close")
    assert (answer.code, answer.blocked_by) == ("E_STALE", ("module-05.stale",))
    assert rig.alarm("module-05.stale")["state"] == "active"
    assert "module-05 stale" in rig.states["degraded"]["why"]


def test_a_pack_without_link_voltage_precharges_by_time(make_rig: Any) -> None:
    rig = make_rig(link_voltage="none", precharge="timed")
    standby(rig)
    closing(rig)
    took = rig.until(lambda: bool(rig.contacts & Output.RELAY1), 10.0)
    rig.until(lambda: rig.state is State.READY, 2.0)
    assert took > 5.0
    assert [e[1] for e in rig.truth if e[1].startswith("relay")] == ["relay.2", "relay.3", "relay.1", "relay.3"]


def test_close_while_latched_is_refused_also_after_a_restart(make_rig: Any) -> None:
    rig = make_rig(durable=Durable(latches=("relays.weld_plus",)))
    rig.until(lambda: rig.state is State.LATCHED, 9.0)
    answer = rig.ask("contactor", action="close")
    assert (answer.code, answer.blocked_by) == ("E_LATCHED", ("relays.weld_plus",))


def test_the_schedule_needs_closed_contactors(rig: Any) -> None:
    standby(rig)
    assert rig.ask("schedule", action="resume").code == "E_NOT_CONNECTED"
    assert step_of(rig) == 0


def test_a_version_1_board_closes_without_read_back_and_says_so(make_rig: Any) -> None:
    rig = make_rig(arduino=ArduinoSettings(protocol="v1"))
    real = rig.board_readings

    def blind() -> Any:
        line = real()[1]
        return [line._replace(values=(*line.values[:5], None), bad=(*line.bad, (5, "absent")))]

    rig.board_readings = blind
    standby(rig)
    command = rig.command("pump", on=True)
    rig.run(3.0)
    assert rig.answers[command][-1].readback == {"on": None}
    assert rig.states["state/outputs"]["pump"]["readback"] is None
    command = closing(rig)
    rig.until(lambda: rig.state is State.READY, 40.0)
    assert rig.closed
    rig.command("contactor", action="open")
    rig.until(lambda: rig.state is State.STANDBY, 10.0)
    assert not rig.contacts
