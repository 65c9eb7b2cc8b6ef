"""`config reload` in the core: new settings from the next turn on, latches and what the devices said stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_agent.guard.model import RELAYS, Output, State
from edge_agent.guard.safety.interface import Command, LimitOverride, Reload


def reload(rig: Any, settings: Any) -> Any:
    command = Command("r1", "config", "E", "alice", {"action": "reload"}, reload=Reload(settings, "0123456789ab"))
    rig.commands.append(command)
    rig.run(0.05)
    return rig.answers["r1"]


def test_settings_read_again_hold_from_the_next_turn_and_a_latch_survives_them(running: Any) -> None:
    running.ask("estop")
    running.until(lambda: running.state is State.LATCHED, 10.0)
    running.run(31.0)
    answers = reload(running, replace(running.settings, cooling_on_c=20.0))
    assert [(answer.status, answer.readback) for answer in answers] == [
        ("accepted", None), ("done", {"config": "0123456789ab"}),
    ]  # fmt: skip
    assert (running.state, [latch.id for latch in running.core.state.latches]) == (State.LATCHED, ["estop"])
    running.run(1.0)
    assert running.board.mask & Output.FAN
    assert running.ask("safety", action="reset_latch", latch="estop").code == "E_DANGER"
    running.run(31.0)
    running.ask("safety", action="reset_latch", latch="estop")
    assert running.state is State.STANDBY


def test_a_new_limit_raises_its_alarm_and_one_that_was_raised_is_found_again(rig: Any) -> None:
    rig.cells[2][4] = 4.15
    rig.run(2.0)
    assert rig.alarm("module-03.cell-05.voltage_high")["state"] == "active"
    reload(rig, replace(rig.settings, limits={"cell_voltage": LimitOverride(warning=(2.8, 3.7))}))
    rig.run(2.0)
    assert {rig.alarm(f"module-0{n}.cell-05.voltage_high")["state"] for n in (1, 3)} == {"active"}


def test_a_reload_without_settings_fails_with_what_was_wrong(rig: Any) -> None:
    rig.until(lambda: rig.state is State.STANDBY, 12.0)
    rig.commands.append(Command("r2", "config", "E", "alice", {"action": "reload"}, trouble="edge.toml: line 3"))
    rig.run(0.05)
    assert [(answer.status, answer.code, answer.reason) for answer in rig.answers["r2"]] == [
        ("accepted", None, None), ("failed", "E_FILE", "edge.toml: line 3"),
    ]  # fmt: skip


def test_in_service_a_closed_relay_outlives_a_reload(rig: Any) -> None:
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 12.0)
    rig.ask("service", local=True, on=True)
    rig.ask("relay2", local=True, on=True)
    rig.run(1.0)
    reload(rig, rig.settings)
    rig.run(1.0)
    assert (rig.state, rig.core.state.latches, rig.board.mask & RELAYS) == (State.SERVICE, (), Output.RELAY2)
