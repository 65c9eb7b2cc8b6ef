"""The simulator's own ledger, every CAN frame it handed over, against what is stored, cell by cell."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import cantools

import dbc
from tests.chaos.rig import MODULES, SYNC_S

BEFORE_S, WITHIN_S = 0.03, 1.5 * SYNC_S
"""A row's frames come after its SYNC (clocks are read in two processes), the late ones within the cycle that follows."""
TOLERANCE = 1e-9
_NEAR_S = 0.7
_BUNCHED_S = 0.75 * SYNC_S
"""Answers that follow each other sooner than this were late or read late: a guard that had to wait for its turn takes two of them
for one cycle's. What is lost between guard and store is lost at the usual distance."""
Rows = Mapping[int, Mapping[str, float]]
"""Unix µs → signal → value, of one source."""


class Ends(NamedTuple):
    """When the guard was killed, and when it ended orderly (CLOCK_MONOTONIC). `offset_us` leads from there to Unix time."""

    kills: list[float]
    ended: float
    offset_us: int


class Verdict(NamedTuple):
    """What the comparison found.

    Attributes:
        unknown: answers a killed guard had no time to pass on: only after the last row that is stored of it.
        bunched: answers that a starved simulator gave to two SYNCs at once; nobody could tell them apart.
    """

    rows: int = 0
    cells: int = 0
    lost: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    unknown: int = 0
    bunched: int = 0

    def plus(self, other: Verdict) -> Verdict:
        """Both."""
        return Verdict(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))  # type: ignore[operator]  # of one type each


class _Frames:
    """The frames of one message in the order of time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.times: list[float] = []
        self.values: list[dict[str, float]] = []

    def within(self, t_mono: float) -> list[dict[str, float]]:
        """What may have been answered to a SYNC of that moment."""
        first = bisect.bisect_left(self.times, t_mono - BEFORE_S)
        return self.values[first : bisect.bisect_right(self.times, t_mono + WITHIN_S)]


def judge(trace: Iterable[Mapping[str, Any]], stored: Mapping[str, Rows], ends: Ends) -> Verdict:
    """Compare every stored cell with the frames of its cycle, and every answered cycle with the rows."""
    frames = _decoded(trace)
    found = Verdict()
    for module in range(1, MODULES + 1):
        source = f"module-{module:02d}"
        rows = stored.get(source, {})
        own = {name: each for name, each in frames.items() if name.startswith(f"BMU{module:02d}_")}
        cells, wrong = _compare(source, rows, own, ends.offset_us)
        found = found.plus(Verdict(len(rows), cells, (), tuple(wrong)))
        found = found.plus(_missing(source, rows, own[f"BMU{module:02d}_pdo1"].times, ends))
    return found


def _decoded(trace: Iterable[Mapping[str, Any]]) -> dict[str, _Frames]:
    database: Any = cantools.database.load_file(dbc.path())
    messages = {message.frame_id: message for message in database.messages}
    found: dict[str, _Frames] = {}
    for frame in trace:
        message = messages.get(frame["id"])
        if message is None:
            continue
        own = found.setdefault(message.name, _Frames(message.name))
        own.times.append(frame["t_mono"])
        own.values.append(message.decode(bytes.fromhex(frame["data"]), decode_choices=False))
    return found


def _compare(source: str, rows: Rows, frames: Mapping[str, _Frames], offset_us: int) -> tuple[int, list[str]]:
    """Every stored cell must be what a frame of its cycle said."""
    cells, wrong = 0, []
    for time_us, values in rows.items():
        t_mono = (time_us - offset_us) / 1e6
        said: dict[str, list[float]] = defaultdict(list)
        for own in frames.values():
            for decoded in own.within(t_mono):
                for name, value in decoded.items():
                    said[name].append(value)
        for name, value in values.items():
            cells += 1
            if not any(abs(value - one) <= TOLERANCE for one in said[name]):
                wrong.append(f"{source} {time_us} {name}: stored {value}, sent {said[name][:3]}")
    return cells, wrong


def _missing(source: str, rows: Rows, answers: list[float], ends: Ends) -> Verdict:
    """Every cycle the module answered must have its row, and each row its own answer."""
    times = sorted((time_us - ends.offset_us) / 1e6 for time_us in rows)
    excused = _excused(times, ends)
    taken: set[int] = set()
    lost: list[str] = []
    unknown = bunched = 0
    for number, at in enumerate(answers):
        index = nearest = bisect.bisect_right(times, at + BEFORE_S) - 1
        while index >= 0 and index in taken:  # a late answer: the row of the cycle before
            index -= 1
        if index >= 0 and at - times[index] <= WITHIN_S:
            taken.add(index)
        elif any(first <= at <= last for first, last in excused):
            unknown += 1
        elif sum(abs(at - other) < _BUNCHED_S for other in answers[max(0, number - 2) : number + 3]) > 1:
            bunched += 1
        else:
            near = [round(time - at, 3) for time in times[max(0, nearest - 2) : nearest + 4]]
            others = [round(other - at, 3) for other in answers if abs(other - at) < _NEAR_S]
            lost.append(f"{source}: no row for the answer at {at:.3f}; rows {near}, answers {others}")
    return Verdict(0, 0, tuple(lost), (), unknown, bunched)


def _excused(times: list[float], ends: Ends) -> list[tuple[float, float]]:
    """From the last row that a killed guard could pass on to the first of its successor; the last cycles of an orderly end."""
    found = [(ends.ended - 2 * SYNC_S, ends.ended + 1.0)]
    for kill in ends.kills:
        before = bisect.bisect_right(times, kill)
        first = times[before - 1] if before else 0.0
        found.append((first, times[before] + SYNC_S if before < len(times) else ends.ended))
    return found
