"""What one node says of itself, gathered from its messages: the latest of each topic and when it came."""

from __future__ import annotations

import orjson

from cellguard.tolerant import Body, number, text
from shared.errors import WireError
from shared.mqtt import Message
from shared.topics import parse

TOPICS = ("status", "hb", "info", "catalog", "state/+", "alarm/+", "receipt", "ack")
"""Below the node, everything that `View` understands."""


class View:
    """The latest words of one node; nothing is judged here. Ages are in s against `now`, monotonic time of the caller."""

    def __init__(self) -> None:
        self.status: Body = {}
        self.info: Body = {}
        self.catalog: Body = {}
        self.states: dict[str, Body] = {}
        self.alarms: dict[str, Body] = {}
        self.heartbeat = ""
        self.receipts = 0
        self.telemetry_stored = False
        self.malformed = 0
        self._arrived: dict[str, float] = {}

    def take(self, message: Message, now: float) -> Body:
        """Remember one message and return its body, {} when it is a heartbeat, empty or no JSON object (then counted)."""
        try:
            topic = parse(message.topic)
            if topic.kind == "hb":
                self._take_heartbeat(message, now)
                return {}
            body = orjson.loads(message.payload) if message.payload else {}
        except (WireError, orjson.JSONDecodeError):
            self.malformed += 1
            return {}
        if not isinstance(body, dict):
            self.malformed += 1
            return {}
        if not message.retain and not _is_stale(topic.kind, body):
            self._arrived[f"{topic.kind}/{topic.rest}"] = now
        self._file(topic.kind, topic.rest, body)
        return body

    def age_s(self, topic: str, now: float) -> float | None:
        """How long ago `state/module-03` (or any topic below the node) last arrived live; None when it never did.

        That all values of a source are stale is no arrival.
        """
        at = self._arrived.get(topic if "/" in topic else f"{topic}/")
        return None if at is None else now - at

    def state(self, name: str) -> Body:
        """The body of `state/{name}`, {} before it came."""
        return self.states.get(name, {})

    def modules(self) -> list[str]:
        """Sources of the modules that were seen or are expected, in order."""
        expected = self.info.get("modules")
        numbers = expected if isinstance(expected, list) else []
        named = {f"module-{one:02d}" for one in numbers if isinstance(one, int)}
        return sorted(named | {name for name in self.states if name.startswith("module-")})

    def current_alarms(self) -> list[Body]:
        """Alarms whose condition is present or whose latch is held, the worst and newest first."""
        held = [body for body in self.alarms.values() if text(body, "state") in {"active", "latched"}]
        return sorted(held, key=lambda body: (-_severity(body), -number(body, "since")))

    def _take_heartbeat(self, message: Message, now: float) -> None:
        if not message.retain:
            self.heartbeat = message.payload.decode("ascii", "replace")
            self._arrived["hb/"] = now

    def _file(self, kind: str, rest: str, body: Body) -> None:
        if kind in {"status", "info", "catalog"}:
            setattr(self, kind, body)
        elif kind == "state":
            self.states[rest] = body
        elif kind == "alarm":
            self.alarms[rest] = body
        elif kind == "receipt":
            self.receipts += 1
            self.telemetry_stored |= body.get("lane") == "tele" and bool(body.get("ranges"))


def _is_stale(kind: str, body: Body) -> bool:
    return kind == "state" and "bad" in body and not body.keys() - {"ts", "bad"}


LEVELS = ("OK", "WARNING", "DANGER", "FAULT", "CRITICAL")


def _severity(body: Body) -> int:
    level = text(body, "level")
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)
