"""PURE: what the archive holds of a machine whose clock was wrong, was set and jumped, against the true times of the ticks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from proof import Proof

from collector.sinks.archive_reader import ArchiveReader, Selection

WITHIN_S = 0.3
SETTLES_S = 2.0
"""Around a step nobody can tell by which clock a record was dated: it is seen once a second, and a record waits for its batch."""
FEWEST_TICKS = 4


class Step(NamedTuple):
    """The machine's clock was set, at this moment of the host's clock: from now on it is so much ahead of it."""

    at_s: float
    wrong_s: float


class Told(NamedTuple):
    """What is known of a run besides the archive.

    Attributes:
        woke_wrong_s: how far the clock was ahead of the truth before the first step.
        steps: long ago, set, forward, back.
        ticks: charge of module 1 → when it was set by the host's clock: not before, not after.
        answered: source → SYNCs the module has answered.
        books: the last of the node.
    """

    woke_wrong_s: float
    steps: tuple[Step, ...]
    ticks: Mapping[float, tuple[float, float]]
    answered: Mapping[str, int]
    books: Mapping[str, int]


class Row(NamedTuple):
    """A stored row: its time (Unix s), how its message is marked, the charge it tells."""

    time_s: float
    mark: str
    charge: float | None


class Message(NamedTuple):
    """A stored message."""

    source: str
    body: dict[str, Any]


def compare(archive: Path, told: Told, proof: Proof) -> None:
    """Each point that the archive can prove."""
    found = [
        (one.lane, Message(one.source, json.loads(one.payload))) for one in ArchiveReader(archive).messages(Selection())
    ]
    telemetry = _by_source(message for lane, message in found if lane == "tele")
    events = [message.body for lane, message in found if lane == "event"]
    _in_order(telemetry, proof)
    _complete(telemetry, events, told, proof)
    _dated(telemetry["module-01"], told, proof)
    _calm(events, proof)


def _by_source(messages: Iterator[Message]) -> dict[str, list[Row]]:
    """The rows of each source in the order in which they were recorded."""
    found: dict[str, list[Row]] = defaultdict(list)
    for source, body in sorted(messages, key=lambda message: int(message.body["seq"])):
        charges = body["v"].get("SOC", [None] * len(body["t"]))
        found[source] += [
            Row((body["t0"] + after) / 1e6, body["clock"], charge)
            for after, charge in zip(body["t"], charges, strict=True)
        ]
    return found


def _in_order(telemetry: Mapping[str, Sequence[Row]], proof: Proof) -> None:
    for source, rows in telemetry.items():
        wrong = [(before, after) for before, after in pairwise(rows) if before.time_s >= after.time_s]
        proof.require(not wrong, f"{source}: times do not rise: {wrong[:3]}")
    charges = [row.charge for row in telemetry["module-01"] if row.charge is not None]
    proof.require(charges == sorted(charges), "rows were stored in another order than they were recorded")
    proof.proved(f"times rise strictly in each of {len(telemetry)} sources, and nothing changed its place")


def _complete(
    telemetry: Mapping[str, Sequence[Row]], events: Sequence[Mapping[str, Any]], told: Told, proof: Proof
) -> None:
    stored, books = sum(map(len, telemetry.values())) + len(events), told.books
    balanced = books["produced"] == books["stored"] == stored and not books["gaps"] and not books["quarantined"]
    proof.require(balanced, f"{stored} rows and events stored, the books say {dict(books)}")
    for source, answered in told.answered.items():
        proof.require(
            abs(len(telemetry[source]) - answered) <= 1,
            f"{source}: {answered} SYNCs answered, {len(telemetry[source])} rows stored",
        )
    proof.proved(
        f"the books balance: {stored} rows and events produced, each stored once, a row for each SYNC answered"
    )


def _dated(rows: Sequence[Row], told: Told, proof: Proof) -> None:
    long_ago, was_set, forward, back = told.steps
    shown = {  # from one step to the next: how it must be marked, and how far ahead of the truth it is dated
        "before the bound": (0.0, long_ago.at_s, "unsynced", told.woke_wrong_s),
        "waited until the clock was set": (long_ago.at_s, was_set.at_s, "rebased", 0.0),
        "after it was set": (was_set.at_s, forward.at_s, "stepped", 0.0),
        "after the jump forward": (forward.at_s, back.at_s, "stepped", forward.wrong_s),
    }
    for what, (since_s, until_s, mark, ahead_s) in shown.items():
        least_s, most_s = _error(rows, told.ticks, (since_s, until_s), mark, proof)
        least_s, most_s = least_s - ahead_s, most_s - ahead_s
        proof.require(
            least_s >= -WITHIN_S and most_s <= WITHIN_S, f"{what}: dated wrong by {least_s:.3f} to {most_s:.3f} s"
        )
        proof.proved(f"{what}: marked {mark}, dated right within {least_s:+.2f} to {most_s:+.2f} s")
    late = [(told.ticks[charge][1], rows[index].time_s) for index, charge in _first(rows, told.ticks, (back.at_s, inf))]
    proof.require(len(late) >= FEWEST_TICKS, f"only {len(late)} ticks after the jump back")
    ahead = [time_s - true_s for true_s, time_s in late]
    speed = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    proof.require(ahead[-1] > 0.0 and 0.3 < speed < 0.7, f"after the jump back: {speed:.2f} of the true speed, {ahead}")
    proof.proved(
        f"after the jump back: times go on at {speed:.2f} of the speed until the clock is there: {ahead[0]:.1f} … {ahead[-1]:.1f} s ahead"
    )


def _error(
    rows: Sequence[Row], ticks: Mapping[float, tuple[float, float]], span: tuple[float, float], mark: str, proof: Proof
) -> tuple[float, float]:
    """Between what bounds the times lie ahead of the truth: a tick came after the row before it and before the row that shows it."""
    found = list(_first(rows, ticks, span))
    proof.require(len(found) >= FEWEST_TICKS, f"only {len(found)} ticks of {mark} rows")
    marks = {rows[index].mark for index, _ in found}
    proof.require(marks == {mark}, f"rows that must be {mark} are {marks}")
    least_s = max(rows[index - 1].time_s - ticks[charge][1] for index, charge in found)
    return least_s, min(rows[index].time_s - ticks[charge][0] for index, charge in found)


def _first(
    rows: Sequence[Row], ticks: Mapping[float, tuple[float, float]], span: tuple[float, float]
) -> Iterator[tuple[int, float]]:
    """Number and charge of the first row that shows each tick of a span of true time, away from its ends."""
    for index, (before, row) in enumerate(pairwise(rows), start=1):
        if row.charge == before.charge or row.charge not in ticks:
            continue
        earliest, latest = ticks[row.charge]
        if span[0] + SETTLES_S < earliest and latest < span[1] - SETTLES_S:
            yield index, row.charge


def _calm(events: Sequence[Mapping[str, Any]], proof: Proof) -> None:
    states = [str(event["to"]) for event in sorted(events, key=lambda one: int(one["seq"])) if event["kind"] == "state"]
    running = states[states.index("RUN") :] if "RUN" in states else []
    proof.require(running, f"never in RUN: {states}")
    proof.require(not {"HOLD", "LATCHED"} & set(running), f"states since RUN: {running}")
    proof.proved(f"no HOLD and no trip among the stored events: {' → '.join(running)}")
