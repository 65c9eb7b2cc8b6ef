"""R5: hours of the lab's rig in virtual time, with its oddities, on a schedule inside all limits. A healthy rig does not trip."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.evidence.world import World, clocked

LAB_STEPS = ((300.0, 35.0), (300.0, -35.0), (60.0, 0.0), (120.0, -60.0), (120.0, 60.0), (30.0, 0.0))
"""What the lab does: charge equals discharge, so that the pack stays where it is for as long as one likes."""
HOUR_S = 3600.0


@dataclass
class Day:
    """What was seen. `run_s` of `seconds` were spent in RUN after RUN was first reached."""

    seconds: float = 0.0
    run_s: float = 0.0
    cpu_s: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    latches: tuple[str, ...] = ()
    alarms: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    frames: int = 0
    silences: int = 0
    late_replies: int = 0
    cell_span_v: tuple[float, float] = (9.0, 0.0)

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.seconds / HOUR_S:.2f} h: RUN {100 * self.run_s / self.seconds:.3f} %, HOLD {self.states['HOLD']}, "
            f"latches {list(self.latches)}, states {dict(self.states)}, alarms {dict(self.alarms)}, turns {self.turns}, "
            f"frames {self.frames}, silences {self.silences}, late replies {self.late_replies}, "
            f"cells {self.cell_span_v[0]:.3f}..{self.cell_span_v[1]:.3f} V, {self.seconds / self.cpu_s:.0f} × real time"
        )


def live(hours: float, seed: int, say: Callable[[str], None]) -> Day:
    """Live so long, telling each hour; the world itself ends with it."""
    world, day = World(seed, "lab-2021"), Day()
    with clocked(world):
        world.connect()
        repeats = int(hours * HOUR_S / sum(seconds for seconds, _ in LAB_STEPS)) + 2
        world.drive(*(LAB_STEPS * repeats))
        began, cpu = world.now, time.process_time()
        told = began + HOUR_S
        while world.now < began + hours * HOUR_S:
            minute(world, day)
            day.seconds, day.cpu_s = world.now - began, time.process_time() - cpu
            if world.now >= told or not day.run_s:
                told += HOUR_S
                say(day.line())
    return day


def minute(world: World, day: Day) -> None:
    """A minute, or what is left of this quarter of one; every change of state is in the events."""
    agent = world.living
    before = agent.turns
    events, agent.events = agent.events, []
    since, was = world.now, agent.state
    world.run(5.0)
    for event in [*events, *agent.events]:
        if event["kind"] == "state":
            day.states[str(event["to"])] += 1
        elif event["kind"] == "alarm":
            day.alarms[f"{event['alarm']} {event['level']} {event['state']}"] += 1
    agent.events = []
    if was == agent.state == "RUN":
        day.run_s += world.now - since
    day.turns += agent.turns - before
    day.latches = tuple(latch.id for latch in agent.core.state.latches)
    day.frames = sum(world.rig.bus.sent.values())
    day.silences, day.late_replies = world.rig.nodes.silences, world.rig.rtu.counted["late"]
    cells = [volts for module in world.rig.battery.modules for volts in module.cells_v(world.rig.plant.current_a)]
    day.cell_span_v = min(day.cell_span_v[0], *cells), max(day.cell_span_v[1], *cells)
