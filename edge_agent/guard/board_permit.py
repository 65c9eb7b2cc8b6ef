"""When the Arduino's port may first be opened: opening it resets an Uno and drops its relays, so not under load. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_agent.guard.model import Reading
from edge_agent.guard.ports import Arrival
from shared.signals import INVERTER

_CURRENT = next(index for index, signal in enumerate(INVERTER) if signal.name == "current")


class BoardPermit:
    """Calls `give` once: at once without an inverter, else when its current is small or after `wait_s` (SAFETY §3, BOOT)."""

    def __init__(self, give: Callable[[], None], *, inverter: bool, noise_a: float, wait_s: float, now: float) -> None:
        self._give = give
        self._small_a = max(2.0, 4.0 * noise_a)
        self._at_latest = now + wait_s if inverter else now
        self.given = False

    def see(self, arrivals: Sequence[Arrival]) -> None:
        """Look for a current that is small."""
        if self.given:
            return
        for arrival in arrivals:
            if type(arrival) is Reading and arrival.source == "inverter" and self._is_small(arrival):
                self._permit()
                return

    def at(self, now: float) -> None:
        """It is `now`."""
        if not self.given and now >= self._at_latest:
            self._permit()

    def _is_small(self, reading: Reading) -> bool:
        current_a = reading.values[_CURRENT] if len(reading.values) > _CURRENT else None
        bad = any(index == _CURRENT for index, _ in reading.bad)
        return current_a is not None and not bad and abs(current_a) < self._small_a

    def _permit(self) -> None:
        self.given = True
        self._give()
