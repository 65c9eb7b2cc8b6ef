"""`python -m tests.evidence.guard_day`: a day of the whole guard in virtual time; its memory stays flat (the rig's is in it)."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.memory import Readings
from tests.conftest import wait_for
from tests.evidence.lab_day import HOUR_S, LAB_STEPS, Day, minute
from tests.evidence.whole_guard import WholeAgent, WholeWorld
from tests.evidence.world import clocked

_READINGS = 200


def main() -> int:
    """A line for the memory and one for the day; 1 when it was not flat, a record was missing, or the rig did not run on."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence.guard_day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of the rig's time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cg-") as folder, ExitStack() as stack:
        return _run(WholeWorld(Path(folder), stack, 1, "lab-2021"), given.hours)


def _run(world: WholeWorld, hours: float) -> int:
    day, readings = Day(), Readings({"guard and rig": os.getpid()})
    agent = world.living
    assert isinstance(agent, WholeAgent)
    with clocked(world):
        world.connect()
        world.drive(*LAB_STEPS * (int(hours * HOUR_S / sum(seconds for seconds, _ in LAB_STEPS)) + 2))
        began = due = world.now
        while world.now < began + hours * HOUR_S:
            minute(world, day)
            wait_for(lambda: agent.door.is_idle, 60, "link to take what waits")  # this world is faster than a real one
            day.seconds, day.cpu_s = world.now - began, os.times().user
            if world.now >= due:
                due += hours * HOUR_S / _READINGS
                readings.take()
                world.truth._changes.clear()  # the rig's memory of what it did is not the guard's
    (verdict,) = readings.verdicts().values()
    sys.stdout.write(f"rss guard and rig {verdict}\n{day.line()}\n")
    sys.stdout.write(f"records {agent.link.records} holes {agent.link.holes} ring {agent.door.fill()}\n")
    held = bool(day.latches) or day.states["HOLD"] > 0
    return int(held or not verdict.flat or agent.link.holes > 0 or agent.link.records == 0)


if __name__ == "__main__":
    sys.exit(main())
