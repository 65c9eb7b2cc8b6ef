"""What hardly ever happens in the core: frames without counts, devices that say less, closing that is given up, settings at the edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.guard.model import Level, NoData, Opened, Output, Reading, State
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.engine import Engine, Situation
from edge_agent.guard.safety.facts import InverterFacts, Sample
from edge_agent.guard.safety.freshness import Freshness
from edge_agent.guard.safety.interface import Command, Durable, Inputs, LimitOverride
from edge_agent.guard.safety.modules import MOST_PATTERNS, Rows, part_checks
from edge_agent.guard.safety.rule_checks import check
from edge_agent.guard.safety.rules import build
from edge_agent.guard.safety.schedule import MOST_STEPS, ScheduleFault, parse
from edge_agent.guard.safety.sequences import connecting, count_calm
from edge_agent.guard.safety.state import NEVER, Phase, Programme
from edge_agent.guard.safety.supervisor import step
from edge_agent.guard.safety.trackers import Register
from edge_agent.guard.safety.turn import StepInputs, Turn
from edge_agent.guard.safety.watching import overrun_limits_s
from tests.safety.test_interlocks import MAIN, NOW, facts, situation

REST = Situation(closed=False, opened=True, roster=tuple(range(1, 9)), mode=0, setpoint=0.0)  # type: ignore[arg-type]  # Mode.OFF


def test_a_board_without_read_back_says_nothing_of_pins_and_ground(settings_of: Any) -> None:
    engine = Engine(settings_of(), NOW)
    engine.feed(Reading("arduino", "line", NOW, (500.0, 500.0, 500.0), (25.0, 25.0, 75.0)))
    assert (engine.board.facts.seq, engine.board.facts.pins) == (1, None)
    assert engine.board.hottest_c() == 25.0


def test_other_sources_and_parts_of_a_module_that_are_not_judged_change_nothing(settings_of: Any) -> None:
    engine = Engine(settings_of(), NOW)
    engine.feed(Reading("gpio", "estop", NOW, (0,), (0.0,)))
    engine.feed(Opened("can", NOW, "vcan0"))
    engine.feed(Opened("inverter", NOW, "ttyUSB0"))
    engine.feed(Reading("module-01", "pdo9", NOW, (1,), (1.0,)))
    engine.tick(REST, NOW)
    assert engine.facts().inverter.opened == 1
    assert engine.actives == ()


def test_a_poll_without_its_values_is_no_sample_of_them(settings_of: Any) -> None:
    engine = Engine(settings_of(pack_voltage="inverter.battery_voltage"), NOW)
    names = [signal.name for signal in settings_of().inverter_signals]

    def poll(t: float, **values: float) -> None:
        told = tuple(values.get(name) for name in names)
        engine.feed(Reading("inverter", "poll", t, told, told))
        engine.tick(REST, t)

    poll(NOW, battery_voltage=370.0)
    found = engine.facts()
    assert (engine.inverter.current, engine.inverter.link, found.inverter.mode) == (None, None, None)
    for tenth in range(1, 21):
        poll(NOW + tenth / 10, battery_voltage=370.0, current=0.0)
    found = engine.facts()
    assert found.current is not None
    assert (found.pack_v, found.link) == (370.0, None)


def test_a_frame_whose_counts_are_absent_or_doubted_is_not_believed(rig: Any) -> None:
    rig.run(1.0)
    module = rig.core._engine._modules["module-01"]
    good = next(r for r in rig.module_readings(0) if r.part == "pdo3")
    before = module.t_good["pdo3"]
    module.feed(good._replace(t_mono=rig.now, raw=(None, *good.raw[1:])), 1)
    module.feed(good._replace(t_mono=rig.now, bad=((0, "crc"),)), 1)
    assert module.t_good["pdo3"] == before
    limits = next(r for r in rig.module_readings(0) if r.part == "pdo1")
    module.feed(limits._replace(t_mono=rig.now, raw=(*limits.raw[:-1], None)), 2)
    assert module.t_good["pdo1"] < rig.now
    module.feed(good._replace(t_mono=rig.now), 3)
    assert module.t_good["pdo3"] == rig.now


def test_more_ways_to_be_doubtful_than_are_remembered_are_judged_all_the_same(settings_of: Any) -> None:
    engine = Engine(settings_of(), NOW)
    counts = tuple(0 if signal.unit == "°C" else 150 for signal in settings_of().module_parts["pdo3"])
    for number in range(MOST_PATTERNS + 3):
        bad = ((number % 8, f"reason-{number}"),)
        engine.feed(Reading("module-01", "pdo3", NOW + number, counts, tuple(map(float, counts)), bad))
    assert engine._modules["module-01"].t_good["pdo3"] == float("-inf")
    engine.feed(Reading("module-01", "pdo3", NOW + 1000, counts, tuple(map(float, counts))))
    assert engine._modules["module-01"].t_good["pdo3"] == NOW + 1000


def test_a_dbc_whose_modules_tell_no_highest_temperature_has_no_rate_of_it(settings_of: Any) -> None:
    parts = dict(settings_of().module_parts)
    kept = [index for index, signal in enumerate(parts["pdo1"]) if signal.name != "CMA_Max_Temp"]
    engine = Engine(settings_of(module_parts={**parts, "pdo1": tuple(parts["pdo1"][i] for i in kept)}), NOW)
    counts = tuple((0, 4500, 150, 150, 25)[place] for place, _ in enumerate(kept))
    engine.feed(Reading("module-01", "pdo1", NOW, counts, tuple(map(float, counts))))
    assert engine._modules["module-01"].rate_n == 0


def test_a_module_that_is_not_required_any_more_is_forgotten(settings_of: Any) -> None:
    freshness = Freshness(settings_of(), NOW)
    freshness.judge("module-09", NOW - 100.0, NOW)
    assert freshness.unknown_ids() == ("module-09.stale",)
    freshness.keep(["module-01"])
    assert freshness.unknown_ids() == ()


def test_without_the_bus_its_modules_are_not_told_one_by_one(settings_of: Any) -> None:
    freshness = Freshness(settings_of(), NOW)
    freshness.missing(NoData("can", "", NOW, "absent"))
    for source in ("module-01", "inverter"):
        freshness.judge(source, NOW - 100.0, NOW + 100.0)
    assert freshness.sentences(NOW + 100.0) == ["can absent", "inverter stale"]


@pytest.mark.parametrize(
    ("given", "steps"),
    [({"action": "record"}, 0), ({"danger": (None, None), "warning": (5.0, None)}, 1), ({}, 3)],
)
def test_cold_blocks_in_as_many_steps_as_have_a_limit(settings_of: Any, given: Any, steps: int) -> None:
    settings = settings_of(limits={"temperature_low": LimitOverride(**given)} if given else {})
    rows = Rows(settings, build(settings), Register())
    signals = settings.module_parts["pdo1"]
    found = [
        c
        for one in part_checks(rows, "module-01", signals)
        for c in one.conditions
        if c.alarm.id.endswith("temperature_low")
    ]
    assert len(found) == steps


def test_a_dbc_without_a_signal_the_rules_need_is_named(settings_of: Any) -> None:
    parts = dict(settings_of().module_parts)
    parts["pdo1"] = tuple(signal for signal in parts["pdo1"] if signal.name != "CMA_Voltage")
    assert "[can] dbc: no signal CMA_Voltage, which the rules need" in check(settings_of(module_parts=parts))


def test_a_schedule_with_too_many_steps_is_refused_at_the_first_that_is_too_many() -> None:
    text = "\n".join(["Interval [s],Current [A]", *["1,0"] * (MOST_STEPS + 1)])
    with pytest.raises(ScheduleFault, match=f"line {MOST_STEPS + 2}: .*at most {MOST_STEPS} steps"):
        parse(text, "long.csv")


def test_the_deadlines_of_the_supervisor_itself_can_be_set(settings_of: Any) -> None:
    assert overrun_limits_s(settings_of()) == (0.15, 1.0)
    given = LimitOverride(warning=(None, 0.2), danger=(None, 0.8))
    assert overrun_limits_s(settings_of(limits={"overrun": given})) == (0.2, 0.8)


def test_a_core_goes_on_from_another_state_and_says_that_its_record_cannot_be_written(settings_of: Any) -> None:
    core, held = Core(settings_of(), Durable(), NOW), situation(State.LATCHED)
    core.adopt(held)
    assert core.state is held
    actions = core.turn(Inputs(write_failed="no space left"), NOW)
    assert actions.states["alarm/guard.latch_file"]["state"] == "active"


CLOSING = replace(situation(State.CONNECTING), pending=())


def connecting_for(seconds: float, row: int = 0, **parts: Any) -> Any:
    phase = Phase(State.CONNECTING, NOW - seconds, State.STANDBY, row, NOW - seconds)
    armed = replace(CLOSING.vault, record=CLOSING.vault.record._replace(armed=True))
    return replace(CLOSING, phase=phase, **{"vault": armed, **parts})


@pytest.mark.parametrize(
    ("vault", "told", "said"),
    [
        ({"ticket": 2, "written": 1}, {}, "the mark that contactors may be closed could not be written"),
        ({}, {"inverter": InverterFacts(9, NOW - 0.1, 1, 0.0, 0)}, "the inverter does not read back off"),
        ({}, {"board": facts().board._replace(armed=False)}, "the board did not arm its relays with all of them open"),
        ({}, {"link": Sample(9, NOW - 0.1, 300.0)}, "link still at 300 V, at most 72 V to close"),
    ],
)
def test_closing_is_given_up_with_what_it_waited_for(settings_of: Any, vault: Any, told: Any, said: str) -> None:
    before = connecting_for(100.0)
    before = replace(before, vault=replace(before.vault, **vault))
    after, _ = step(settings_of(), before, StepInputs(facts(**told)), NOW)
    assert (after.phase.state, after.phase.why) == (State.STOPPING, (said,))


def test_relays_that_do_not_read_back_while_closing_are_critical(settings_of: Any) -> None:
    names = [row.name for row in connecting(settings_of())]
    row = names.index("minus")
    before = connecting_for(100.0, row, outputs=replace(CLOSING.outputs, mask=Output.RELAY2, changed=NOW - 50.0))
    after, _ = step(settings_of(), before, StepInputs(facts()), NOW)
    assert [(latch.id, latch.level) for latch in after.latches] == [("relays.unconfirmed", Level.CRITICAL)]


def test_a_link_that_is_not_charged_is_no_matter_once_relay_1_reads_back_closed(settings_of: Any) -> None:
    row = [one.name for one in connecting(settings_of())].index("plus")
    all_three = Output.RELAY1 | Output.RELAY2 | Output.RELAY3
    before = connecting_for(0.2, row, outputs=replace(CLOSING.outputs, mask=all_three, changed=NOW - 0.2))
    told = facts(link=Sample(9, NOW, 100.0), board=facts().board._replace(pins=all_three, t=NOW))
    after, _ = step(settings_of(), before, StepInputs(told), NOW)
    assert (after.phase.state, after.latches) == (State.CONNECTING, ())


def test_without_a_relay_in_the_main_path_closing_is_ready_at_once(make_rig: Any) -> None:
    bus = LimitOverride(warning=(0.0, 384.0), danger=(-1.0, 390.0))  # nothing connects the inverter to the pack here
    rig = make_rig(profile="switch", main_path=False, limits={"bus_voltage": bus})
    rig.until(lambda: rig.state is State.STANDBY and not rig.unknown(), 12.0)
    rig.ask("contactor", action="close")
    rig.run(0.1)
    assert (rig.state, rig.core.state.phase.why) == (State.READY, ("no relay is in the main path",))


def test_a_pause_is_done_only_when_zero_reads_back(settings_of: Any) -> None:
    pause = Command("c1", "schedule", "A", "alice", {"action": "pause"})
    running = facts(inverter=InverterFacts(9, NOW - 0.1, 1, -20.0, 0), board=facts().board._replace(pins=MAIN))
    after, decision = step(settings_of(), situation(State.RUN), StepInputs(running, (pause,)), NOW)
    assert [one.status for one in decision.answers] == ["accepted"]
    _, decision = step(
        settings_of(), after, StepInputs(running._replace(inverter=InverterFacts(10, NOW + 0.2, 1, 0.0, 0))), NOW + 0.3
    )
    assert [(one.status, one.readback) for one in decision.answers] == [("done", {"setpoint": 0.0})]


def test_a_source_that_is_lost_while_closing_ends_it(settings_of: Any) -> None:
    after, _ = step(settings_of(), connecting_for(1.0), StepInputs(facts(unknown=("module-05.stale",))), NOW)
    assert (after.phase.state, after.phase.why) == (State.STOPPING, ("module-05.stale",))


def test_in_hold_everything_is_fresh_again_but_ready_waits_for_the_mask(settings_of: Any) -> None:
    before = situation(State.HOLD)
    after, _ = step(settings_of(), before, StepInputs(facts()), NOW)  # the pins read open
    assert after.phase.state is State.HOLD


def test_what_joins_a_hold_is_named_with_what_began_it(settings_of: Any) -> None:
    told = facts(board=facts().board._replace(pins=MAIN), unknown=("module-05.stale",))
    before = situation(State.HOLD)
    before = replace(before, phase=replace(before.phase, since=NOW - 1.0))
    after, _ = step(settings_of(), before, StepInputs(told), NOW)
    assert after.phase.why == ("pack.current_against_command", "module-05.stale")


def test_two_samples_of_no_current_too_close_together_are_one(settings_of: Any) -> None:
    before = situation(State.STOPPING)
    calm = replace(before.phase, calm=1, calm_seq=8, calm_t=NOW - 0.11, calm_zero=True)
    turn = Turn(settings_of(), replace(before, phase=calm), StepInputs(facts()), NOW)
    count_calm(turn)
    assert turn.phase == calm


def test_service_ends_when_the_board_falls_silent(settings_of: Any) -> None:
    after, _ = step(settings_of(), situation(State.SERVICE), StepInputs(facts(unknown=("arduino.stale",))), NOW)
    assert after.phase.why == ("arduino.stale",)


def test_the_five_minutes_of_cooling_end_with_a_word_and_service_that_is_on_stays_on(settings_of: Any) -> None:
    before = situation(State.READY)
    before = replace(before, outputs=replace(before.outputs, cooling=True, cool_since=NOW - 10.0))
    off = Command("c1", "fan", "A", "alice", {"on": False})
    told = facts(board=facts().board._replace(pins=MAIN))
    after, _ = step(settings_of(), before, StepInputs(told, (off,)), NOW)
    assert not after.outputs.cooling
    on = Command("c2", "service", "E", "local:root", {"on": True}, local=True)
    after, decision = step(settings_of(), situation(State.SERVICE), StepInputs(facts(), (on,)), NOW)
    assert (after.phase.state, decision.answers[-1].status) == (State.SERVICE, "done")


def test_a_lease_does_not_outlive_run(settings_of: Any) -> None:
    before = replace(situation(State.RUN), programme=Programme())
    before = replace(before, drive=replace(before.drive, lease_until=NOW + 5.0))
    told = facts(board=facts().board._replace(pins=MAIN), unknown=("module-05.stale",))
    after, _ = step(settings_of(), before, StepInputs(told), NOW)
    assert (after.phase.state, after.drive.lease_until) == (State.HOLD, NEVER)


def test_a_board_that_is_reset_while_stopping_need_not_be_waited_for(settings_of: Any) -> None:
    before = situation(State.STOPPING)
    before = replace(before, outputs=replace(before.outputs, mask=MAIN), phase=replace(before.phase, since=NOW - 0.1))
    running = InverterFacts(9, NOW - 0.1, 1, -20.0, 0)
    told = facts(board=facts().board._replace(boot=2), inverter=running, current=Sample(9, NOW, -20.0))
    after, _ = step(settings_of(), before, StepInputs(told), NOW)
    assert after.phase.step > before.phase.step
    assert [latch.id for latch in after.latches] == ["arduino.reset"]


def test_a_late_turn_that_only_warns_opens_nothing(settings_of: Any) -> None:
    before, told = replace(situation(State.READY), turned=NOW - 2.0), facts(board=facts().board._replace(pins=MAIN))
    settings = settings_of(limits={"overrun": LimitOverride(action="warn")})
    after, _ = step(settings, before, StepInputs(told), NOW)
    assert (after.phase.state, after.latches) == (State.READY, ())
    after, _ = step(settings_of(), before, StepInputs(told), NOW)
    assert [latch.id for latch in after.latches] == ["guard.overrun"]


def test_pins_that_are_right_again_in_time_are_forgiven(settings_of: Any) -> None:
    before = situation(State.READY)
    before = replace(before, outputs=replace(before.outputs, wrong_since=NOW - 0.1))
    after, _ = step(settings_of(), before, StepInputs(facts(board=facts().board._replace(pins=MAIN))), NOW)
    assert after.outputs.wrong_since is None
