"""PURE: a schedule as a few lines of text: time to the right, discharge up, charge down."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.guard.safety.interface import ScheduleStep

WIDTH, HEIGHT = 60, 3
"""Columns, and rows above and below zero."""


def plot(steps: Sequence[ScheduleStep], unit: str) -> list[str]:
    """Rows of the largest setpoint of each column; the scale stands at both ends."""
    columns = _columns(steps)
    most = max(abs(value) for value in columns) or 1.0
    levels = [round(value / most * HEIGHT) or (value > 0) - (value < 0) for value in columns]
    rows = [
        "".join("█" if 0 < row <= level or level <= row < 0 else "─" if row == 0 else " " for level in levels)
        for row in range(HEIGHT, -HEIGHT - 1, -1)
    ]
    ends = {0: f"{most:g} {unit}", HEIGHT: "0", 2 * HEIGHT: f"{-most:g} {unit}"}
    return [f"{ends.get(number, ''):>10} {row}" for number, row in enumerate(rows)]


def _columns(steps: Sequence[ScheduleStep]) -> list[float]:
    """The setpoint that is furthest from zero in each of WIDTH equal pieces of time."""
    total_s = sum(step.duration_s for step in steps)
    found, began_s = [0.0] * WIDTH, 0.0
    for step in steps:
        first = int(began_s / total_s * WIDTH)
        began_s += step.duration_s
        last = max(first, min(WIDTH, round(began_s / total_s * WIDTH)) - 1)
        for column in range(first, min(last, WIDTH - 1) + 1):
            found[column] = max(found[column], step.setpoint, key=abs)
    return found
