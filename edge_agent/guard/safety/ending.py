"""End conditions of schedule steps: which signals exist to be named, and whether a new, good sample meets the one under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge_agent.guard.model import Reading
from edge_agent.guard.safety.freshness import Freshness
from edge_agent.guard.safety.interface import Arrival, EndCondition, ScheduleFile, Settings, SignalInfo
from edge_agent.guard.safety.schedule import Met, Place, place
from edge_agent.guard.safety.state import NEVER, Supervisor
from shared.signals import kind_of, module_source

ANY_MODULE = "any"

Roster = tuple[int, ...]


class Where:
    """In which part, and where in it, each signal stands that a condition may name."""

    def __init__(self, settings: Settings) -> None:
        parts: dict[str, Mapping[str, tuple[SignalInfo, ...]]] = {"module": settings.module_parts}
        if settings.inverter is not None:
            parts["inverter"] = {"poll": settings.inverter_signals}
        if settings.arduino is not None:
            parts["arduino"] = {"line": settings.arduino_signals}
        self._found = {
            (kind, signal.name): (part, index, abs(signal.scale) / 2.0)
            for kind, lists in parts.items()
            for part, signals in lists.items()
            for index, signal in enumerate(signals)
        }

    def of(self, end: EndCondition) -> tuple[str, int, float] | None:
        """(part, index, half its resolution) of its signal; None when there is none of that name."""
        kind = "module" if end.source == ANY_MODULE else kind_of(end.source)
        return self._found.get((kind, end.signal))


def sources(end: EndCondition, roster: Roster) -> frozenset[str]:
    """The sources whose samples count; only commissioned modules do."""
    modules = frozenset(map(module_source, roster))
    if end.source == ANY_MODULE:
        return modules
    return frozenset({end.source}) & (modules | {"inverter", "arduino"})


def unknown_end(schedule: ScheduleFile, settings: Settings, roster: Roster) -> str:
    """The first line whose condition names what this rig does not have, in words; "" when none."""
    where = Where(settings)
    for step in schedule.steps:
        end = step.end
        if end is not None and not (where.of(end) and sources(end, roster)):
            return (
                f"{schedule.name} line {end.line}: given '{end.source}.{end.signal}'; allowed: a signal of any, "
                "of a commissioned module-NN, of inverter or arduino"
            )
    return ""


class EndWatch:
    """Looks at the arrivals of each turn, before the supervisor does; remembers since when its step has run."""

    def __init__(self, settings: Settings) -> None:
        self._where = Where(settings)
        self._place: Place | None = None
        self._since = NEVER

    def met(self, state: Supervisor, arrivals: Iterable[Arrival], freshness: Freshness, now: float) -> Met | None:
        """The first of the arrivals that ends the step under way. Samples from before it began, or stale ones, never do."""
        programme = state.programme
        under_way = place(programme)
        if under_way != self._place:
            self._place, self._since = under_way, state.turned
        if under_way is None or programme.file is None:
            return None
        end = programme.file.steps[programme.step].end
        if end is None:
            return None
        among = sources(end, state.vault.record.roster or ())
        new = (
            arrival
            for arrival in arrivals
            if isinstance(arrival, Reading)
            and arrival.source in among
            and arrival.t_mono > self._since
            and now - arrival.t_mono <= freshness.limit_s(arrival.source)
        )
        return next(
            (Met(under_way, one.source, value) for one in new if (value := self._beyond(end, one)) is not None), None
        )

    def _beyond(self, end: EndCondition, reading: Reading) -> float | None:
        """The reading's value when it meets the condition."""
        part, index, half = self._where.of(end) or ("", -1, 0.0)
        # a line of an old board may be shorter than the list of signals
        if reading.part != part or index >= len(reading.values) or any(index == bad for bad, _ in reading.bad):
            return None
        value = reading.values[index]
        if value is None:
            return None
        # the count of 2.80 V decodes to 2.8000000000000003
        return value if (value >= end.limit - half if end.above else value <= end.limit + half) else None
