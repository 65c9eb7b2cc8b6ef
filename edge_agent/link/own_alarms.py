"""PURE: link's own alarms: a counter that grows means something was refused, postponed or lost; each has a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

CALM_S = 30.0
"""An alarm is cleared when its counter has stood still for so long."""


class Watch(NamedTuple):
    """One alarm: its id, the counter of `state/health` it watches, what growing means, and whether `status` says so too."""

    alarm: str
    counter: str
    meaning: str
    in_status: bool = True


WATCHES = (
    Watch("link.client_taken_over", "mqtt_taken_over", "another program uses this node's client id at the broker"),
    Watch("link.spool_error", "spool_errors", "the spool cannot be written", in_status=False),
    Watch(
        "link.disk_full", "disk_full", "the disk is nearly full: telemetry gets no more room on it, alarms the reserve"
    ),
    Watch("link.spool_full", "messages_dropped", "the spool is full: the oldest telemetry is given up"),
    Watch(
        "link.sent_unmarked",
        "sent_unmarked",
        "what is sent cannot be marked on the disk: after a kill it may be given up although it is stored",
        in_status=False,
    ),
    Watch("link.recorder_behind", "packets_postponed", "the disk is too slow: guard keeps its records meanwhile"),
    Watch("link.guard_dropped", "guard_gaps", "guard had to drop records: link took none for too long"),
    Watch("link.events_lost", "own_events_lost", "link's own events could not be kept"),
    Watch("link.commands_dropped", "commands_dropped", "more commands come than can be judged"),
    Watch("link.receipts_dropped", "receipts_dropped", "more receipts come than can be taken"),
    Watch("link.answers_not_sent", "answers_not_sent", "answers to commands could not be published"),
)


@dataclass(slots=True)
class _Seen:
    count: int
    grew_at: float | None = None
    since_us: int = 0


class OwnAlarms:
    """What was counted last, and which alarms are active because of it."""

    def __init__(self) -> None:
        self._seen = {watch.alarm: _Seen(0) for watch in WATCHES}

    def every(self, ts: int, moved_us: int = 0) -> list[dict[str, object]]:
        """All of them as they are, dated by a clock that was set by so much.

        At the start they are cleared: a broker may still keep what a link before this one said.
        """
        said = []
        for watch in WATCHES:
            seen = self._seen[watch.alarm]
            seen.since_us = seen.since_us + moved_us if seen.since_us else 0
            state = "cleared" if seen.grew_at is None else "active"
            said.append(_body(watch, state, seen.count, seen.since_us or ts, ts))
        return said

    def step(self, counts: Mapping[str, int], now: float, ts: int) -> list[dict[str, object]]:
        """The alarms that changed, as `alarm/{id}` has them; `now` is monotonic s, `ts` Unix µs."""
        changed = []
        for watch in WATCHES:
            seen = self._seen[watch.alarm]
            count = counts.get(watch.counter, 0)
            if count > seen.count:
                if seen.grew_at is None:
                    seen.since_us = ts
                    changed.append(_body(watch, "active", count, seen.since_us, ts))
                seen.grew_at = now
            elif seen.grew_at is not None and now - seen.grew_at > CALM_S:
                seen.grew_at = None
                changed.append(_body(watch, "cleared", count, seen.since_us, ts))
            seen.count = count
        return changed

    @property
    def why(self) -> tuple[str, ...]:
        """A sentence for each that is active, for `status`."""
        active = (watch for watch in WATCHES if self._seen[watch.alarm].grew_at is not None)
        return tuple(watch.meaning for watch in active if watch.in_status)


def _body(watch: Watch, state: str, count: int, since: int, ts: int) -> dict[str, object]:
    return {
        "alarm": watch.alarm, "level": "WARNING", "state": state, "acked": None, "value": count, "limit": None, "unit": "",
        "since": since, "ts": ts, "actions": [], "meaning": watch.meaning,
    }  # fmt: skip
