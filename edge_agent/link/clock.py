"""Monotonic time → Unix time: one anchor, slewed gently, replaced on a step, and whether it may be believed."""

from __future__ import annotations

import ctypes
import time
from typing import NamedTuple

STEP_US = 500_000
_SLEW_US = 500
"""The anchor follows the kernel's clock by at most this much per sample, so that rows keep their spacing."""
_STEPPED_US = 60_000_000
_TIME_ERROR = 5
_TIMEX_BYTES = 1024
_TRIES = 3


class Reading(NamedTuple):
    """The kernel's two clocks at one moment, and whether something disciplines them."""

    mono_us: int
    real_us: int
    synced: bool


def read_kernel() -> Reading:
    """The clocks now. Of a few tries the one that was interrupted least: a pause between two readings is no time."""
    tries = [_both() for _ in range(_TRIES)]
    _, mono_us, real_us = min(tries)
    return Reading(mono_us, real_us, _is_synced())


def _both() -> tuple[int, int, int]:
    """(how long it took, monotonic in its middle, real), all µs."""
    before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    return (after - before) // 1000, (before + after) // 2000, real // 1000


def _is_synced() -> bool:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # modes = 0: only reads
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < _TIME_ERROR


class Clock:
    """The anchor between the two clocks: `offset_us`, and `state` as `status` says it. One thread samples, any may read."""

    def __init__(self, first: Reading) -> None:
        self.offset_us = first.real_us - first.mono_us
        self._stepped_at_us: int | None = None
        self.state = "synced" if first.synced else "unsynced"
        self.steps = 0

    def sample(self, reading: Reading) -> None:
        """Compare with the kernel: follow slowly, or adopt a step of more than half a second at once."""
        error_us = reading.real_us - reading.mono_us - self.offset_us
        if abs(error_us) > STEP_US:
            self.offset_us += error_us
            self._stepped_at_us = reading.mono_us
            self.steps += 1
        else:
            self.offset_us += max(-_SLEW_US, min(_SLEW_US, error_us))
        recently = self._stepped_at_us is not None and reading.mono_us - self._stepped_at_us < _STEPPED_US
        self.state = "stepped" if recently else "synced" if reading.synced else "unsynced"

    def wall_us(self, mono_us: int) -> int:
        """Unix µs of a moment of CLOCK_MONOTONIC."""
        return mono_us + self.offset_us

    def now_us(self) -> int:
        """Unix µs now, by the anchor."""
        return self.wall_us(time.monotonic_ns() // 1000)
