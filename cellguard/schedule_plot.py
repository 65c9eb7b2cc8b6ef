"""PURE: a schedule as a few lines of text: time to the right, discharge up, charge down."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.guard.safety.interface import ScheduleStep

WIDTH, HEIGHT = 60, 3
"""Columns, and rows above and below zero."""


def plot(steps: Sequence[ScheduleStep], unit: str) -> list[str]:
    """Rows of the largest setpoints of each column, both ways; the scale stands at both ends."""
    columns = _columns(steps)
    most = max(max(up, -down) for up, down in columns) or 1.0
    bars = [(_level(down / most), _level(up / most)) for up, down in columns]
    rows = [
        "".join("─" if row == 0 else "█" if 0 < row <= high or low <= row < 0 else " " for low, high in bars)
        for row in range(HEIGHT, -HEIGHT - 1, -1)
    ]
    ends = {0: f"{most:g} {unit}", HEIGHT: "0", 2 * HEIGHT: f"{-most:g} {unit}"}
    return [f"{ends.get(number, ''):>10} {row}" for number, row in enumerate(rows)]


def _level(part: float) -> int:
    """Rows of a bar; a setpoint that is not 0 shows at least one."""
    return round(part * HEIGHT) or (part > 0) - (part < 0)


def _columns(steps: Sequence[ScheduleStep]) -> list[tuple[float, float]]:
    """The largest and the smallest setpoint, 0 included, in each of WIDTH equal pieces of time."""
    total_s = sum(step.duration_s for step in steps)
    found, began_s = [(0.0, 0.0)] * WIDTH, 0.0
    for step in steps:
        first = int(began_s / total_s * WIDTH)
        began_s += step.duration_s
        last = max(first, min(WIDTH, round(began_s / total_s * WIDTH)) - 1)
        for column in range(first, min(last, WIDTH - 1) + 1):
            up, down = found[column]
            found[column] = max(up, step.setpoint), min(down, step.setpoint)
    return found
