"""The alarms as others see them: active, latched, cleared; acknowledged by whom; bodies of `alarm/{id}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.guard.model import Level
from edge_agent.guard.safety.rules import Bound
from edge_agent.guard.safety.state import Latch
from edge_agent.guard.safety.trackers import Evidence


class Condition(NamedTuple):
    """An alarm that is present now."""

    id: str
    level: Level
    value: float | None = None
    limit: Bound = None
    unit: str = ""
    effects: tuple[str, ...] = ()
    evidence: Evidence | None = None


@dataclass(slots=True)
class Alarm:
    """One alarm since it was first raised. `raised` is the level it reached; a latch keeps it."""

    id: str
    level: Level
    state: str
    since: float
    value: float | None = None
    limit: Bound = None
    unit: str = ""
    effects: tuple[str, ...] = ()
    acked: str | None = None
    evidence: Evidence | None = None

    def body(self, now: float) -> dict[str, object]:
        """`alarm/{id}` of the contract, times in monotonic µs."""
        return {
            **evidence_body(self.evidence),
            "alarm": self.id,
            "level": self.level.name,
            "state": self.state,
            "acked": self.acked,
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "since_mono_us": round(self.since * 1e6),
            "mono_us": round(now * 1e6),
            "actions": list(self.effects),
        }


def evidence_body(evidence: Evidence | None) -> dict[str, object]:
    """What was seen when: the rule, the number of violating samples in a row, the first's and the deciding one's time."""
    if evidence is None:
        return {}
    return {
        "rule": evidence.rule,
        "samples": evidence.samples,
        "first_mono_us": round(evidence.first * 1e6),
        "seen_mono_us": round(evidence.last * 1e6),
    }


LATCH_EFFECTS = ("inverter_zero", "relays_open")


class AlarmBook:
    """Every alarm that was ever raised in this run; `update` says which changed."""

    def __init__(self) -> None:
        self._alarms: dict[str, Alarm] = {}
        self.ids: frozenset[str] = frozenset()

    def update(self, present: Iterable[Condition], latches: Iterable[Latch], now: float) -> list[Alarm]:
        """Take over what is present and what is latched; returns the alarms that changed."""
        here = {condition.id: condition for condition in present}
        held = {latch.id: latch.level for latch in latches}
        changed = [self._raise(condition, held.get(condition.id), now) for condition in here.values()]
        changed += [self._hold(latch_id, level, now) for latch_id, level in held.items() if latch_id not in here]
        for alarm in self._alarms.values():
            if alarm.state != "cleared" and alarm.id not in here and alarm.id not in held:
                alarm.state = "cleared"
                changed.append(alarm)
        if len(self._alarms) != len(self.ids):
            self.ids = frozenset(self._alarms)
        return [alarm for alarm in changed if alarm is not None]

    def _raise(self, condition: Condition, latched: Level | None, now: float) -> Alarm | None:
        level = max(condition.level, latched or Level.OK)
        alarm = self._alarms.get(condition.id)
        if alarm is not None and (alarm.level, alarm.state) == (level, "active"):
            return None
        since = now if alarm is None or alarm.state == "cleared" else alarm.since
        acked = None if alarm is None or alarm.state == "cleared" or level > alarm.level else alarm.acked
        effects = condition.effects if level >= Level.DANGER or "inverter_zero" not in condition.effects else ()
        alarm = Alarm(
            condition.id, level, "active", since, condition.value, condition.limit, condition.unit, effects, acked,
            condition.evidence,
        )  # fmt: skip
        self._alarms[condition.id] = alarm
        return alarm

    def _hold(self, latch_id: str, level: Level, now: float) -> Alarm | None:
        alarm = self._alarms.get(latch_id)
        if alarm is None or alarm.state == "cleared":
            alarm = self._alarms[latch_id] = Alarm(latch_id, level, "latched", now, effects=LATCH_EFFECTS)
        elif alarm.state == "latched" and alarm.level == level:
            return None
        else:
            alarm.state, alarm.level = "latched", max(level, Level.OK)
        return alarm

    def acknowledge(self, alarm_id: str, actor: str) -> Alarm | None:
        """Note who has seen it; it changes nothing else."""
        alarm = self._alarms.get(alarm_id)
        if alarm is None or alarm.acked == actor:
            return None
        alarm.acked = actor
        return alarm

    def worst(self) -> Level:
        """The highest level of what is active or latched."""
        return max((alarm.level for alarm in self._alarms.values() if alarm.state != "cleared"), default=Level.OK)

    def bodies(self, now: float) -> Mapping[str, dict[str, object]]:
        """All alarms by topic."""
        return {f"alarm/{alarm.id}": alarm.body(now) for alarm in self._alarms.values()}
