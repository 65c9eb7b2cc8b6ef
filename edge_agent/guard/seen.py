"""How often each part of each source was heard and how often it said something new: for people who look for a fault. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.guard.model import NoData, Opened, Reading
from shared.signals import module_number


class _Part:
    """Counts since the start, and the newest reading."""

    __slots__ = ("changes", "last", "readings")

    def __init__(self, first: Reading) -> None:
        self.last = first
        self.readings = 1
        self.changes = 0


class Seen:
    """Feed it every arrival; ask `body` when somebody wants to know."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], _Part] = {}

    def see(self, arrivals: Sequence[Reading | NoData | Opened]) -> None:
        """Count these arrivals: thousands a second, so only what cannot be counted later."""
        parts = self._parts
        for arrival in arrivals:
            if type(arrival) is not Reading:
                continue
            part = parts.get(arrival[:2])
            if part is None:
                parts[arrival[:2]] = _Part(arrival)
                continue
            part.readings += 1
            if arrival.raw is not part.last.raw and arrival.raw != part.last.raw:
                part.changes += 1
            part.last = arrival

    def body(self, now: float) -> dict[str, dict[str, dict[str, object]]]:
        """Source → part → readings, changes (readings that differ from the one before), age_s; values but of modules."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for (source, name), part in self._parts.items():
            last = part.last
            told: dict[str, object] = {
                "readings": part.readings,
                "changes": part.changes,
                "age_s": round(now - last.t_mono, 3),
            }
            if module_number(source) is None:
                told["values"] = list(last.values)
            found.setdefault(source, {})[name] = told
        return found
