"""Steps that end on a signal, and lists that run several times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard.model import NoData, Reading, State
from edge_agent.guard.safety.ending import EndWatch, unknown_end
from edge_agent.guard.safety.freshness import Freshness
from edge_agent.guard.safety.interface import (
    Command,
    Durable,
    EndCondition,
    Reload,
    ScheduleFile,
    ScheduleStep,
    Settings,
)
from edge_agent.guard.safety.schedule import (
    Met,
    ScheduleFault,
    elapsed_s,
    ended_early,
    follow,
    parse,
    paused,
    place,
    resumed,
    started,
)
from edge_agent.guard.safety.state import Phase, Supervisor, Vault

HEADER = "\ufeffInterval [s],Current [A],End\r\n"
ROSTER = tuple(range(1, 9))
BEGAN = 100.0


def ending(text: str) -> ScheduleFile:
    return parse(f"{HEADER}50,10,{text}\r\n50,5,\r\n", "s.csv")


def test_the_third_column_holds_a_condition_or_nothing() -> None:
    steps = parse(f"{HEADER}300,-35,module-03.Min_Cell_Voltage >= 4.1\r\n\r\n9,0,\r\n9,1\r\n", "s.csv").steps
    assert steps == (
        ScheduleStep(300.0, -35.0, EndCondition("module-03", "Min_Cell_Voltage", above=True, limit=4.1, line=2)),
        ScheduleStep(9.0, 0.0),
        ScheduleStep(9.0, 1.0),
    )


@pytest.mark.parametrize(
    "text",
    ["any.x<2", "any.x<=", "any.x<=two", "any.x>=nan", "any.x<=inf", "x>=1", ".x>=1", "any.x==1", "a.x>=1 b.y>=2"],
)
def test_anything_but_one_condition_is_named_with_its_line(text: str) -> None:
    with pytest.raises(ScheduleFault, match=r"line 3: .*SOURCE\.SIGNAL<=NUMBER") as caught:
        parse(f"{HEADER}10,5,\r\n10,5,{text}\r\n", "s.csv")
    assert caught.value.given == text


@pytest.mark.parametrize("text", ["Interval [s]\n1\n", "Interval [s],Current [A],Ende\n1,2,\n", f"{HEADER}1,2,,\n"])
def test_columns_that_are_not_known_are_refused(text: str) -> None:
    with pytest.raises(ScheduleFault, match="header"):
        parse(text, "s.csv")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("any.Min_Cell_Voltage<=3", True),
        ("module-08.CMA_Current>=3", True),
        ("inverter.dc_bus_voltage>=388", True),
        ("arduino.temp1>=30", True),
        ("module-09.Min_Cell_Voltage<=3", False),
        ("module-3.Min_Cell_Voltage<=3", False),
        ("any.dc_bus_voltage>=388", False),
        ("inverter.Min_Cell_Voltage<=3", False),
        ("pack.current>=3", False),
    ],
)
def test_only_what_the_rig_has_can_end_a_step(settings_of: Any, text: str, known: Any) -> None:
    said = unknown_end(ending(text), settings_of(), ROSTER)
    assert (said == "") is known
    assert known or f"s.csv line 2: given '{text.partition('=')[0][:-1]}'" in said


def test_a_device_that_is_not_configured_ends_nothing(settings_of: Any) -> None:
    without = settings_of(inverter=None, arduino=None)
    assert unknown_end(ending("inverter.current>=1"), without, ROSTER)
    assert unknown_end(ending("arduino.temp1>=1"), without, ROSTER)
    assert unknown_end(ending("any.Min_Cell_Voltage<=3"), without, ())


class Watched:
    """An EndWatch whose step began at BEGAN."""

    def __init__(self, settings: Settings, file: ScheduleFile) -> None:
        self.programme = started(file, BEGAN)
        vault = Vault(Durable(roster=ROSTER))
        self.state = Supervisor(Phase(State.RUN, BEGAN), programme=self.programme, vault=vault, turned=BEGAN)
        self.watch, self.freshness = EndWatch(settings), Freshness(settings, BEGAN)

    def meets(self, *arrivals: Any, now: float = BEGAN + 1.0) -> bool:
        met = self.watch.met(self.state, arrivals, self.freshness, now)
        assert met is None or met.place == place(self.programme)
        return met is not None


def cells(settings: Settings, volts: float | None, **changes: Any) -> Reading:
    at = [signal.name for signal in settings.module_parts["pdo1"]].index("Min_Cell_Voltage")
    values = tuple(volts if index == at else 1.0 for index in range(len(settings.module_parts["pdo1"])))
    return Reading("module-03", "pdo1", BEGAN + 0.9, values, values)._replace(**changes)


@pytest.mark.parametrize(
    ("text", "volts", "meets"),
    [
        ("any.Min_Cell_Voltage<=2.95", 2.95, True),
        ("any.Min_Cell_Voltage<=2.95", 2.96, False),
        ("any.Min_Cell_Voltage<=2.8", 2.8000000000000003, True),
        ("any.Min_Cell_Voltage>=4.1", 4.1 - 1e-12, True),
        ("module-03.Min_Cell_Voltage<=2.95", 2.0, True),
        ("module-04.Min_Cell_Voltage<=2.95", 2.0, False),
        ("any.Min_Cell_Voltage>=4.1", 4.1, True),
        ("any.Min_Cell_Voltage>=4.1", 4.0, False),
        ("any.Min_Cell_Voltage>=4.1", None, False),
    ],
)
def test_a_new_good_sample_beyond_the_limit_meets_it(settings_of: Any, text: str, volts: Any, meets: Any) -> None:
    settings = settings_of()
    assert Watched(settings, ending(text)).meets(cells(settings, 3.5), cells(settings, volts)) is meets


@pytest.mark.parametrize(
    "changes",
    [
        {"bad": ((2, "out_of_range"),)},
        {"t_mono": BEGAN},
        {"part": "pdo3"},
        {"values": (2.0, 2.0)},
        {"source": "module-09"},
        {"source": "can"},
    ],
)
def test_an_invalid_earlier_or_foreign_sample_never_meets_it(settings_of: Any, changes: Any) -> None:
    settings = settings_of()
    watched = Watched(settings, ending("any.Min_Cell_Voltage<=2.95"))
    assert not watched.meets(cells(settings, 2.0, **changes), NoData("module-03", "pdo1", BEGAN + 0.9, "timeout"))
    assert watched.meets(cells(settings, 2.0, bad=((0, "out_of_range"),)))


def test_a_stale_sample_never_meets_it(settings_of: Any) -> None:
    settings = settings_of()
    watched = Watched(settings, ending("any.Min_Cell_Voltage<=2.95"))
    assert not watched.meets(cells(settings, 2.0), now=BEGAN + 2.0)


def test_a_step_without_a_condition_or_that_does_not_run_is_not_ended(settings_of: Any) -> None:
    settings = settings_of()
    assert not Watched(settings, ending("")).meets(cells(settings, 2.0))
    watched = Watched(settings, ending("any.Min_Cell_Voltage<=2.95"))
    watched.state = replace(watched.state, programme=paused(watched.programme, BEGAN))
    assert not watched.meets(cells(settings, 2.0))


def test_a_step_ended_early_starts_the_next_there_and_later_ones_count_from_it() -> None:
    programme = started(parse(f"{HEADER}50,1,any.x>=1\n7,2,\n7,3,\n", "s.csv"), BEGAN)
    programme = follow(programme, BEGAN + 20.25, place(programme))
    assert (programme.step, programme.step_end_s) == (1, 27.25)
    assert follow(programme, BEGAN + 27.24).step == 1
    assert follow(programme, BEGAN + 27.25).step == 2
    done = follow(programme, BEGAN + 40.0)
    assert (done.state, elapsed_s(done, BEGAN + 99.0)) == ("done", 34.25)


def test_time_comes_first_and_a_condition_of_another_place_ends_nothing() -> None:
    programme = started(ending("any.x>=1"), BEGAN)
    late = follow(programme, BEGAN + 51.0, place(programme))
    assert (late.step, late.step_end_s) == (1, 100.0)
    assert follow(late, BEGAN + 52.0, place(programme)) == late
    again = resumed(paused(programme, BEGAN + 5.0), BEGAN + 9.0)
    assert follow(again, BEGAN + 10.0, place(programme)) == again


STEPS = st.lists(st.tuples(st.floats(0.5, 100.0), st.floats(-100.0, 100.0)), min_size=1, max_size=6)


@given(STEPS, st.integers(1, 5), st.lists(st.floats(0.0, 300.0), max_size=8))
def test_a_list_run_n_times_is_the_same_as_one_n_times_as_long(steps: Any, rounds: int, waits: Any) -> None:
    once = tuple(ScheduleStep(*step) for step in steps)
    repeated = started(ScheduleFile("r", "A", once), BEGAN, rounds)
    long, now = started(ScheduleFile("l", "A", once * rounds), BEGAN), BEGAN
    for wait in waits:
        now += wait
        repeated, long = follow(repeated, now), follow(long, now)
        assert (repeated.state, repeated.elapsed_s) == (long.state, long.elapsed_s)
        assert repeated.round * len(once) + repeated.step == long.step


def start(rig: Any, text: str, **body: Any) -> Any:
    return rig.ask("schedule", schedule=parse(text, "s.csv"), action="start", file="s.csv", **body)


def progress(rig: Any) -> Any:
    told = rig.states["state/schedule"]
    return told["state"], told["step"], told["steps"], told["round"], told["rounds"]


def test_a_cell_that_falls_ends_the_step_on_the_rig(ready: Any) -> None:
    assert start(ready, f"{HEADER}500,10,any.Min_Cell_Voltage<=3.7\n500,0,\n").status == "accepted"
    ready.run(5)
    assert progress(ready) == ("running", 1, 2, 1, 1)
    ready.cells[4] = [3.69] * len(ready.cells[4])
    ready.until(lambda: progress(ready)[1] == 2, 0.5)
    assert ready.states["state/schedule"]["elapsed_s"] < 10.0
    (told,) = [event for event in ready.events if event["kind"] == "schedule"]
    assert {name: told[name] for name in ("file", "step", "steps", "round", "reason", "source", "value", "limit")} == {
        "file": "s.csv", "step": 1, "steps": 2, "round": 1, "reason": "any.Min_Cell_Voltage<=3.7", "source": "module-05",
        "value": pytest.approx(3.69, abs=0.011), "limit": 3.7,
    }  # fmt: skip
    assert told["after_s"] == pytest.approx(5.0, abs=0.6)


def test_a_step_that_ends_at_its_time_and_one_ended_in_another_round_are_no_event(ready: Any) -> None:
    assert start(ready, f"{HEADER}2,10,any.Min_Cell_Voltage<=1\n2,0,\n", repeat=2).status == "accepted"
    ready.until(lambda: progress(ready)[0] == "done", 12)
    assert [event for event in ready.events if event["kind"] == "schedule"] == []
    programme = started(ending("any.x>=1"), BEGAN)
    here = place(programme)
    assert here is not None
    assert ended_early(programme, BEGAN + 50.0, Met(here, "module-01", 1.0)) is None
    assert ended_early(programme, BEGAN + 49.0, Met(here._replace(round=1), "module-01", 1.0)) is None
    assert ended_early(programme, BEGAN + 49.0, Met(here, "module-01", 1.0)) is not None


def test_rounds_are_counted_and_a_pause_keeps_the_place(ready: Any) -> None:
    assert start(ready, f"{HEADER}2,10,\n2,0,\n", repeat=3).status == "accepted"
    ready.run(5)
    assert progress(ready) == ("running", 1, 2, 2, 3)
    ready.ask("schedule", action="pause")
    ready.run(20)
    assert progress(ready) == ("paused", 1, 2, 2, 3)
    ready.ask("schedule", action="resume")
    ready.until(lambda: progress(ready)[0] == "done", 8)
    assert progress(ready) == ("done", 2, 2, 3, 3)


def test_after_a_restart_nothing_goes_on(ready: Any) -> None:
    assert start(ready, f"{HEADER}20,10,any.Min_Cell_Voltage<=1\n", repeat=3).status == "accepted"
    ready.run(2)
    ready.start()
    ready.run(10)
    assert progress(ready) == ("idle", 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "repeat", "code", "said"),
    [
        ("5,10,module-09.SOC<=3", 1, "E_FILE", "line 2"),
        ("5,10,", 0, "E_SYNTAX", "repeat"),
        ("5,10,", 1001, "E_SYNTAX", "repeat"),
        ("5,10,", True, "E_SYNTAX", "repeat"),
        ("5,10,", 2.0, "E_SYNTAX", "repeat"),
        ("0.9,10,", 2, "E_LIMIT", "1 s or more"),
    ],
)
def test_what_cannot_run_is_refused_at_the_start(ready: Any, text: str, repeat: Any, code: str, said: str) -> None:
    answer = start(ready, HEADER + text, repeat=repeat)
    assert (answer.status, answer.code) == ("rejected", code)
    assert said in answer.reason
    assert start(ready, f"{HEADER}0.9,10,").status == "accepted"


def test_a_reload_keeps_end_conditions_working(ready: Any) -> None:
    ready.ask("contactor", action="open")
    ready.until(lambda: ready.state is State.STANDBY, 20)
    ready.commands.append(
        Command("r1", "config", "E", "alice", {"action": "reload"}, reload=Reload(ready.settings, "abc"))
    )
    ready.run(3)
    ready.connect()
    assert start(ready, f"{HEADER}500,10,inverter.current>=5\n500,0,\n").status == "accepted"
    ready.until(lambda: progress(ready)[1] == 2, 5)
    assert ready.state is State.RUN
