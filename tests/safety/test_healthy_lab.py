"""Promise: a healthy rig does not trip. The oddities of the lab's rig, more often than it shows them, leave RUN alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from edge_agent.guard.model import State

THERMISTORS = ((33.0, 36.0), (40.0, 42.0))
LAB_MODULES_V = (47.30, 47.26, 47.33, 47.15, 47.12, 47.21, 47.13, 47.15)


def lab(make_rig: Any, seed: Any) -> Any:
    """lab-2021: noise on the current, jumping thermistors, silent spells, late replies, biased module currents."""
    rig = make_rig()
    dice = random.Random(seed)
    rig.cells = [[volts / 12] * 12 for volts in LAB_MODULES_V]
    rig.inverter.noise = lambda: dice.gauss(0.2, 1.4)
    rig.bleed_tau_s = 20.0
    real_poll = rig.poll

    def poll() -> Any:
        if dice.random() < 0.01:
            rig.inverter.busy_until = rig.now + 0.2 + 0.5
        return real_poll()

    rig.poll = poll
    return rig, dice


def live(rig: Any, dice: Any, seconds: Any) -> Any:
    """Time with silent spells of 0.2–0.8 s and thermistors that step every 6 s; what was seen on the way."""
    until, seen = rig.now + seconds, set()
    silent_until, next_silence = 0.0, rig.now + dice.uniform(2.0, 10.0)
    while rig.now < until:
        if rig.now >= next_silence:
            rig.silent, silent_until = set(range(1, 9)), rig.now + dice.uniform(0.2, 0.8)
            next_silence = rig.now + dice.uniform(3.0, 15.0)
        if rig.now >= silent_until:
            rig.silent = set()
        first, second = THERMISTORS[int(rig.now / 6.0) % 2]
        rig.board.adc.update(temp1=first, temp2=second)
        rig.tick()
        seen.add(rig.state)
    return seen


@pytest.mark.parametrize("seed", [1, 2])
def test_mistake_26_the_labs_oddities_never_leave_run_and_latch_nothing(make_rig: Any, seed: Any) -> None:
    rig, dice = lab(make_rig, seed)
    rig.connect()
    rig.command_schedule()
    seen = live(rig, dice, 110.0)
    assert seen <= {State.RUN, State.READY}
    assert rig.state is State.RUN
    assert rig.states["state/safety"]["latches"] == []
    tripped = [e for e in rig.events if e["kind"] == "alarm" and e["level"] != "WARNING"]
    assert tripped == []
    raised = [e["alarm"] for e in rig.events if e["kind"] == "alarm" and e["state"] == "active"]
    assert "arduino.temp2_high" in raised
    assert len(raised) == len(set(raised)), "an alarm that comes and goes is not believed for long"


def test_a_noisy_current_neither_delays_opening_nor_opens_under_load(make_rig: Any) -> None:
    rig, _ = lab(make_rig, 5)
    rig.connect()
    rig.command_schedule()
    rig.run(5.0)
    since = rig.now
    rig.temperature_c[2] = 55.0
    took = rig.until(lambda: not rig.closed, 3.0)
    assert took <= 3.0
    rig.run(0.3)
    opened = [e for e in rig.truth if e[0] > since and e[1] in {"relay.1", "relay.2"}]
    assert len(opened) == 2
    assert all(abs(e[3]) < 2.0 for e in opened)
    rig.until(lambda: rig.state is State.LATCHED, 5.0)
    assert rig.states["state/safety"]["latches"] == ["module-03.temperature_high"]
