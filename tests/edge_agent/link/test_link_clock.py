"""Wall time from the monotonic clock: steps are adopted at once, drift is followed slowly."""

from __future__ import annotations

from edge_agent.link.clock import Clock, Reading, read_kernel


def test_drift_is_followed_by_at_most_half_a_millisecond_per_sample() -> None:
    clock = Clock(Reading(0, 1_000_000_000, synced=True))
    clock.sample(Reading(1_000_000, 1_001_100_000, synced=True))
    assert clock.wall_us(1_000_000) == 1_001_000_500
    assert clock.state == "synced"


def test_a_step_is_adopted_and_marked_for_a_minute() -> None:
    clock = Clock(Reading(0, 0, synced=False))
    assert clock.state == "unsynced"
    clock.sample(Reading(1_000_000, 1_700_000_000_000_000, synced=True))
    assert (clock.state, clock.wall_us(1_000_000), clock.steps) == ("stepped", 1_700_000_000_000_000, 1)
    clock.sample(Reading(62_000_000, 1_700_000_061_000_000, synced=True))
    assert clock.state == "synced"


def test_the_kernel_is_read_without_rights() -> None:
    reading = read_kernel()
    assert reading.real_us > 1_700_000_000_000_000
    assert reading.mono_us > 0
