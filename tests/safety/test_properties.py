"""What must hold whatever happens: random facts on the pure step, and random faults and commands on the closed loop."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_agent.guard.model import RELAYS, Level, Mode, Output, State
from edge_agent.guard.safety.facts import BoardFacts, Facts, InverterFacts, Raised, Sample
from edge_agent.guard.safety.interface import Command, Durable, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.supervisor import initial, step
from edge_agent.guard.safety.turn import StepInputs

FILE = ScheduleFile("s.csv", "A", (ScheduleStep(30.0, -20.0), ScheduleStep(30.0, 20.0)))
CLOSING = {State.CONNECTING, State.SERVICE}
ASKS = [
    ("contactor", {"action": "close"}),
    ("contactor", {"action": "open"}),
    ("estop", {}),
    ("schedule", {"action": "start", "file": "s.csv"}),
    ("schedule", {"action": "stop"}),
    ("schedule", {"action": "pause"}),
    ("schedule", {"action": "resume"}),
    ("inverter", {"mode": "current", "setpoint": -15.0}),
    ("inverter", {"mode": "power", "setpoint": 5.0}),
    ("pump", {"on": True}),
    ("pump", {"on": False}),
    ("fan", {"on": False}),
    ("relay1", {"on": True}),
    ("relay3", {"on": True}),
    ("relay2", {"on": False}),
    ("safety", {"action": "reset_latch", "latch": "estop"}),
    ("safety", {"action": "reset_latch", "latch": "module-01.temperature_high"}),
    ("service", {"on": True}),
    ("service", {"on": False}),
    ("commission", {}),
    ("config", {"action": "reload"}),
]
PINS = [Output.NONE, Output.RELAY2, Output.RELAY3, Output.RELAY1 | Output.RELAY2, RELAYS]

STEPS = settings(
    deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate, Phase.shrink)
)
LOOP = settings(STEPS, phases=(Phase.explicit, Phase.generate))
"""The closed loop takes seconds an example: a failing one is shown as it was found."""


@st.composite
def facts(draw: Any) -> Any:
    """Facts as wild as they can be."""
    seq = draw(st.integers(0, 50))
    level = draw(st.sampled_from([None, None, None, Level.DANGER, Level.CRITICAL]))
    return Facts(
        trips=() if level is None else (Raised("module-01.temperature_high", level),),
        unknown=draw(st.sampled_from([(), (), (), ("module-05.stale",), ("inverter.stale",), ("arduino.stale",)])),
        zero=draw(st.sampled_from([(), (), ("pack.current_against_command",)])),
        charge=draw(st.sampled_from([(), ("a",)])),
        discharge=draw(st.sampled_from([(), ("b",)])),
        heat=draw(st.integers(0, 2)),
        present=tuple(range(1, 9)),
        current=draw(st.one_of(st.none(), st.builds(Sample, st.just(seq), st.just(0.0), st.sampled_from([0.0, 5.0, 60.0])))),
        link=draw(st.one_of(st.none(), st.builds(Sample, st.just(seq), st.just(0.0), st.sampled_from([0.0, 200.0, 360.0])))),
        pack_v=draw(st.sampled_from([None, 360.0])),
        inverter=InverterFacts(seq, 0.0, draw(st.sampled_from([0, 2, None])), draw(st.sampled_from([0.0, -20.0, None])), 0),
        board=BoardFacts(seq, 0.0, draw(st.sampled_from([1, 1, 1, 2])), draw(st.booleans()), draw(st.sampled_from([False, False, True])),
                         draw(st.sampled_from(PINS))),
    )  # fmt: skip


def stamped(told: Any, now: Any) -> Any:
    """The same facts as measured a moment ago."""
    return told._replace(
        current=told.current and told.current._replace(t=now - 0.01),
        link=told.link and told.link._replace(t=now - 0.01),
        inverter=told.inverter._replace(t=now - 0.01),
        board=told.board._replace(t=now - 0.01),
    )


TURNS = st.lists(
    st.tuples(facts(), st.sampled_from([None, None, *ASKS]), st.sampled_from([0.05, 0.05, 0.3, 1.5, 20.0])),
    min_size=1,
    max_size=40,
)


def check_turn(before: Any, after: Any, decision: Any, told: Any) -> None:
    """The properties that one transition can show."""
    phase, mask, drive = after.phase, after.outputs.mask, after.drive
    if drive.setpoint:
        assert phase.state is State.RUN, "P10"
    closing = mask & RELAYS & ~before.outputs.mask
    if closing:
        assert phase.state in CLOSING, "P9"
        assert not told.trips, "no relay closes onto a danger"
    if phase.state in {State.STANDBY, State.LATCHED, State.BOOT}:
        assert not mask & RELAYS, "P6"
    if told.heat == 2:
        assert mask & Output.PUMP, "P11"
        assert mask & Output.FAN, "P11"
    lost = {latch.id for latch in before.latches} - {latch.id for latch in after.latches}
    if lost:
        assert any(answer.target == "safety" and answer.status == "done" for answer in decision.answers), "P5"
        assert before.phase.state is State.LATCHED, "P5"
    if told.trips:
        ids = {trip.id for trip in told.trips}
        assert ids <= {latch.id for latch in after.latches}
        assert phase.state in {State.BOOT, State.STOPPING, State.LATCHED}
    if after.latches:
        assert phase.state in {State.BOOT, State.STOPPING, State.LATCHED}
    if drive.mode != before.drive.mode and drive.mode is not Mode.OFF:
        assert drive.setpoint == 0.0, "a new mode begins at zero"


@settings(STEPS, max_examples=150)
@given(turns=TURNS, armed=st.booleans())
def test_no_facts_and_no_commands_break_the_properties_of_a_transition(
    settings_of: Any, turns: Any, armed: Any
) -> None:
    lab = settings_of()
    now = 100.0
    state = initial(lab, Durable(armed=armed), now)
    answered: dict[str, int] = {}
    for number, (told, ask, dt) in enumerate(turns):
        now += dt
        commands = (
            () if ask is None else (Command(f"c{number}", ask[0], "E", "bob", ask[1], local=True, schedule=FILE),)
        )
        inputs = StepInputs(stamped(told, now), commands, written=state.vault.ticket)
        after, decision = step(lab, state, inputs, now)
        assert hash(after) == hash(after)
        check_turn(state, after, decision, inputs.facts)
        for answer in decision.answers:
            first = answer.status in {"accepted", "rejected"}
            answered[answer.id] = answered.get(answer.id, 0) + first
        assert all(count == 1 for count in answered.values()), "P12"
        assert ask is None or f"c{number}" in answered, "P12"
        state = after


FAULTS = st.sampled_from([
    "hot", "cool", "silent", "talks", "deaf_inverter", "hears", "ignores", "obeys", "mute_board", "board_talks", "reset", "weld",
    "precharge", "none", "none", "stall", "restart",
])  # fmt: skip


def apply(rig: Any, fault: Any) -> None:
    """One fault or its healing."""
    {
        "hot": lambda: rig.temperature_c.__setitem__(0, 55.0),
        "cool": lambda: rig.temperature_c.__setitem__(0, 25.0),
        "silent": lambda: rig.silent.add(5),
        "talks": rig.silent.clear,
        "deaf_inverter": lambda: setattr(rig.inverter, "silent", True),
        "hears": lambda: setattr(rig.inverter, "silent", False),
        "ignores": lambda: setattr(rig.inverter, "ignores", True),
        "obeys": lambda: setattr(rig.inverter, "ignores", False),
        "mute_board": lambda: setattr(rig.board, "talks", False),
        "board_talks": lambda: setattr(rig.board, "talks", True),
        "reset": rig.board.reset,
        "weld": lambda: setattr(rig, "welded", Output.RELAY1),
        "precharge": lambda: setattr(rig, "precharge_fails", True),
        "none": lambda: None,
        "stall": lambda: rig.run(1.2, agent=False),
        "restart": rig.start,
    }[fault]()


@settings(LOOP, max_examples=15)
@given(script=st.lists(st.tuples(FAULTS, st.sampled_from([None, *ASKS]), st.floats(0.05, 4.0)), min_size=1, max_size=8))
def test_a_danger_that_is_held_opens_the_circuit_or_is_critical_whatever_else_happens(
    make_rig: Any, script: Any
) -> None:
    rig = make_rig()
    rig.connect()
    rig.command_schedule()
    rig.run(1.0)
    for fault, ask, seconds in script:
        apply(rig, fault)
        if ask is not None and fault != "restart":
            rig.commands.append(Command(f"x{rig.serial}", ask[0], "E", "eve", ask[1], local=True, schedule=FILE))
            rig.serial += 1
        rig.run(seconds)
    rig.temperature_c[0], rig.silent = 56.0, set()
    rig.run(20.0)
    critical = [e for e in rig.events if e["kind"] == "alarm" and e["level"] == "CRITICAL"]
    assert not rig.closed or critical
    assert rig.state is State.LATCHED
    assert not rig.orders[-1].outputs.mask & RELAYS
    assert rig.orders[-1].inverter.setpoint == 0.0


@settings(LOOP, max_examples=12)
@given(
    amps=st.sampled_from([-80.0, -35.0, 20.0, 60.0, 80.0]),
    change=st.sampled_from(["temperature", "cell_high", "cell_low", "ground", "fault"]),
    offset=st.floats(0.0, 0.25),
)
def test_any_danger_under_any_load_opens_within_three_seconds_without_load(
    make_rig: Any, amps: Any, change: Any, offset: Any
) -> None:
    rig = make_rig()
    rig.connect()
    steps = (ScheduleStep(100.0, amps),)
    rig.ask("schedule", schedule=ScheduleFile("s.csv", "A", steps), action="start", file="s.csv")
    rig.run(3.0 + offset)
    since = rig.now
    {
        "temperature": lambda: rig.temperature_c.__setitem__(3, 55.0),
        "cell_high": lambda: rig.cells[2].__setitem__(11, 4.35),
        "cell_low": lambda: rig.cells[2].__setitem__(0, 2.55),
        "ground": lambda: setattr(rig.board, "ground_fault", 1),
        "fault": lambda: setattr(rig.inverter, "other_faults", 1),
    }[change]()
    took = rig.until(lambda: not rig.closed, 3.0)
    rig.run(0.3)
    opened = [e for e in rig.truth if e[0] > since and e[1] in {"relay.1", "relay.2"} and not e[2]]
    assert took <= 3.0
    assert len(opened) == 2
    assert all(abs(e[3]) < 2.0 for e in opened)


def test_every_state_of_the_supervisor_is_reached_by_the_loop(make_rig: Any) -> None:
    rig = make_rig()
    seen = set()

    def look() -> None:
        seen.add(rig.state)

    rig.until(lambda: bool(look()) or (rig.state is State.STANDBY and not rig.unknown()), 10.0)
    rig.command("service", local=True, on=True)
    rig.run(0.2)
    look()
    rig.command("service", local=True, on=False)
    rig.until(lambda: bool(look()) or rig.state is State.STANDBY, 5.0)
    rig.command("contactor", action="close")
    rig.until(lambda: bool(look()) or rig.state is State.READY, 10.0)
    rig.command_schedule()
    rig.run(1.0)
    look()
    rig.silent = {1}
    rig.until(lambda: bool(look()) or rig.state is State.LATCHED, 20.0)
    assert seen == set(State)
