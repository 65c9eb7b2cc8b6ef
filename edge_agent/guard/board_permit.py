"""When the Arduino's port may be opened, also again: opening it resets an Uno and drops its relays, so not under load. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.guard.model import NoData, Reading
from edge_agent.guard.ports import Arrival
from shared.signals import INVERTER

_CURRENT = next(index for index, signal in enumerate(INVERTER) if signal.name == "current")


REOPEN_EXTRA_S = 1.0
"""A lost board makes HOLD order zero after this long; only from then on is zero waited for."""


class Give(Protocol):
    """Allows or forbids the board's driver to open its port."""

    def __call__(self, *, allowed: bool = True) -> None:
        """Called in the loop's thread."""


class BoardPermit:
    """Gives it at once without an inverter, else when its current is small or after `wait_s` (SAFETY §3, BOOT).

    A port that is lost while open may be opened again by the same rule, counted from the loss.
    """

    def __init__(self, give: Give, *, inverter: bool, noise_a: float, wait_s: float, now: float) -> None:
        self._give = give
        self._small_a = max(2.0, 4.0 * noise_a)
        self._wait_s = wait_s if inverter else 0.0
        self._at_latest = now + self._wait_s
        self.given = False

    def see(self, arrivals: Sequence[Arrival]) -> None:
        """Look for a lost board and for a current that is small."""
        for arrival in arrivals:
            if isinstance(arrival, NoData) and (arrival.source, arrival.part, arrival.reason) == (
                "arduino",
                "",
                "lost",
            ):
                self._withdraw(arrival.t_mono)
            if self.given:
                continue
            if type(arrival) is Reading and arrival.source == "inverter" and self._is_small(arrival):
                self._permit()

    def at(self, now: float) -> None:
        """It is `now`."""
        if not self.given and now >= self._at_latest:
            self._permit()

    def _is_small(self, reading: Reading) -> bool:
        current_a = reading.values[_CURRENT] if len(reading.values) > _CURRENT else None
        bad = any(index == _CURRENT for index, _ in reading.bad)
        return current_a is not None and not bad and abs(current_a) < self._small_a

    def _withdraw(self, lost: float) -> None:
        if self._wait_s:
            self.given, self._at_latest = False, lost + REOPEN_EXTRA_S + self._wait_s
            self._give(allowed=False)

    def _permit(self) -> None:
        self.given = True
        self._give()
