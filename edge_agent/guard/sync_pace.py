"""What SYNC period this machine sustains: the guard's own work of one cycle, done on the spot with frames of its own making."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from edge_agent.guard.catalog import schemas
from edge_agent.guard.codecs.can_frame import EXTENDED, Frame
from edge_agent.guard.codecs.canopen import Bmus
from edge_agent.guard.core_settings import Bus
from edge_agent.guard.rows import Rows
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.interface import Durable, Inputs, Settings
from shared.errors import ConfigError

SHARE = 0.25
"""Decoding, judging and recording may take so much of a period: receiving, sending, waking up and the other devices cost about
twice as much again, and a core of which more than three quarters are busy answers late."""
ROUNDS = 3
TRIES = 3


def check_pace(bus: Bus, settings: Settings) -> None:
    """Refuse a period that is shorter than this machine sustains; raises ConfigError with the number."""
    if error := refusal(settings.sync_period_s, lambda: cycle_work_s(bus, settings)):
        raise error


def refusal(period_s: float, work_s: Callable[[], float]) -> ConfigError | None:
    """Judge a period by the work of a cycle; before it is refused the work is measured anew, and the least counts."""
    least_s = math.inf
    for _ in range(TRIES):
        least_s = min(least_s, work_s())
        if period_s >= sustained_s(least_s):
            return None
    allowed = f"at least {sustained_s(least_s):.3f} on this machine: a cycle takes it {least_s * 1000.0:.1f} ms of work"
    return ConfigError("[can] sync_period_s", f"{period_s:g}", allowed)


def sustained_s(work_s: float) -> float:
    """The shortest period, in whole ms, of which `work_s` is at most the share."""
    return math.ceil(round(work_s / SHARE * 1000.0, 6)) / 1000.0


def cycle_work_s(bus: Bus, settings: Settings) -> float:
    """CPU seconds to decode, judge and record one cycle in which every value changes; the best of some."""
    random = Random(0)  # noqa: S311 - any bytes will do
    rounds = [_second_cycle_s(bus, settings, random) for _ in range(ROUNDS)]
    return min(rounds)


def _second_cycle_s(bus: Bus, settings: Settings, random: Random) -> float:
    """The first cycle of a new core makes what the others find; later ones would raise alarms, which is not the ordinary case.

    Nor are a site's own limits: with N = 1 the first random value beyond them would be an alarm.
    """
    core, bmus = Core(replace(settings, limits={}), Durable(), 0.0), Bmus(bus.groups, settings.cells)
    rows = Rows(schemas(list(bus.groups), bus.parts, settings.cells, ()))
    spent_s = 0.0
    for cycle in (1.0, 2.0):
        bundles = list(_bundles(bus, settings.series, random, cycle))
        start_s = time.thread_time()
        arrivals = list(bmus.on_tick(cycle).arrivals)
        for bundle in bundles:
            arrivals += bmus.on_frames(bundle)
            core.turn(Inputs(arrivals), cycle)
            rows.feed(arrivals)
            arrivals = []
        spent_s = time.thread_time() - start_s
    return spent_s


def _bundles(bus: Bus, modules: int, random: Random, now: float) -> Iterator[list[Frame]]:
    """The answers of the first `modules` modules, one module at a time."""
    for number in sorted(bus.groups)[:modules]:
        specs = [decoder.spec for decoder in bus.groups[number].values()]
        yield [(spec.can_id | (EXTENDED if spec.extended else 0), random.randbytes(spec.length), now) for spec in specs]
