"""Whether the resident memory of running programs is flat: readings in, a verdict out, a leak told from what only moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import psutil

WARM = 0.1
"""The first tenth of a run is not judged: caches fill, each code path is taken for the first time."""
MOVES = 0.05
"""No reading may be further from the median than this part of it."""
GROWS = 0.01
"""So much the level of the last third may lie above that of the middle third: a leak goes on, a cache does not."""
_LEAST = 9


class Verdict(NamedTuple):
    """How flat the memory of one program was; `moves` and `grows` are parts of its median."""

    median_kb: float
    least_kb: int
    most_kb: int
    grows: float

    @property
    def moves(self) -> float:
        """The reading furthest from the median."""
        return max(self.most_kb - self.median_kb, self.median_kb - self.least_kb) / self.median_kb

    @property
    def flat(self) -> bool:
        """No reading far from the median, and no growth from the middle third to the last one."""
        return self.moves <= MOVES and self.grows <= GROWS

    def __str__(self) -> str:
        return (
            f"median={self.median_kb / 1024:.1f} least={self.least_kb / 1024:.1f} most={self.most_kb / 1024:.1f} MB"
            f" moves={self.moves:.1%} grows={self.grows:+.1%}{'' if self.flat else ' NOT FLAT'}"
        )


def judge(readings_kb: Sequence[int]) -> Verdict:
    """The verdict on readings taken at even distances; raises ValueError when there are too few for thirds."""
    judged = readings_kb[int(len(readings_kb) * WARM) :]
    if len(judged) < _LEAST:
        raise ValueError(f"{len(judged)} readings, at least {_LEAST} are needed")
    third = len(judged) // 3
    middle, last = median(judged[third : 2 * third]), median(judged[2 * third :])
    return Verdict(median(judged), min(judged), max(judged), last / middle - 1)


class Readings:
    """The resident memory of programs by name, one reading of each whenever `take` is called."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._programs = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.kb: dict[str, list[int]] = {name: [] for name in pids}

    def take(self) -> None:
        """Read all of them; raises psutil.NoSuchProcess when one has ended."""
        for name, program in self._programs.items():
            self.kb[name].append(program.memory_info().rss >> 10)

    def verdicts(self) -> dict[str, Verdict]:
        """One for each program."""
        return {name: judge(readings) for name, readings in self.kb.items()}
