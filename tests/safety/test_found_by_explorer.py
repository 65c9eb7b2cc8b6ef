"""Defects of `step` that the explorer found, and what an opening under load is: each as one or a few turns of the pure function."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.guard.model import Level, Mode, Output, State
from edge_agent.guard.safety.facts import BoardFacts, Facts, InverterFacts, Sample
from edge_agent.guard.safety.interface import Command, Durable, ScheduleFile, ScheduleStep, Settings
from edge_agent.guard.safety.sequences import connecting
from edge_agent.guard.safety.state import Drive, Latch, LinkWatch, Outputs, Phase, Programme, Supervisor, Vault, Watch
from edge_agent.guard.safety.supervisor import step
from edge_agent.guard.safety.turn import StepInputs

NOW = 500.0
PACK_V = 360.0
MAINS = Output.RELAY1 | Output.RELAY2
ALL_THREE = MAINS | Output.RELAY3
NOTHING = Output.NONE
ARMED = Vault(Durable(armed=True, roster=tuple(range(1, 9))))


@pytest.fixture
def settings(settings_of: Callable[..., Settings]) -> Settings:
    return settings_of()


def seen(now: float, pins: Output, **changes: Any) -> Facts:
    """A healthy rig whose inverter is off and reads back so."""
    facts = Facts(
        present=tuple(range(1, 9)), pack_v=PACK_V, current=Sample(round(now * 100), now, 0.0), link=Sample(1, now, PACK_V),
        inverter=InverterFacts(round(now * 100), now, 0, 0.0), board=BoardFacts(1, now, 1, armed=True, pins=pins),
    )  # fmt: skip
    return facts._replace(**changes)


def being(state: State, *, mask: Output = NOTHING, origin: State = State.READY, **parts: Any) -> Supervisor:
    """In `state` since a second, the outputs ordered 0.1 s ago."""
    row = parts.pop("step", 0)
    return Supervisor(
        Phase(state, NOW - 1.0, origin, row, NOW - 0.2), Drive(), Outputs(mask, NOW - 0.1, boot=1),
        **{"vault": ARMED, "turned": NOW - 0.05, **parts},
    )  # fmt: skip


def latches(state: Supervisor) -> dict[str, Level]:
    return {latch.id: latch.level for latch in state.latches}


def test_a_link_that_loses_its_charge_while_relay_1_is_ordered_takes_the_order_back(settings: Settings) -> None:
    names = [row.name for row in connecting(settings)]
    before = being(State.CONNECTING, mask=ALL_THREE, step=names.index("plus"))
    facts = seen(NOW, Output.RELAY2 | Output.RELAY3, link=Sample(2, NOW, 300.0))
    after, _ = step(settings, before, StepInputs(facts), NOW)
    assert after.outputs.mask == NOTHING
    assert names[after.phase.step] == "rest"


@pytest.mark.parametrize("state", [State.CONNECTING, State.SERVICE])
def test_a_relay_that_was_ordered_and_not_seen_closed_is_not_closed_by_stopping(
    settings: Settings, state: State
) -> None:
    before = being(state, mask=Output.RELAY1, step=1)
    before = replace(before, outputs=replace(before.outputs, switched=Output.RELAY1))
    running = seen(NOW, NOTHING, inverter=InverterFacts(1, NOW, 2, 10.0))
    after, _ = step(settings, before, StepInputs(running, estop=True), NOW)
    assert (after.phase.state, after.phase.step) == (State.STOPPING, 0)
    assert after.outputs.mask == NOTHING


def test_an_emergency_stop_that_is_still_pressed_cannot_be_reset(settings: Settings) -> None:
    before = being(State.LATCHED, latches=(Latch("estop", Level.DANGER),), watch=Watch(fine_since=NOW - 100.0))
    reset = Command("1", "safety", "E", "alice", {"action": "reset_latch", "latch": "estop"}, local=True)
    after, decision = step(settings, before, StepInputs(seen(NOW, NOTHING), (reset,), estop=True), NOW)
    assert (decision.answers[0].code, decision.answers[0].blocked_by) == ("E_DANGER", ("estop",))
    assert latches(after) == {"estop": Level.DANGER}
    assert after.watch.fine_since is None, "thirty seconds are counted from its release"


@pytest.mark.parametrize("action", ["start", "resume"])
def test_a_schedule_is_refused_while_the_broker_is_gone(settings: Settings, action: str) -> None:
    file = ScheduleFile("s.csv", "A", (ScheduleStep(10.0, 5.0),))
    before = being(
        State.READY, mask=MAINS, watch=Watch(broker_lost=NOW - 10.0), programme=Programme("paused", file, 1.0)
    )
    ask = Command("1", "schedule", "E", "alice", {"action": action, "file": "s.csv"}, schedule=file)
    after, decision = step(settings, before, StepInputs(seen(NOW, MAINS), (ask,), broker=False), NOW)
    assert (decision.answers[0].status, decision.answers[0].code) == ("rejected", "E_STATE")
    assert after.programme.state == "paused"
    _, decision = step(
        replace(settings, autonomous=True), before, StepInputs(seen(NOW, MAINS), (ask,), broker=False), NOW
    )
    assert decision.answers[0].status == "accepted"


@pytest.mark.parametrize(("armed", "said"), [(True, {"relays.opened_under_load": Level.CRITICAL}), (False, {})])
def test_a_start_that_cannot_see_the_current_is_critical_when_contactors_may_be_closed(
    settings: Settings, *, armed: bool, said: dict[str, Level]
) -> None:
    before = Supervisor(Phase(State.BOOT, NOW - 2.6), vault=Vault(Durable(armed=armed)), turned=NOW - 0.05)
    blind = seen(NOW, NOTHING, current=None, link=None, inverter=InverterFacts(), unknown=("inverter.stale",))
    after, _ = step(settings, before, StepInputs(blind), NOW)
    assert after.phase.state is State.STOPPING
    assert latches(after) == said


def test_a_link_that_cannot_be_seen_is_watched_until_it_can(settings: Settings) -> None:
    watch = Watch(link=LinkWatch(350.0, NOW - 1.0, NOW - 11.0))
    blind = seen(NOW, NOTHING, link=None, current=None, unknown=("inverter.stale",))
    after, _ = step(settings, being(State.STANDBY, watch=watch), StepInputs(blind), NOW)
    assert (after.watch.link, after.phase.state) == (watch.link, State.STANDBY)
    assert after.vault.record.armed
    after, _ = step(settings, after, StepInputs(seen(NOW + 0.05, NOTHING)), NOW + 0.05)
    assert latches(after) == {"relays.weld_main": Level.CRITICAL}


def test_a_process_that_stood_still_and_sees_no_current_says_that_it_may_have_opened_under_load(
    settings: Settings,
) -> None:
    before = being(State.RUN, mask=MAINS, turned=NOW - 3.1)
    blind = seen(NOW, MAINS, current=None, unknown=("inverter.stale",))
    after, _ = step(settings, before, StepInputs(blind), NOW)
    assert latches(after)["relays.opened_under_load"] is Level.CRITICAL
    after, _ = step(settings, before, StepInputs(seen(NOW, MAINS)), NOW)
    assert "relays.opened_under_load" not in latches(after)


@pytest.mark.parametrize(
    ("acted", "said"), [(True, {"guard.overrun"}), (False, {"guard.overrun", "relays.opened_under_load"})]
)
def test_what_the_dead_man_opened_while_the_process_stood_still_was_under_load_unless_the_inverters_timer_acted_first(
    settings: Settings, *, acted: bool, said: set[str]
) -> None:
    state = being(State.RUN, mask=MAINS, turned=NOW - 5.0)
    blind = seen(NOW, MAINS, current=None, unknown=("inverter.stale",), inverter=InverterFacts(1, NOW - 5.0, 2, 20.0))
    state, _ = step(settings, state, StepInputs(blind), NOW)
    assert set(latches(state)) == {"guard.overrun"}
    for turn in range(1, 60):
        now = NOW + 0.05 * turn
        polled = InverterFacts(turn, now, 0, 0.0, timed_out=acted and turn == 4)
        state, _ = step(settings, state, StepInputs(seen(now, NOTHING, inverter=polled)), now)
        assert turn > 49 or set(latches(state)) == {"guard.overrun"}
    assert set(latches(state)) == said
    assert state.watch.unseen is None


def test_a_dead_man_that_says_it_opened_and_shows_closed_pins_is_not_believed(settings: Settings) -> None:
    before = being(State.RUN, mask=MAINS)
    board = BoardFacts(1, NOW, 1, held=True, pins=MAINS)
    after, _ = step(settings, before, StepInputs(seen(NOW, MAINS, board=board, current=Sample(1, NOW, 30.0))), NOW)
    assert (after.phase.state, after.phase.step, after.outputs.mask) == (State.STOPPING, 0, MAINS)
    after, _ = step(settings, before, StepInputs(seen(NOW, MAINS, board=board._replace(pins=NOTHING))), NOW)
    assert after.phase.step > 0


def test_closing_waits_for_an_inverter_that_reads_back_off(settings: Settings) -> None:
    before = being(State.CONNECTING)
    on = seen(NOW, NOTHING, link=Sample(1, NOW, 0.0), inverter=InverterFacts(1, NOW, int(Mode.CURRENT), 0.0))
    after, _ = step(settings, before, StepInputs(on), NOW)
    assert (after.phase.step, after.outputs.mask) == (0, NOTHING)
    after, _ = step(settings, before, StepInputs(seen(NOW, NOTHING, link=Sample(1, NOW, 0.0))), NOW)
    assert (after.phase.step, after.outputs.mask) == (1, Output.RELAY2)


# --- what counts as a current ---------------------------------------------------------------------------------------------


def opened(settings: Settings, amps: Callable[[], float], read: InverterFacts) -> tuple[float, Supervisor]:
    """Stop from RUN and poll four times a second until the relays are ordered open: how long it took, and the state."""
    state = being(State.STOPPING, mask=MAINS, origin=State.RUN)
    state = replace(state, phase=replace(state.phase, since=NOW), drive=replace(state.drive, changed=NOW), turned=NOW)
    for turn in range(1, 61):
        now = NOW + 0.05 * turn
        polled = NOW + 0.25 * (turn // 5)
        facts = seen(now, MAINS, inverter=read._replace(seq=turn // 5, t=polled))
        if turn % 5 == 0:
            sample = Sample(turn // 5, polled, amps())
        facts = facts._replace(current=sample if turn >= 5 else None)
        state, _ = step(settings, state, StepInputs(facts), now)
        if not state.outputs.mask & Output.RELAY1:
            return now - NOW, state
    pytest.fail("not opened within 3 s")


OFF = InverterFacts(mode=0, setpoint=0.0)
TRIALS = 400


def test_noise_around_no_current_opens_without_a_latch_and_soon(settings: Settings) -> None:
    random.seed(1)
    runs = [opened(settings, lambda: random.gauss(0.0, 1.4), OFF) for _ in range(TRIALS)]
    assert [latches(state) for _, state in runs if state.latches] == []
    assert sorted(took for took, _ in runs)[TRIALS * 99 // 100] < 1.0


def test_six_amperes_that_an_inverter_drives_on_are_no_noise(settings: Settings) -> None:
    """Of single samples two in five lie below 4σ = 5.6 A; their mean does not pass for nothing."""
    random.seed(2)
    runs = [opened(settings, lambda: random.gauss(6.0, 1.4), OFF) for _ in range(TRIALS)]
    unsaid = sum("relays.opened_under_load" not in latches(state) for _, state in runs)
    assert unsaid <= TRIALS // 100
    assert max(took for took, _ in runs) < 2.7


def test_a_mode_that_is_late_to_read_back_is_no_load_when_the_samples_show_none(settings: Settings) -> None:
    random.seed(3)
    took, state = opened(settings, lambda: random.gauss(0.0, 1.4), InverterFacts(mode=int(Mode.CURRENT), setpoint=0.0))
    assert 2.5 < took < 2.7
    assert latches(state) == {}


def test_a_setpoint_that_still_reads_back_is_a_load_whatever_the_samples_show(settings: Settings) -> None:
    _, state = opened(settings, lambda: 0.0, InverterFacts(mode=int(Mode.CURRENT), setpoint=6.0))
    assert latches(state) == {"relays.opened_under_load": Level.CRITICAL}
