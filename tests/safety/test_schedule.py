"""Schedules: the lab's CSV, wrong lines named, and a runner without drift."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard.safety.interface import InverterSettings, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.schedule import (
    ScheduleFault,
    elapsed_s,
    follow,
    obstacle,
    over_limit,
    parse,
    paused,
    resumed,
    started,
)


def test_a_file_with_bom_crlf_and_blank_lines_is_read() -> None:
    schedule = parse("\ufeffInterval [s],Current [A]\r\n300,-35\r\n\r\n300, 0\r\n", "lab.csv")
    assert schedule == ScheduleFile("lab.csv", "A", (ScheduleStep(300.0, -35.0), ScheduleStep(300.0, 0.0)))


def test_the_header_names_the_unit() -> None:
    assert parse("Interval [s],Power [kW]\n100,-15.72\n", "p.csv").unit == "kW"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("Interval [s],Current [A]\n", 1),
        ("Interval,Current\n1,2\n", 1),
        ("Interval [s],Current [A],x\n1,2,3\n", 1),
        ("Interval [s],Current [A]\n10,5\n10\n", 3),
        ("Interval [s],Current [A]\n10,5\n10,5,5\n", 3),
        ("Interval [s],Current [A]\n10,abc\n", 2),
        ("Interval [s],Current [A]\n0,5\n", 2),
        ("Interval [s],Current [A]\n-1,5\n", 2),
        ("Interval [s],Current [A]\nnan,5\n", 2),
        ("Interval [s],Current [A]\n5,inf\n", 2),
        ("Interval [s],Current [A]\n5,nan\n", 2),
        ('Interval [s],Current [A]\n5,"4\n', 2),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(text: Any, line: Any) -> None:
    with pytest.raises(ScheduleFault) as caught:
        parse(text, "x.csv")
    assert caught.value.line == line
    assert caught.value.allowed
    assert f"line {line}" in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: Any) -> None:
    try:
        found: Any = parse(text, "x.csv").steps
    except ScheduleFault as fault:
        found = fault.line
    assert found


@given(
    st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(-100.0, 100.0)), min_size=1, max_size=20),
    st.floats(0.0, 3000.0),
)
def test_the_step_at_any_time_is_the_one_the_sums_of_durations_name(steps: Any, elapsed: Any) -> None:
    schedule = ScheduleFile("x", "A", tuple(ScheduleStep(*s) for s in steps))
    programme = follow(started(schedule, 50.0), 50.0 + elapsed)
    seen = elapsed_s(started(schedule, 50.0), 50.0 + elapsed)
    end = 0.0
    for index, (duration, _) in enumerate(steps):
        end += duration
        if seen < end:
            assert (programme.state, programme.step) == ("running", index)
            return
    assert programme.state == "done"


def test_a_pause_does_not_count() -> None:
    schedule = ScheduleFile("x", "A", (ScheduleStep(10.0, 1.0), ScheduleStep(10.0, 2.0)))
    programme = paused(follow(started(schedule, 0.0), 8.0), 8.0)
    programme = follow(resumed(programme, 1000.0), 1003.0)
    assert programme.step == 1
    assert elapsed_s(programme, 1003.0) == pytest.approx(11.0)


@pytest.mark.parametrize(
    ("unit", "setpoint", "broken"),
    [
        ("A", 100.0, True),
        ("A", 80.0, False),
        ("A", -101.0, True),
        ("kW", 30.0, False),
        ("kW", -30.1, True),
        ("A", 0.0, False),
    ],
)
def test_limits_are_those_of_the_inverter_and_its_power(unit: Any, setpoint: Any, broken: Any) -> None:
    assert bool(over_limit(InverterSettings(), unit, setpoint, 360.0)) is broken


def test_a_schedule_within_everything_has_no_obstacle() -> None:
    schedule = ScheduleFile("x", "kW", (ScheduleStep(10.0, -15.72),))
    assert obstacle(schedule, InverterSettings(mode="power"), 360.0) is None
    code, reason = obstacle(schedule, InverterSettings(mode="current"), 360.0) or ("", "")
    assert code == "E_FILE"
    assert math.isfinite(len(reason))
