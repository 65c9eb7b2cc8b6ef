"""The simulator's own ledger, every CAN frame it handed over, against what is stored, cell by cell."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import cantools

import dbc
from tests.chaos.rig import MODULES, SYNC_S

BEFORE_S, WITHIN_S = 0.003, 1.5 * SYNC_S
"""A row's frames come after its SYNC (clocks are read in two processes), the late ones within the cycle that follows."""
TOLERANCE = 1e-9
_NEAR_S = 0.7
Rows = Mapping[int, Mapping[str, float]]
"""Unix µs → signal → value, of one source."""


class Verdict(NamedTuple):
    """What the comparison found; `unknown` rows were made by a guard that was killed before it could send them."""

    rows: int
    cells: int
    lost: list[str]
    wrong: list[str]
    unknown: int


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


def judge(
    trace: Iterable[Mapping[str, Any]], stored: Mapping[str, Rows], offset_us: int, excused: list[tuple[float, float]]
) -> Verdict:
    """Compare. `offset_us` leads from CLOCK_MONOTONIC to Unix time; frames of the times in `excused` may be missing."""
    frames = _decoded(trace)
    found = Verdict(0, 0, [], [], 0)
    for module in range(1, MODULES + 1):
        source = f"module-{module:02d}"
        rows = stored.get(source, {})
        own = {name: each for name, each in frames.items() if name.startswith(f"BMU{module:02d}_")}
        cells, wrong = _compare(source, rows, own, offset_us)
        lost, unknown = _missing(source, rows, own[f"BMU{module:02d}_pdo1"], offset_us, excused)
        found = Verdict(
            found.rows + len(rows), found.cells + cells, found.lost + lost, found.wrong + wrong, found.unknown + unknown
        )
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


def _missing(
    source: str, rows: Rows, answers: _Frames, offset_us: int, excused: list[tuple[float, float]]
) -> tuple[list[str], int]:
    """Every cycle the module answered must have its row, and each row its own answer."""
    times = sorted((time_us - offset_us) / 1e6 for time_us in rows)
    taken: set[int] = set()
    lost, unknown = [], 0
    for at in answers.times:
        index = bisect.bisect_right(times, at + BEFORE_S) - 1
        while index >= 0 and index in taken:  # a late answer: the row of the cycle before
            index -= 1
        if index >= 0 and at - times[index] <= WITHIN_S:
            taken.add(index)
        elif any(first <= at <= last for first, last in excused):
            unknown += 1
        else:
            near = [round(time - at, 3) for time in times[max(0, index - 2) : index + 4]]
            others = [round(other - at, 3) for other in answers.times if abs(other - at) < _NEAR_S]
            lost.append(f"{source}: no row for the answer at {at:.3f}; rows {near}, answers {others}")
    return lost, unknown
