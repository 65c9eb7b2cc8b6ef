"""The figure `latency`: from the deciding CAN frame to the first command byte, by the simulator's own record, idle and loaded.

What counts begins at the later of {the deciding frame was written, the RTU transaction then on the line has ended} and ends at
the first byte of the command. Loaded: a full bus (as idle), 5 000 commands a second over MQTT, link's disk full (where a small one
may be mounted for it), another one busy. The load is what was delivered: frames written, commands that link received.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bench.figure import Figure
from bench.latency_decisions import decisions
from bench.latency_kernel import Kernel
from bench.latency_rig import Demo, Flood

GOAL_MS = 20.0
CAN_BITS_PER_S, BITS_PER_FRAME = 500_000, 125
IDLE_N, LOADED_N = 60, 300
"""Two decisions in 1.4 s: `python -m bench.latency 1000` takes 12 minutes, and its p99.9 is not just the worst."""


class Load(NamedTuple):
    """What was on the machine while it was measured, each per second; `disk` in words."""

    frames: float
    sent: float
    received: float
    disk: str


class Measured(NamedTuple):
    """Decisions of one run, what the guard measured of itself, and the delivered load."""

    decisions_s: list[float | None]
    own: dict[str, Any]
    load: Load

    @property
    def latencies_ms(self) -> list[float]:
        """Of all that are known, ascending."""
        return sorted(1000.0 * one for one in self.decisions_s if one is not None)

    @property
    def thrown(self) -> int:
        """Decisions during which the simulator stood still itself, seen by its control socket; its times mean nothing then."""
        return self.decisions_s.count(None)

    def percentile(self, share: float) -> float:
        """By nearest rank: p99.9 of fewer than 1 000 decisions is their worst."""
        ordered = self.latencies_ms
        return ordered[math.ceil(len(ordered) * share) - 1]

    def __str__(self) -> str:
        latency = self.own.get("latency_ms", {})
        return (
            f"p50 {self.percentile(0.5):.1f} p99 {self.percentile(0.99):.1f} worst {self.latencies_ms[-1]:.1f}, "
            f"n={len(self.latencies_ms)} ({self.thrown} thrown: the simulator stood still itself), "
            f"the guard's own p99 {latency.get('p99')} max {latency.get('max')}"
        )


def figures(number: int = LOADED_N) -> list[Figure]:
    """Idle, then loaded, on one demo."""
    folder = Path(tempfile.mkdtemp(prefix="cellguard-latency-"))
    try:
        with Kernel() as kernel, Demo(folder) as demo:
            idle = _measure(demo, IDLE_N, None)
            with Flood(demo) as flood:
                loaded = _measure(demo, number, flood)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        Figure("latency", loaded.percentile(0.999), GOAL_MS, f"{_against(idle, loaded)}; {kernel.said}", at_most=True)
    ]


def _against(idle: Measured, loaded: Measured) -> str:
    load, full = loaded.load, CAN_BITS_PER_S / BITS_PER_FRAME
    return (
        f"ms p99.9 by the simulator, {loaded}, under {load.received:.0f} commands/s received by link ({load.sent:.0f} sent), "
        f"{load.frames:.0f} frames/s = {load.frames / full:.0%} of the bus, {load.disk}; "
        f"idle, {idle.load.frames:.0f} frames/s: p99.9 {idle.percentile(0.999):.1f}, {idle}"
    )


def _measure(demo: Demo, number: int, flood: Flood | None) -> Measured:
    found, before, began = decisions(demo), _counted(demo, flood), time.monotonic()
    made = list(islice(found, number))
    spent = time.monotonic() - began
    sent, received = ((after - earlier) / spent for after, earlier in zip(_counted(demo, flood), before, strict=True))
    return Measured(
        made,
        demo.health(),
        Load(demo.frames_per_s(), sent, received, flood.disk(spent) if flood is not None else ""),
    )


def _counted(demo: Demo, flood: Flood | None) -> tuple[int, int]:
    """Commands sent, and commands that link has received."""
    return (0, 0) if flood is None else (flood.sent, demo.drops().get("commands_received", 0))


def main() -> int:
    """Print the figure; 1 when it is short of its goal."""
    measured = figures(*map(int, sys.argv[1:]))
    for figure in measured:
        print(figure)
    return int(not all(figure.ok for figure in measured))


if __name__ == "__main__":
    sys.exit(main())
