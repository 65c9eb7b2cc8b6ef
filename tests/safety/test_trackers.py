"""One condition: N and T_on to enter, five and T_off to clear, against a slow oracle that keeps every sample."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guard.model import Level
from edge_agent.guard.safety.rules import DEFAULTS, Gate, Rule
from edge_agent.guard.safety.trackers import (
    JITTER_S,
    Alarm,
    Condition,
    Register,
    Scale,
    Threshold,
    band,
    conditions,
)

RULE = Rule("x", "high", Gate.ALWAYS, "V", (None, 10.0), (None, 20.0), (None, 2.0), 3, 0.4)


def condition(rule: Any = RULE, limit: Any = 10.0, *, high: Any = True) -> Any:
    return Condition(Alarm("x"), rule, Threshold(Level.WARNING, limit, 2.0, high), Scale())


class Oracle:
    """Obviously right: looks at the whole list of valid samples each time."""

    def __init__(self, rule: Any) -> None:
        self.rule, self.samples, self.active = rule, [], False

    def sample(self, value: Any, t: Any) -> None:
        self.samples.append((value, t))
        if not self.active:
            tail = self._tail(lambda v: v >= 9.501)
            self.active = len(tail) >= self.rule.n and tail[-1][1] - tail[0][1] >= self.rule.t_on_s - JITTER_S
        else:
            tail = self._tail(lambda v: v <= 8.499)
            cleared = len(tail) >= 5 and tail[-1][1] - tail[0][1] >= self.rule.t_off_s(Level.WARNING) - JITTER_S
            self.active = not cleared
            return
        if self.active:
            self.samples = []

    def _tail(self, fits: Any) -> Any:
        tail = []
        for value, t in reversed(self.samples):
            if not fits(value):
                break
            tail.insert(0, (value, t))
        return tail


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from([5.0, 8.0, 9.0, 10.0, 12.0]), st.sampled_from([0.05, 0.2, 0.3, 0.5])), max_size=60
    )
)
def test_the_incremental_condition_equals_the_slow_oracle(trace: Any) -> None:
    fast, slow, t = condition(), Oracle(RULE), 0.0
    for value, dt in trace:
        t += dt
        was = slow.active
        fast.sample(value, t)
        slow.sample(value, t)
        if was and not slow.active:
            slow.samples = []
        assert fast.active == slow.active


@given(st.lists(st.sampled_from([5.0, 12.0]), max_size=40))
def test_samples_that_must_not_be_believed_never_clear_anything(values: Any) -> None:
    tracked = condition()
    for i in range(4):
        tracked.sample(12.0, i * 0.2)
    assert tracked.active
    for i, value in enumerate(values):
        tracked.sample(value, 1.0 + i * 0.2, may_clear=False)
    assert tracked.active


def test_samples_that_must_not_be_believed_do_not_interrupt_a_violation() -> None:
    tracked = condition()
    for i, (value, believed) in enumerate([(12.0, True), (5.0, False), (12.0, True), (5.0, False), (12.0, True)]):
        tracked.sample(value, i * 0.2, may_clear=believed)
    assert tracked.active


def test_an_interrupted_violation_starts_again() -> None:
    tracked = condition()
    for i, value in enumerate([12.0, 12.0, 5.0, 12.0, 12.0]):
        tracked.sample(value, i * 0.3)
    assert not tracked.active


@pytest.mark.parametrize(
    ("limit", "count", "trips"), [(2.8, 60, True), (2.8, 61, False), (2.7, 50, True), (2.7, 51, False)]
)
def test_low_thresholds_trip_at_their_own_count(limit: Any, count: Any, trips: Any) -> None:
    rule = RULE._replace(n=1, t_on_s=0.0)
    tracked = Condition(Alarm("x"), rule, Threshold(Level.WARNING, limit, 0.05, high=False), Scale(0.01, 2.2))
    tracked.sample(count, 0.0)
    assert tracked.active is trips


@given(st.floats(1.0, 100.0), st.sampled_from([0.01, 0.1, 1.0]), st.floats(0.0, 5.0))
def test_no_count_can_trip_and_clear_at_once(limit: Any, scale: Any, hysteresis: Any) -> None:
    tracked = Condition(Alarm("x"), RULE, Threshold(Level.WARNING, limit, hysteresis, high=True), Scale(scale, 0.0))
    assert tracked.clear < tracked.trip


@given(st.integers(0, 255))
def test_the_quiet_band_is_exactly_where_nothing_trips(count: Any) -> None:
    found = [c for side in (0, 1) for c in conditions(Alarm("x"), DEFAULTS["cell_voltage"], side, Scale(0.01, 2.2))]
    low, high = band(found)
    trips = any(count >= c.trip if c.high else count <= c.trip for c in found)
    assert (low <= count <= high) is not trips


def test_the_worst_condition_of_an_alarm_speaks_for_it() -> None:
    register = Register()
    found = conditions(Alarm("x", ("charge",)), RULE._replace(n=1, t_on_s=0.0), 1)
    for one in found:
        one.sample(25.0, 0.0)
        register.update(one, 25.0)
    active = register.actives()[0]
    assert (active.level, active.limit, active.blocks) == (Level.DANGER, 20.0, ("charge",))


def test_dropping_a_gate_forgets_its_conditions_only() -> None:
    register = Register()
    always = conditions(Alarm("a"), RULE._replace(n=1, t_on_s=0.0), 1)[0]
    closed = conditions(Alarm("c"), RULE._replace(n=1, t_on_s=0.0, when=Gate.CLOSED), 1)[0]
    for one in (always, closed):
        one.sample(25.0, 0.0)
        register.update(one, 25.0)
    register.drop_gate(Gate.CLOSED)
    assert [active.id for active in register.actives()] == ["a"]
