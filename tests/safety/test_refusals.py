"""Why a command is refused where the table only says that there is a condition: each condition, with its code and its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.guard.model import Level, Output, State
from edge_agent.guard.safety.facts import InverterFacts, Raised
from edge_agent.guard.safety.interface import Command, Durable
from edge_agent.guard.safety.state import Programme, Vault
from edge_agent.guard.safety.supervisor import step
from edge_agent.guard.safety.turn import StepInputs
from tests.safety.test_interlocks import NOW, body_of, facts, first_answer, situation, told_for

HOT = Raised("module-03.temperature_high", Level.DANGER)


def refused(settings: Any, before: Any, target: str, action: str, told: Any = None, **body: Any) -> tuple[Any, ...]:
    command = Command("c1", target, "E", "alice", body or body_of(target, action))
    _, decision = step(settings, before, StepInputs(told or told_for(before.phase.state), (command,)), NOW)
    answer = next(one for one in decision.answers if one.id == "c1")
    assert answer.status == "rejected"
    return answer.code, answer.reason


@pytest.mark.parametrize(
    ("settings", "vault", "told", "code", "said"),
    [
        ({}, {"record": Durable()}, {}, "E_NOT_COMMISSIONED", "no module is commissioned"),
        ({}, {"record": Durable(roster=(1, 2))}, {}, "E_NOT_COMMISSIONED", "2 modules are commissioned"),
        ({"arduino": None}, {}, {}, "E_STALE", "no [arduino]"),
        ({"inverter": None}, {}, {}, "E_STALE", "no [inverter]"),
        ({}, {}, {"unknown": ("module-05.stale",)}, "E_STALE", "not fresh: module-05.stale"),
    ],
)
def test_closing_is_refused_with_what_is_missing(
    settings_of: Any, settings: Any, vault: Any, told: Any, code: str, said: str
) -> None:
    before = situation(State.STANDBY)
    before = replace(before, vault=replace(before.vault, **vault))
    got = refused(settings_of(**settings), before, "contactor", "close", told_for(State.STANDBY, **told))
    assert got[0] == code
    assert said in got[1]


def test_closing_is_refused_while_the_latch_file_cannot_be_written(settings_of: Any) -> None:
    close = Command("c1", "contactor", "E", "alice", {"action": "close"})
    inputs = StepInputs(told_for(State.STANDBY), (close,), write_failed="no space left")
    _, decision = step(settings_of(), situation(State.STANDBY), inputs, NOW)
    assert decision.answers[0].reason == "the latch file cannot be written: no space left"


def test_a_danger_ends_standby_before_closing_is_judged(settings_of: Any) -> None:
    told = told_for(State.STANDBY, trips=(HOT,))
    assert refused(settings_of(), situation(State.STANDBY), "contactor", "close", told)[0] == "E_BUSY"


@pytest.mark.parametrize(
    ("target", "action", "settings", "code"),
    [
        ("inverter", "", {"inverter": None}, "E_STALE"),
        ("schedule", "start", {"inverter": None}, "E_STALE"),
        ("pump", "on", {"arduino": None}, "E_STALE"),
    ],
)
def test_without_the_device_there_is_nothing_to_order(
    settings_of: Any, target: str, action: str, settings: Any, code: str
) -> None:
    assert first_answer(settings_of(**settings), State.READY, target, action).code == code


@pytest.mark.parametrize("body", [{"mode": "voltage", "setpoint": 1.0}, {"mode": "current", "setpoint": True}])
def test_a_setpoint_that_is_none_is_a_mistake_of_syntax(settings_of: Any, body: Any) -> None:
    code, said = refused(settings_of(), situation(State.READY), "inverter", "", **body)
    assert code == "E_SYNTAX"
    assert "allowed" in said


def test_a_schedule_that_could_not_be_read_and_one_that_is_not_paused_are_refused(settings_of: Any) -> None:
    broken = Command("c1", "schedule", "E", "alice", {"action": "start"}, trouble="line 4")
    _, decision = step(settings_of(), situation(State.READY), StepInputs(told_for(State.READY), (broken,)), NOW)
    assert (decision.answers[0].code, decision.answers[0].reason) == ("E_FILE", "line 4")
    before = replace(situation(State.READY), programme=Programme())
    assert refused(settings_of(), before, "schedule", "resume")[1] == "no schedule is paused (idle)"


def test_single_relays_need_the_inverter_off_and_the_others_open(settings_of: Any) -> None:
    before = situation(State.SERVICE)
    running = told_for(State.SERVICE, inverter=InverterFacts(9, NOW - 0.1, 1, -20.0, 0))
    assert "must read back off" in refused(settings_of(), before, "relay1", "on", running)[1]
    held = replace(before, outputs=replace(before.outputs, switched=Output.RELAY2))
    assert "one relay at a time" in refused(settings_of(), held, "relay1", "on")[1]


def test_only_a_whole_pack_is_commissioned(settings_of: Any) -> None:
    told = told_for(State.STANDBY, present=(1, 2, 3))
    code, said = refused(settings_of(), situation(State.STANDBY), "commission", "", told, hours=1)
    assert (code, said) == ("E_NOT_COMMISSIONED", "modules [1, 2, 3] answer, [pack] series = 8")


def test_the_core_itself_tells_its_latches(settings_of: Any) -> None:
    command = Command("c1", "status", "A", "alice", {}, local=True)
    _, decision = step(settings_of(), situation(State.LATCHED), StepInputs(facts(), (command,)), NOW)
    assert decision.answers[-1].readback == {"latches": "estop"}


def test_a_setpoint_that_another_replaces_before_it_was_reached_is_expired(ready: Any) -> None:
    first = ready.command("inverter", mode="current", setpoint=-60.0)
    ready.run(0.2)
    second = ready.command("inverter", mode="current", setpoint=-10.0)
    ready.run(3.0)
    assert [answer.status for answer in ready.answers[first]] == ["accepted", "expired"]
    assert [answer.status for answer in ready.answers[second]] == ["accepted", "done"]


def test_a_pump_that_the_heat_wants_back_on_was_not_switched_off(settings_of: Any) -> None:
    before = situation(State.READY)
    before = replace(
        before, outputs=replace(before.outputs, mask=before.outputs.mask | Output.PUMP, pump="command:bob")
    )
    off = Command("c1", "pump", "A", "alice", {"on": False})
    after, _ = step(settings_of(), before, StepInputs(told_for(State.READY), (off,)), NOW)
    _, decision = step(settings_of(), after, StepInputs(told_for(State.READY, heat=2)), NOW + 0.02)
    assert [(one.status, one.code) for one in decision.answers] == [("failed", "E_STATE")]


def test_a_written_vault_is_the_one_that_was_ordered(settings_of: Any) -> None:
    before = replace(situation(State.STANDBY), vault=Vault(Durable(roster=tuple(range(1, 9))), ticket=3))
    after, _ = step(settings_of(), before, StepInputs(told_for(State.STANDBY), written=3), NOW)
    assert (after.vault.ticket, after.vault.written) == (3, 3)
