"""One figure of `make bench` and the alternating measurement behind it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Figure(NamedTuple):
    """A ratio with its goal; `at_most` turns the comparison round (sizes)."""

    name: str
    ratio: float
    goal: float
    against: str
    at_most: bool = False

    @property
    def ok(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "short"
        return f"{self.name} ratio={self.ratio:.2f} goal={self.goal:g} {verdict} ({self.against})"


def alternate(theirs: Callable[[], object], ours: Callable[[], object], rounds: int = 7) -> float:
    """How many times faster `ours` does the same work than `theirs`: the median of ratios of neighbouring runs."""
    return statistics.median(_seconds(theirs) / _seconds(ours) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
