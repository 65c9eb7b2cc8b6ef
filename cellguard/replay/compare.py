"""Sets what a replay decided beside what was recorded: the same cause, the same order, and how far apart in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cellguard.replay.run import Moment, Replay, is_trip
from cellguard.replay.trip_file import TripFile


class Verdict(NamedTuple):
    """`same`: it tripped by the same rules and then decided the same in the same order. Times in s from the recorded trip."""

    recorded: tuple[str, ...]
    replayed: tuple[str, ...]
    later_s: float | None
    recorded_order: tuple[str, ...]
    replayed_order: tuple[str, ...]

    @property
    def same(self) -> bool:
        """The replay decided what the guard had decided."""
        return bool(self.recorded) and self.recorded == self.replayed and self.recorded_order == self.replayed_order


def recorded_moments(trip: TripFile) -> list[Moment]:
    """What the guard told around the trip."""
    kinds = {"state", "output", "alarm", "command"}
    return [Moment(round((e["ts"] - trip.ts) / 1e6, 3), e) for e in trip.events if e["kind"] in kinds]


def judge(trip: TripFile, replay: Replay) -> Verdict:
    """Compare."""
    recorded = recorded_moments(trip)
    theirs = next((moment for moment in recorded if is_trip(moment.body) and moment.t_s >= 0), None)
    ours = replay.tripped
    return Verdict(
        _causes(theirs),
        _causes(ours),
        None if ours is None or theirs is None else round(ours.t_s - theirs.t_s, 3),
        _order(recorded, theirs),
        _order(replay.moments, ours),
    )


def _causes(trip: Moment | None) -> tuple[str, ...]:
    return () if trip is None else tuple(trip.body["why"])


def _order(moments: Iterable[Moment], trip: Moment | None) -> tuple[str, ...]:
    """States entered and relays switched from the trip until it was over, in the order of the decisions."""
    if trip is None:
        return ()
    found: list[str] = []
    for moment in moments:
        if moment.t_s < trip.t_s or not (said := _decision(moment.body)):
            continue
        found.append(said)
        if said in {"state LATCHED", "state STANDBY"}:
            break
    return tuple(found)


def _decision(body: Mapping[str, Any]) -> str:
    if body["kind"] == "state":
        return f"state {body['to']}"
    if body["kind"] == "output" and "commanded" in body and str(body["output"]).startswith("relay"):
        return f"{body['output']} {'on' if body['commanded'] else 'off'}"
    return ""
