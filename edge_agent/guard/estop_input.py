"""The wired emergency stop: pressed, released, or unreadable, which counts as pressed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.guard.model import NoData, Reading
from edge_agent.guard.ports import Arrival

SOURCE, PART = "gpio", "estop"


class EstopInput:
    """`pressed` after each `see`. Before its first word it is not pressed: nothing is closed then either."""

    def __init__(self) -> None:
        self.pressed = False

    def see(self, arrivals: Sequence[Arrival]) -> None:
        """Take what the pin's device said last."""
        for arrival in arrivals:
            if arrival.source != SOURCE:
                continue
            if type(arrival) is Reading and arrival.part == PART:
                self.pressed = bool(arrival.raw[0])
            elif type(arrival) is NoData:
                self.pressed = True
