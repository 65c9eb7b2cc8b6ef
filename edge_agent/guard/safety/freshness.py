"""Ages of the required sources: unknown at once when too old, fresh again only after a steady second."""

from __future__ import annotations

from collections.abc import Collection

from edge_agent.guard.model import NoData, Opened
from edge_agent.guard.safety.interface import Settings

STALE_PERIODS = 5
LEAST_STALE_S = 1.0
V1_STALE_S = 5.0
BOARD_PERIOD_S = 0.1
STEADY_S = 1.0
GRACE_S = 8.0
"""At start nothing has been seen yet: nothing may close, but silence is an alarm only after this long."""


class Freshness:
    """Which sources are unknown, since when, and what to say about them."""

    def __init__(self, settings: Settings, now: float) -> None:
        board = settings.arduino
        poll_s = settings.inverter.poll_period_s if settings.inverter is not None else 0.0
        self._limits = {
            "module": max(LEAST_STALE_S, STALE_PERIODS * settings.sync_period_s),
            "inverter": max(LEAST_STALE_S, STALE_PERIODS * poll_s),
            "arduino": V1_STALE_S if board is not None and board.protocol == "v1" else LEAST_STALE_S,
        }
        self._started = now
        self._steady: dict[str, float] = {}
        self.unknown: dict[str, float] = {}
        self.fresh: set[str] = set()
        self.links: dict[str, NoData] = {}
        self._ids: tuple[str, ...] | None = ()
        self.version = 0

    def go_on_from(self, before: Freshness) -> None:
        """Devices keep what is known of them; modules must show themselves to the new rules."""
        self.fresh |= {source for source in before.fresh if not source.startswith("module-")}
        self.links |= before.links

    def limit_s(self, source: str) -> float:
        """How old the source may be."""
        return self._limits["module" if source.startswith("module-") else source]

    def judge(self, source: str, t_good: float, now: float) -> None:
        """Move `source` between fresh and unknown by the time of its last good data (-inf: never)."""
        if source not in self.fresh and source not in self.unknown:
            self._lose(source, self._started)
        if now - t_good > self.limit_s(source):
            self._steady.pop(source, None)
            if source in self.fresh:
                self._lose(source, t_good)
        elif source in self.unknown and now - self._steady.setdefault(source, now) >= STEADY_S:
            del self.unknown[source]
            self.fresh.add(source)
            self._ids, self.version = None, self.version + 1

    def _lose(self, source: str, since: float) -> None:
        self.fresh.discard(source)
        self.unknown[source] = since
        self._ids, self.version = None, self.version + 1

    def keep(self, modules: Collection[str]) -> None:
        """Forget modules that are not required any more."""
        for source in [s for s in (*self.unknown, *self.fresh) if s.startswith("module-") and s not in modules]:
            self.unknown.pop(source, None)
            self.fresh.discard(source)
            self._ids, self.version = None, self.version + 1

    def unknown_ids(self) -> tuple[str, ...]:
        """Alarm ids of everything that is not fresh."""
        if self._ids is None:
            self._ids = tuple(f"{source}.stale" for source in sorted(self.unknown))
        return self._ids

    def alarmed(self, now: float) -> list[str]:
        """The unknown sources that have been silent long enough to be said."""
        if not self.unknown:
            return []
        late = not self.patient(now)
        return [s for s in sorted(self.unknown) if late or self.unknown[s] > self._started or s in self.links]

    def missing(self, missing: NoData) -> None:
        """A device says that its link is gone or cannot be opened."""
        self.links[missing.source] = missing
        self.version += 1

    def opened(self, opened: Opened) -> None:
        """A device's link is there again."""
        self.links.pop(opened.source, None)
        self.version += 1

    def patient(self, now: float) -> bool:
        """Whether it is still too early to call silence an alarm."""
        return now - self._started < GRACE_S

    def sentences(self, now: float) -> list[str]:
        """Why the agent is degraded, for `status`."""
        why = [f"{source} {missing.reason}" for source, missing in sorted(self.links.items())]
        said = [s for s in self.alarmed(now) if s not in self.links]
        if "can" in self.links:
            said = [s for s in said if not s.startswith("module-")]
        return [*why, *(f"{source} stale" for source in said)]
