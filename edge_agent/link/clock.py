"""Monotonic time → Unix time: one anchor, slewed gently, replaced on a step, and whether it may be believed."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import NamedTuple

STEP_US = 500_000
_SLEW_US = 500
"""The anchor follows the kernel's clock by at most this much per sample, so that rows keep their spacing."""
_STEPPED_US = 60_000_000
_TIME_ERROR = 5
_TIMEX_BYTES = 1024
_TRIES = 3
_RTC = Path("/sys/class/rtc/rtc0/hctosys")
PLAUSIBLE_US = 1_735_689_600_000_000
"""2025: a clock that says less was never set."""
_WAIT_US, _WAIT_LONG_US = 120_000_000, 600_000_000
"""After so long since boot a clock that nothing set is believed after all; a clock before 2025 gets longer."""


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


def set_from_rtc() -> bool:
    """Whether the kernel took the time from a real-time clock at boot; a Raspberry Pi before the 5 has none."""
    try:
        return _RTC.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


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

    def __init__(self, first: Reading, *, from_rtc: bool = True) -> None:
        self._from_rtc = from_rtc
        self.was_set = first.synced
        self._uptime_us = first.mono_us
        self.offset_us = first.real_us - first.mono_us
        self._stepped_at_us: int | None = None
        self.state = "synced" if first.synced else "unsynced"
        self.steps = 0

    def sample(self, reading: Reading) -> int:
        """Compare with the kernel: follow slowly, or adopt a step of more than half a second at once; returns that step (µs), or 0."""
        error_us = reading.real_us - reading.mono_us - self.offset_us
        stepped = abs(error_us) > STEP_US
        if stepped:
            self.offset_us += error_us
            self._stepped_at_us = reading.mono_us
            self.steps += 1
        else:
            self.offset_us += max(-_SLEW_US, min(_SLEW_US, error_us))
        self.was_set = self.was_set or reading.synced or self.steps > 0
        self._uptime_us = reading.mono_us
        recently = self._stepped_at_us is not None and reading.mono_us - self._stepped_at_us < _STEPPED_US
        self.state = "stepped" if recently else "synced" if reading.synced else "unsynced"
        return error_us if stepped else 0

    @property
    def doubtful(self) -> bool:
        """Whether records should wait because the clock is about to be set: not for ever, and not where an RTC set it."""
        if self.was_set:
            return False
        if self._uptime_us + self.offset_us < PLAUSIBLE_US:
            return self._uptime_us < _WAIT_LONG_US
        return not self._from_rtc and self._uptime_us < _WAIT_US

    def wall_us(self, mono_us: int) -> int:
        """Unix µs of a moment of CLOCK_MONOTONIC."""
        return mono_us + self.offset_us

    def now_us(self) -> int:
        """Unix µs now, by the anchor."""
        return self.wall_us(time.monotonic_ns() // 1000)
