"""PURE: the `status` topic: online, degraded or offline, since when and why."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from edge_agent.link.jobs import Snapshot

REFRESH_S = 10.0
GUARD_SILENT_S = 2.5
NO_RECEIPTS_S = 10.0


class Moment(NamedTuple):
    """What a status depends on: now (monotonic s and Unix µs), how good the clock is, and what is not as it should be."""

    now: float
    ts: int
    clock: str
    why: tuple[str, ...]


def offline(session: str, moment: Moment) -> bytes:
    """The last word: as will when we are lost, or by ourselves on a clean end."""
    return _body("offline", session, moment, moment.ts)


class Status:
    """What was said last, so that it is said again on change and every 10 s."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._state = ""
        self._since_us = 0
        self._said: tuple[str, tuple[str, ...]] | None = None
        self._next = 0.0

    def moved(self, moved_us: int) -> None:
        """The clock was set by so much: what is said next is dated by it."""
        self._since_us += moved_us
        self._next = 0.0

    def due(self, moment: Moment) -> bytes | None:
        """The payload to publish now, None when nothing changed and the last one is young enough."""
        state = "degraded" if moment.why else "online"
        if state != self._state:
            self._state, self._since_us = state, moment.ts
        said = (moment.clock, moment.why)
        if said == self._said and moment.now < self._next:
            return None
        self._said, self._next = said, moment.now + REFRESH_S
        return _body(state, self._session, moment, self._since_us)


def _body(state: str, session: str, moment: Moment, since: int) -> bytes:
    body = {
        "state": state,
        "session": session,
        "ts": moment.ts,
        "since": since,
        "clock": moment.clock,
        "why": moment.why,
    }
    return orjson.dumps(body)


def reasons(guard_quiet_s: float | None, guard_why: tuple[str, ...], snapshot: Snapshot) -> tuple[str, ...]:
    """Why we are degraded, one sentence each; `guard_quiet_s` is the time since guard's last packet, None without guard."""
    why: list[str] = []
    if guard_quiet_s is None:
        why.append("guard is not connected")
    elif guard_quiet_s > GUARD_SILENT_S:
        why.append("guard is silent")
    else:
        why.extend(guard_why)
    if snapshot.trouble:
        why.append(snapshot.trouble)
    if snapshot.oldest_s > NO_RECEIPTS_S:
        why.append(f"no receipts for more than {NO_RECEIPTS_S:.0f} s")
    return tuple(why)
