"""The judge of memory tells a leak from a level that moves."""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.chaos.memory import Readings, judge

LEVEL_KB, COUNT = 50_000, 200


def test_noise_around_a_level_is_flat() -> None:
    random = Random(1)
    found = judge([LEVEL_KB + random.randint(-2000, 2000) for _ in range(COUNT)])
    assert found.flat, str(found)


def test_a_cache_that_fills_at_first_is_flat() -> None:
    assert judge([LEVEL_KB // 2] * (COUNT // 10) + [LEVEL_KB] * COUNT).flat


def test_a_leak_of_a_twentieth_is_not_flat_although_no_reading_is_far_from_the_median() -> None:
    found = judge([LEVEL_KB + LEVEL_KB * n // COUNT // 20 for n in range(COUNT)])
    assert found.moves < 0.05
    assert not found.flat
    assert "NOT FLAT" in str(found)


def test_one_peak_is_not_flat() -> None:
    assert not judge([*[LEVEL_KB] * 100, LEVEL_KB * 106 // 100, *[LEVEL_KB] * 100]).flat


def test_a_few_readings_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="5 readings, at least 9"):
        judge([LEVEL_KB] * 5)


def test_memory_that_a_program_takes_is_read() -> None:
    readings = Readings({"this": os.getpid()})
    readings.take()
    ballast = b"x" * 30_000_000
    readings.take()
    before, after = readings.kb["this"]
    assert after - before >= len(ballast) * 0.9 / 1024
