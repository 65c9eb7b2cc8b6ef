"""R5, the short form: ten minutes of the lab's rig in virtual time, real bytes and the real step, and nothing trips."""

from __future__ import annotations

from tests.evidence.lab_day import Day, live


def test_ten_minutes_of_the_lab_stay_in_run() -> None:
    day: Day = live(1 / 6, 3, print)
    assert day.run_s >= 0.99 * day.seconds
    assert day.states["HOLD"] == 0
    assert day.latches == ()
    assert day.late_replies > 10
    assert day.frames > 100_000
