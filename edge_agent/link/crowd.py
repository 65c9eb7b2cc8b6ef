"""PURE: the same command towards safe again and again: guard gets the first at once, then the newest 20 times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.link.commands import RATE, Arrived, Order

PERIOD_S = 1.0 / RATE
JOINED_MOST = 20
"""So many senders with an id of their own share one command's answers; more are counted and hear nothing."""

Said = tuple[Order, Arrived]


class Ready(NamedTuple):
    """A command for guard, and the equal ones it stands for that have an id of their own."""

    order: Order
    arrived: Arrived
    others: tuple[Said, ...] = ()


@dataclass(slots=True)
class _Lane:
    next_at: float
    newest: Said | None = None
    others: list[Said] = field(default_factory=list)


class Crowd:
    """Commands of class S by what they ask. Nothing they ask is lost: of equal ones the last one always goes to guard.

    `joined` counts those that went as one with another, `unheard` those of them whose sender gets no answer of his own.
    """

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self.joined = self.unheard = 0

    def take(self, order: Order, arrived: Arrived, now: float) -> Ready | None:
        """The command when it may go on now; None while it waits with its equals for at most `PERIOD_S`."""
        key = order.target, repr(order.body)
        lane = self._lanes.get(key)
        if lane is None or (lane.newest is None and now >= lane.next_at):
            self._lanes[key] = _Lane(now + PERIOD_S)
            return Ready(order, arrived)
        if lane.newest is not None:
            self._join(lane, lane.newest)
        lane.newest = order, arrived
        return None

    def due(self, now: float) -> list[Ready]:
        """Those that have waited long enough."""
        ready = []
        for lane in self._lanes.values():
            if lane.newest is not None and now >= lane.next_at:
                ready.append(Ready(*lane.newest, tuple(lane.others)))
                lane.next_at, lane.newest, lane.others = now + PERIOD_S, None, []
        return ready

    def _join(self, lane: _Lane, said: Said) -> None:
        self.joined += 1
        if not said[0].given:
            return
        if len(lane.others) >= JOINED_MOST:
            self.unheard += 1
        else:
            lane.others.append(said)
