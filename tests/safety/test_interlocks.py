"""SAFETY §5, cell by cell: every command in every state gets exactly the table's answer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.guard.model import Level, Mode, Output, State
from edge_agent.guard.safety.commands import DEEDS
from edge_agent.guard.safety.facts import BoardFacts, Facts, InverterFacts, Raised, Sample
from edge_agent.guard.safety.interface import Command, Durable, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.interlocks import COLUMNS, CONDITIONS, MATRIX, PROFILES
from edge_agent.guard.safety.state import Drive, Latch, Outputs, Phase, Programme, Supervisor, Vault, Watch
from edge_agent.guard.safety.supervisor import step
from edge_agent.guard.safety.turn import StepInputs

NOW = 1000.0
FILE = ScheduleFile("s.csv", "A", (ScheduleStep(100.0, -20.0),))
MAIN = Output.RELAY1 | Output.RELAY2

# The table of the design, written down a second time on purpose: A = accepted.
TABLE = {
    ("estop", ""): "A A A A A A A A A",
    ("contactor", "open"): "A A A A A A A A A",
    ("schedule", "stop"): "A A A A A A A A A",
    ("contactor", "close"): "E_BUSY A E_BUSY A A A E_BUSY E_LATCHED E_STATE",
    ("inverter", ""): "E_STATE E_NOT_CONNECTED E_BUSY A A E_STALE E_BUSY E_LATCHED E_STATE",
    ("schedule", "start"): "E_STATE E_NOT_CONNECTED E_BUSY A A E_STALE E_BUSY E_LATCHED E_STATE",
    ("schedule", "resume"): "E_STATE E_NOT_CONNECTED E_BUSY A A E_STALE E_BUSY E_LATCHED E_STATE",
    ("relay1", "on"): "E_SERVICE_ONLY " * 8 + "A",
    ("relay3", "on"): "E_SERVICE_ONLY " * 8 + "A",
    ("relay2", "off"): "A A A A A A A A A",
    ("pump", "on"): "A A A A A A A A A",
    ("fan", "on"): "A A A A A A A A A",
    ("pump", "off"): "E_THERMAL A A A A A E_THERMAL A A",
    ("fan", "off"): "E_THERMAL A A A A A E_THERMAL A A",
    ("safety", "reset_latch"): "E_STATE A E_STATE E_STATE E_STATE E_STATE E_BUSY A A",
    ("alarm", "ack"): "A A A A A A A A A",
    ("config", "reload"): "E_STATE A E_BUSY E_CONNECTED E_CONNECTED E_CONNECTED E_BUSY A A",
}  # fmt: skip
CELLS = [
    (verb, state, answer) for verb, row in TABLE.items() for state, answer in zip(COLUMNS, row.split(), strict=True)
]


def facts(**changes: Any) -> Any:
    good = Facts(
        current=Sample(9, NOW - 0.1, 0.0),
        link=Sample(9, NOW - 0.1, 0.0),
        pack_v=360.0,
        present=tuple(range(1, 9)),
        inverter=InverterFacts(9, NOW - 0.1, 0, 0.0, 0),
        board=BoardFacts(9, NOW - 0.05, 1, armed=True, held=False, pins=Output.NONE),
    )
    return good._replace(**changes)


def situation(state: Any, latches: Any = ()) -> Any:
    """A supervisor that has been in this state for a while, with everything as it should be there."""
    connected = state in {State.READY, State.RUN, State.HOLD}
    mask = MAIN if connected else Output.NONE
    programme = Programme("paused", FILE, 0.0, NOW - 50, 0, 100.0) if connected else Programme()
    return Supervisor(
        Phase(state, NOW - 40.0, State.STANDBY, step_since=NOW - 0.2, why=("pack.current_against_command",)),
        drive=Drive(
            mode=Mode.CURRENT if state is State.RUN else Mode.OFF, limited_at=NOW - 1, charge_a=100.0, discharge_a=100.0
        ),
        outputs=Outputs(mask=mask, changed=NOW - 50, boot=1),
        programme=replace(programme, state="running", resumed=NOW - 50) if state is State.RUN else programme,
        vault=Vault(Durable(roster=tuple(range(1, 9)))),
        watch=Watch(fine_since=NOW - 60.0),
        latches=latches or ((Latch("estop", Level.DANGER),) if state is State.LATCHED else ()),
        turned=NOW - 0.05,
    )


def body_of(target: Any, action: Any) -> Any:
    if target in {"pump", "fan", "relay1", "relay2", "relay3"}:
        return {"on": action == "on"}
    return {
        "estop": {},
        "inverter": {"mode": "current", "setpoint": -20.0},
        "alarm": {"action": "ack", "alarm": "module-05.stale"},
        "safety": {"action": "reset_latch", "latch": "estop"},
    }.get(target, {"action": action})


def first_answer(settings: Any, state: Any, target: Any, action: Any, told: Any = None, **more: Any) -> Any:
    command = Command("c1", target, "E", "alice", more.pop("body", body_of(target, action)), schedule=FILE, **more)
    told = told if told is not None else told_for(state)
    inputs = StepInputs(told, (command,), alarms=frozenset({"module-05.stale"}))
    _, decision = step(settings, situation(state), inputs, NOW)
    mine = [answer for answer in decision.answers if answer.id == "c1"]
    assert mine, "a command must be answered in its own turn"
    assert [a.status for a in mine].count("accepted") + [a.status for a in mine].count("rejected") == 1
    return mine[0]


def told_for(state: Any, **changes: Any) -> Any:
    connected = state in {State.READY, State.RUN, State.HOLD}
    board = facts().board._replace(pins=MAIN if connected else Output.NONE)
    zero = ("pack.current_against_command",) if state is State.HOLD else ()
    return facts(board=board, zero=zero, **changes)


@pytest.mark.parametrize(
    ("verb", "state", "answer"), CELLS, ids=lambda v: "-".join(v) if isinstance(v, tuple) else str(v)
)
def test_every_cell_of_the_matrix_answers_as_the_table_says(
    settings_of: Any, verb: Any, state: Any, answer: Any
) -> None:
    got = first_answer(settings_of(), state, *verb)
    assert (got.status, got.code) == (("accepted", None) if answer == "A" else ("rejected", answer))
    if got.status == "rejected":
        assert got.reason


def test_every_row_has_every_state_and_every_verb_its_deed() -> None:
    assert all(len(row) == len(COLUMNS) for row in MATRIX.values())
    assert set(MATRIX) == set(DEEDS)
    conditions = {cell for row in MATRIX.values() for cell in row if cell != "A" and not cell.startswith("E_")}
    assert conditions <= set(CONDITIONS)
    assert all(set(rows) <= set(MATRIX) for rows in PROFILES.values())


@pytest.mark.parametrize(
    ("changes", "code", "blocked_by"),
    [
        ({"trips": (Raised("module-03.temperature_high", Level.DANGER),)}, "E_DANGER", ("module-03.temperature_high",)),
        ({"unknown": ("module-05.stale",)}, "E_STALE", ("module-05.stale",)),
    ],
)
def test_closing_names_what_blocks_it(settings_of: Any, changes: Any, code: Any, blocked_by: Any) -> None:
    if code == "E_DANGER":
        state = situation(State.SERVICE)
        command = Command("c1", "relay1", "E", "alice", {"on": True})
        _, decision = step(settings_of(), state, StepInputs(facts(**changes), (command,)), NOW)
        assert decision.answers[0].status == "rejected"
        return
    got = first_answer(settings_of(), State.STANDBY, "contactor", "close", facts(**changes))
    assert (got.code, got.blocked_by) == (code, blocked_by)


@pytest.mark.parametrize(
    ("setpoint", "changes", "code"),
    [
        (-101.0, {}, "E_LIMIT"),
        (101.0, {}, "E_LIMIT"),
        (90.0, {}, "E_LIMIT"),  # 90 A at 360 V is 32.4 kW
        (-20.0, {"charge": ("module-03.cell-01.voltage_high",)}, "E_BLOCKED_CHARGE"),
        (20.0, {"discharge": ("module-03.cell-01.voltage_low",)}, "E_BLOCKED_DISCHARGE"),
        (20.0, {"charge": ("module-03.cell-01.voltage_high",)}, None),
        (0.0, {"charge": ("a",), "discharge": ("b",)}, None),
    ],
)
def test_a_setpoint_is_judged_against_limits_and_blocked_directions(
    settings_of: Any, setpoint: Any, changes: Any, code: Any
) -> None:
    body = {"mode": "current", "setpoint": setpoint}
    got = first_answer(settings_of(), State.READY, "inverter", "", told_for(State.READY, **changes), body=body)
    assert got.code == code


@pytest.mark.parametrize("heat", [1, 2])
def test_cooling_cannot_be_switched_off_while_it_is_needed(settings_of: Any, heat: Any) -> None:
    state = replace(situation(State.STANDBY), outputs=Outputs(cooling=True, boot=1))
    command = Command("c1", "pump", "A", "alice", {"on": False})
    _, decision = step(settings_of(), state, StepInputs(facts(heat=heat), (command,)), NOW)
    assert decision.answers[0].code == "E_THERMAL"


def test_a_schedule_step_beyond_a_limit_is_named(settings_of: Any) -> None:
    file = ScheduleFile("s.csv", "A", (ScheduleStep(1.0, 10.0), ScheduleStep(1.0, -120.0)))
    command = Command("c1", "schedule", "E", "alice", {"action": "start", "file": "s.csv"}, schedule=file)
    _, decision = step(settings_of(), situation(State.READY), StepInputs(told_for(State.READY), (command,)), NOW)
    assert decision.answers[0].code == "E_LIMIT"
    assert "step 2" in decision.answers[0].reason


def test_a_schedule_that_could_not_be_read_is_refused_with_the_trouble(settings_of: Any) -> None:
    command = Command("c1", "schedule", "E", "alice", {"action": "start"}, trouble="s.csv: no such file")
    _, decision = step(settings_of(), situation(State.READY), StepInputs(told_for(State.READY), (command,)), NOW)
    assert (decision.answers[0].code, decision.answers[0].reason) == ("E_FILE", "s.csv: no such file")


@pytest.mark.parametrize(
    ("energise", "local", "code"),
    [("window", False, "E_NOT_ARMED"), ("local", False, "E_NOT_ARMED"), ("local", True, None)],
)
def test_energising_from_afar_needs_the_window(settings_of: Any, energise: Any, local: Any, code: Any) -> None:
    settings = settings_of(energise=energise)
    assert first_answer(settings, State.STANDBY, "contactor", "close", local=local).code == code
    assert first_answer(settings, State.STANDBY, "estop", "").code is None


def test_arming_opens_the_window_for_the_hours_it_names_and_no_longer(make_rig: Any) -> None:
    rig = make_rig(energise="window")
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 10.0)
    assert rig.ask("contactor", action="close").code == "E_NOT_ARMED"
    assert rig.ask("arm", local=True, hours=0.001).status == "accepted"
    assert rig.states["state/safety"]["armed_until_mono_us"] > 0
    rig.run(3.7)
    assert rig.ask("contactor", action="close").code == "E_NOT_ARMED"
    rig.command("arm", local=True, hours=1)
    assert rig.ask("contactor", action="close").status == "accepted"


@pytest.mark.parametrize("hours", [0, -1, 25, "2", True, None])
def test_arming_for_impossible_hours_is_refused(settings_of: Any, hours: Any) -> None:
    got = first_answer(settings_of(), State.STANDBY, "arm", "", body={"hours": hours}, local=True)
    assert (got.status, got.code) == ("rejected", "E_SYNTAX")


@pytest.mark.parametrize("latch", ["relays.weld_main", "relays.weld_plus", "arduino.ground_fault"])
def test_weld_and_ground_fault_are_reset_through_the_local_door_only(settings_of: Any, latch: Any) -> None:
    state = situation(State.LATCHED, (Latch(latch, Level.CRITICAL),))
    for local, code in ((False, "E_LOCAL_ONLY"), (True, None)):
        command = Command("c1", "safety", "E", "alice", {"action": "reset_latch", "latch": latch}, local)
        _, decision = step(settings_of(), state, StepInputs(facts(), (command,)), NOW)
        assert decision.answers[0].code == code


def test_an_unknown_alarm_is_not_acknowledged(settings_of: Any) -> None:
    got = first_answer(settings_of(), State.READY, "alarm", "ack", body={"action": "ack", "alarm": "module-99.none"})
    assert got.code == "E_NO_ALARM"


def test_an_unknown_command_is_said_to_be_unknown(settings_of: Any) -> None:
    got = first_answer(settings_of(), State.READY, "teapot", "")
    assert (got.status, got.code) == ("rejected", "E_SYNTAX")


@pytest.mark.parametrize("verb", [("contactor", "close"), ("pump", "on"), ("relay1", "on"), ("inverter", "")])
def test_a_monitor_has_no_outputs(settings_of: Any, verb: Any) -> None:
    got = first_answer(settings_of(profile="monitor"), State.STANDBY, *verb)
    assert (got.status, got.code) == ("rejected", "E_STATE")


def test_a_monitor_orders_nothing(make_rig: Any) -> None:
    rig = make_rig(profile="monitor")
    rig.run(5.0)
    assert rig.orders[-1].outputs is None
    assert rig.orders[-1].inverter is None


def test_switch_relays_are_switched_by_command_and_open_on_danger(make_rig: Any) -> None:
    rig = make_rig(profile="switch", inverter=None)
    rig.run(6.0)
    command = rig.command("relay2", on=True)
    rig.run(0.5)
    assert rig.answers[command][-1].readback == {"on": True}
    rig.temperature_c[0] = 61.0
    rig.until(lambda: rig.state is State.LATCHED, 4.0)
    assert not rig.contacts
    assert rig.ask("relay2", on=True).code == "E_LATCHED"


def test_service_switches_one_relay_at_a_time_and_ends_open(make_rig: Any) -> None:
    rig = make_rig()
    rig.run(6.0)
    rig.command("service", local=True, on=True)
    command = rig.command("relay3", on=True)
    rig.run(0.5)
    assert rig.state is State.SERVICE
    assert rig.answers[command][-1].status == "done"
    assert rig.ask("relay1", on=True).code == "E_STATE"
    rig.command("service", local=True, on=False)
    rig.run(3.0)
    assert rig.state is State.STANDBY
    assert not rig.contacts


@pytest.mark.parametrize("target", ["pump", "fan"])
def test_pump_and_fan_are_answered_done_with_what_the_pins_show(rig: Any, target: Any) -> None:
    rig.doze(330.0)
    command = rig.command(target, on=True)
    rig.run(0.3)
    answers = rig.answers[command]
    assert [a.status for a in answers] == ["accepted", "done"]
    assert answers[1].readback == {"on": True}
    assert answers[1].took_ms <= 300
    assert rig.states["state/outputs"][target] == {"commanded": 1, "readback": 1, "by": "command:alice"}
    command = rig.command(target, on=False)
    rig.run(0.3)
    assert rig.answers[command][1].readback == {"on": False}


def test_a_pump_that_does_not_start_is_answered_failed(rig: Any) -> None:
    rig.doze(330.0)
    rig.board.stuck = True
    command = rig.command("pump", on=True)
    rig.run(3.5)
    assert (rig.answers[command][-1].status, rig.answers[command][-1].code) == ("failed", "E_NOT_CONFIRMED")


def test_a_setpoint_is_a_lease_that_ends_at_zero_and_ready(ready: Any) -> None:
    command = ready.command("inverter", mode="current", setpoint=-20.0)
    ready.run(3.0)
    assert [a.status for a in ready.answers[command]] == ["accepted", "done"]
    assert ready.answers[command][1].readback == {"setpoint": -20.0}
    assert ready.current_a == pytest.approx(-20.0)
    ready.run(8.0)
    assert ready.state is State.READY
    assert ready.current_a == 0.0


def test_a_commanded_change_ramps_and_a_stop_does_not(ready: Any) -> None:
    ready.command_schedule(60.0, -60.0, seconds=5.0)
    orders = []
    for _ in range(800):
        ready.tick()
        orders.append(ready.orders[-1].inverter.setpoint)
    steps = [abs(b - a) for a, b in itertools.pairwise(orders)]
    assert max(steps) <= 5.0 + 1e-6
    assert {60.0, -60.0} <= set(orders)
    ready.command("schedule", action="stop")
    ready.tick()
    assert ready.orders[-1].inverter.setpoint == 0.0


def test_a_renewed_lease_goes_on(ready: Any) -> None:
    for _ in range(4):
        ready.command("inverter", mode="current", setpoint=-20.0)
        ready.run(6.0)
    assert ready.state is State.RUN


def test_pause_and_resume_keep_the_place_in_the_schedule(running: Any) -> None:
    running.run(10.0)
    running.command("schedule", action="pause")
    running.run(20.0)
    assert running.current_a == 0.0
    paused_at = running.states["state/schedule"]["elapsed_s"]
    running.command("schedule", action="resume")
    running.run(5.0)
    assert running.current_a == pytest.approx(-35.0)
    assert running.states["state/schedule"]["elapsed_s"] == pytest.approx(paused_at + 5.0, abs=1.1)


def test_every_command_of_a_flood_is_answered_and_the_memory_of_them_is_bounded(running: Any) -> None:
    running.inverter.ignores = True
    ids = [running.command("estop") for _ in range(500)]
    running.run(8.0)
    assert all(running.answers[i][0].status == "accepted" for i in ids)
    assert all(len(running.answers[i]) == 2 for i in ids)
