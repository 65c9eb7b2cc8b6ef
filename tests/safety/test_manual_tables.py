"""The tables that the manual is made of say neither less nor more than the code does."""

from __future__ import annotations

import ast
import gc
import random
import re
from pathlib import Path
from typing import Any

import pytest

from cellguard.manual import states
from cellguard.manual.__main__ import PAGES, stale
from edge_agent.guard import safety
from edge_agent.guard.model import Output, State
from edge_agent.guard.safety.alarm_texts import CHAPTERS, text_of
from edge_agent.guard.safety.engine import Engine
from edge_agent.guard.safety.interface import Command, LimitOverride
from edge_agent.guard.safety.rules import DEFAULTS, FIXED
from edge_agent.guard.safety.trackers import Condition
from shared.signals import ARDUINO, INVERTER

ROWS = [row for rows in CHAPTERS.values() for row in rows]
SIGNALS = {f"{source}.{s.name}" for source, of in (("inverter", INVERTER), ("arduino", ARDUINO)) for s in of}
LITERAL = re.compile(r"(relays|arduino|inverter|guard|precharge|pack)\.[a-z_]+\Z|estop\Z")
FOLDER = Path(safety.__file__).parent


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_docs_is_the_one_the_tables_make(name: str) -> None:
    assert name not in stale(), "python -m cellguard.manual"


def test_every_rule_raises_an_alarm_that_has_a_text_and_no_text_names_a_rule_there_is_not() -> None:
    named = {key for row in ROWS for key in row.rules}
    assert named == set(DEFAULTS) | set(FIXED)


def test_each_alarm_has_one_text() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    for row in ROWS:
        assert (row.level is None) == bool(row.rules), row.id
        assert text_of(row.id.replace("NN", "07")) is row
        assert all(text.endswith((".", "?")) for text in (row.meaning, row.cause, row.remedy)), row.id
    assert text_of("module-03.no_such") is None


def test_every_condition_the_engine_builds_has_a_text(settings_of: Any) -> None:
    limit = LimitOverride(warning=(1.0, 9.0), danger=(0.5, 10.0))
    engine = Engine(settings_of(limits={"pressure": limit}), 0.0)
    engine._module("module-01")

    found = {one.alarm.id: one.rule for one in gc.get_objects() if isinstance(one, Condition)}

    assert len(found) > 30
    for alarm_id, rule in found.items():
        row = text_of(alarm_id)
        assert row is not None, alarm_id
        assert rule in row.rules, (alarm_id, rule)


def test_every_alarm_that_stands_in_the_code_by_name_has_a_text() -> None:
    found = {
        node.value
        for path in FOLDER.glob("*.py")
        if not path.name.endswith("_texts.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LITERAL.match(node.value)
    }
    assert {"relays.unconfirmed", "guard.restarted", "precharge.failed", "estop", "arduino.lost"} <= found
    assert [one for one in sorted(found - SIGNALS) if text_of(one) is None] == ["relays.weld"], "a prefix, no alarm"


def mischief(rig: Any, dice: random.Random) -> None:
    """One thing that may go wrong, or heal."""
    dice.choice([
        lambda: rig.temperature_c.__setitem__(dice.randrange(8), dice.choice([25.0, 25.0, 45.0, 55.0, -5.0])),
        lambda: rig.cells[dice.randrange(8)].__setitem__(dice.randrange(12), dice.choice([3.75, 3.75, 4.3, 2.4])),
        lambda: rig.silent.add(dice.randrange(1, 9)),
        rig.silent.clear,
        lambda: setattr(rig.inverter, "silent", dice.random() < 0.3),
        lambda: setattr(rig.inverter, "ignores", dice.random() < 0.3),
        lambda: setattr(rig.inverter, "warnings", dice.choice([0, 1])),
        lambda: setattr(rig.board, "talks", dice.random() < 0.7),
        lambda: setattr(rig.board, "ground_fault", dice.choice([0, 0, 1])),
        rig.board.reset,
        lambda: setattr(rig, "welded", dice.choice([Output.NONE, Output.NONE, Output.RELAY1, Output.RELAY2])),
        lambda: rig.run(dice.choice([0.3, 1.5]), agent=False),
        rig.start,
        lambda: setattr(rig, "estop", dice.random() < 0.2),
    ])()  # fmt: skip


def calm_again(rig: Any) -> None:
    """Heal everything and clear every latch."""
    rig.silent.clear()
    rig.temperature_c[:] = [25.0] * 8
    rig.cells = [[3.75] * 12 for _ in range(8)]
    rig.inverter.silent = rig.inverter.ignores = rig.estop = rig.precharge_fails = False
    rig.inverter.warnings = rig.board.ground_fault = 0
    rig.board.talks, rig.welded = True, Output.NONE
    rig.doze(45.0)
    for latch in rig.states["state/safety"]["latches"]:
        rig.ask("safety", local=True, action="reset_latch", latch=latch)
    rig.doze(1.0)


def transitions(rig: Any) -> set[tuple[State, State]]:
    return {(State(one["from"]), State(one["to"])) for one in rig.events if one["kind"] == "state"}


def test_a_long_adventure_raises_only_alarms_with_a_text_and_makes_only_transitions_of_the_diagram(
    make_rig: Any,
) -> None:
    dice, rig = random.Random(3), make_rig()
    for _ in range(6):
        calm_again(rig)
        if rig.state is State.STANDBY:
            rig.connect()
            rig.command_schedule()
        for _ in range(6):
            mischief(rig, dice)
            rig.doze(dice.choice([0.5, 3.0]))
    raised = {topic.removeprefix("alarm/") for topic in rig.states if topic.startswith("alarm/")}
    assert len(raised) > 5
    assert [alarm for alarm in sorted(raised) if text_of(alarm) is None] == []
    assert transitions(rig) <= set(states.TRANSITIONS)


def test_every_transition_of_the_diagram_happens(make_rig: Any) -> None:
    rig = make_rig()
    seen = set()
    rig.connect()  # BOOT, STOPPING, STANDBY, CONNECTING, READY
    rig.silent.add(5)
    rig.until(lambda: rig.state is State.HOLD, 5)
    rig.silent.clear()
    rig.until(lambda: rig.state is State.READY, 5)
    rig.drive(-20.0)
    rig.ask("schedule", action="pause")
    rig.until(lambda: rig.state is State.READY, 5)
    rig.ask("schedule", action="resume")
    rig.tick()
    rig.silent.add(5)
    rig.until(lambda: rig.state is State.LATCHED, 20)
    calm_again(rig)
    for before in (State.STANDBY, State.CONNECTING, State.READY, State.RUN, State.SERVICE):
        reach(rig, before)
        rig.ask("estop")
        rig.until(lambda: rig.state is State.LATCHED, 10)
        seen |= transitions(rig)
        calm_again(rig)
    assert set(states.TRANSITIONS) == seen | transitions(rig)


def reach(rig: Any, state: State) -> None:
    """From STANDBY into a state."""
    if state in {State.READY, State.RUN}:
        rig.connect()
    if state is State.RUN:
        rig.drive(-20.0)
    if state is State.SERVICE:
        rig.ask("service", local=True, on=True)
    if state is State.CONNECTING:
        rig.commands.append(Command("close", "contactor", "E", "eve", {"action": "close"}))
        rig.until(lambda: rig.state is State.CONNECTING, 5)
    assert rig.state is state
