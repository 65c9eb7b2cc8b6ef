"""What guard says of itself, kept as retained topics: states, alarms, info, catalog and the newest row of each source."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

import orjson

from edge_agent.link.clock import Clock
from edge_agent.link.stamps import in_wall_time
from shared import ipc
from shared.errors import WireError
from shared.topics import NAME

ROW_SOURCE_OFFSET = 17
ROWS_EVERY_S = 0.5
STALE_S = 2.5
_FORGET_ALARMS_S = 5.0
_TOPIC = re.compile(r"(state/[a-z-]{1,32}|alarm/[A-Za-z0-9_.:-]{1,64}|info)\Z")


class _Latest:
    """The newest row of one source and whether it has been published."""

    __slots__ = ("at", "name", "packet", "published", "signals", "stale")

    def __init__(self, name: str, signals: tuple[str, ...]) -> None:
        self.name, self.signals = name, signals
        self.packet = b""
        self.at = 0.0
        self.published = self.stale = True


class Mirror:
    """Driven by the front's loop. `retain(topic, body, qos)` publishes below the node."""

    def __init__(self, clock: Clock, version: str, retain: Callable[[str, bytes, int], None]) -> None:
        self._clock, self._version, self._retain = clock, version, retain
        self._sources: list[_Latest] = []
        self._session = ""
        self._alarms: dict[str, dict[str, object]] = {}
        self._said: dict[str, Mapping[str, object]] = {}
        self._unconfirmed: set[str] = set()
        self._forget_at = math.inf
        self.health: dict[str, object] = {}
        self.safety: dict[str, object] = {}
        self.why: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()

    def hello(self, body: Mapping[str, object], sources: Mapping[str, tuple[str, ...]], now: float) -> None:
        """A guard connected; `body` is its HELLO."""
        if body.get("session") != self._session:
            self._session = str(body.get("session"))
            self._unconfirmed = {name for name, alarm in self._alarms.items() if alarm.get("state") != "cleared"}
            self._forget_at = now + _FORGET_ALARMS_S
        known = {(latest.name, latest.signals): latest for latest in self._sources}
        self._sources = [known.get(source) or _Latest(*source) for source in sources.items()]
        info, catalog = body.get("info"), body.get("catalog")
        self._publish("info", {"version": self._version, **(info if isinstance(info, dict) else {})})
        if isinstance(catalog, dict):
            self._retain("catalog", orjson.dumps(catalog), 1)

    def state(self, packet: bytes) -> None:
        """A STATE packet; raises WireError when it is none."""
        message = ipc.parse_object(packet[1:])
        name, body = message.get("name"), message.get("body")
        if not isinstance(name, str) or not isinstance(body, dict):
            raise WireError("STATE without name or body")
        if name == "degraded":
            why = body.get("why")
            self.why = tuple(str(sentence) for sentence in why) if isinstance(why, list) else ()
        elif name == "state/health":
            self.health = body
        elif _TOPIC.match(name):
            self._known_state(name, body)
        else:
            raise WireError(f"STATE of unknown name {name[:40]!r}")

    def _known_state(self, name: str, body: dict[str, object]) -> None:
        if name == "state/safety":
            self.safety = body
        elif name == "info":
            body = {"version": self._version, **body}
        elif name.startswith("alarm/"):
            self._alarms[name] = body
            self._unconfirmed.discard(name)
        self._publish(name, body)

    def row(self, packet: bytes, now: float) -> None:
        """A ROW packet, only looked at when its source is due."""
        source = int.from_bytes(packet[ROW_SOURCE_OFFSET : ROW_SOURCE_OFFSET + 2], "little")
        if source < len(self._sources):
            latest = self._sources[source]
            latest.packet, latest.at, latest.published, latest.stale = packet, now, False, False

    def publish_rows(self, now: float) -> None:
        """The newest row of each source; one that has had no new row for too long is shown as stale, once."""
        for latest in self._sources:
            if not latest.published:
                latest.published = True
                self._publish_row(latest, stale=False)
            elif not latest.stale and now - latest.at > STALE_S:
                latest.stale = True
                self._publish_row(latest, stale=True)
        if now > self._forget_at:
            self._forget_at = math.inf
            self._clear_unconfirmed()

    def _publish_row(self, latest: _Latest, *, stale: bool) -> None:
        try:
            row = ipc.unpack_row(latest.packet)
        except WireError:
            self.counts["rows_malformed"] += 1
            return
        if len(row.values) != len(latest.signals) or not NAME.match(latest.name):
            self.counts["rows_malformed"] += 1
            return
        body: dict[str, object] = {"ts": self._clock.wall_us(row.mono_us)}
        good = {name: value for name, value in zip(latest.signals, row.values, strict=True) if value == value}  # noqa: PLR0124 NaN is unequal to itself
        bad = {latest.signals[index]: reason for index, reason in row.bad if index < len(latest.signals)}
        bad = {**dict.fromkeys(good, "stale"), **bad} if stale else bad
        body |= {} if stale else good
        if bad:
            body["bad"] = bad
        self._retain(f"state/{latest.name}", orjson.dumps(body), 0)

    def say_again(self) -> None:
        """The clock was set: everything that is kept at the broker is dated by it."""
        for name, body in self._said.items():
            self._publish(name, body)

    def _clear_unconfirmed(self) -> None:
        """Alarms of a guard that is gone, of which its successor says nothing, are over."""
        for name in sorted(self._unconfirmed):
            self._alarms[name] = {**self._alarms[name], "state": "cleared"}
            self._publish(name, self._alarms[name])
        self._unconfirmed.clear()

    def _publish(self, name: str, body: Mapping[str, object]) -> None:
        self._said[name] = body
        stamped = in_wall_time(body, self._clock.offset_us)
        stamped.setdefault("ts", self._clock.now_us())
        self._retain(name, orjson.dumps(stamped), 1)


def sources_of(body: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The source list of a HELLO; raises WireError when it is not one."""
    given = body.get("sources")
    if not isinstance(given, list):
        raise WireError("HELLO without a list of sources")
    found: dict[str, tuple[str, ...]] = {}
    for source in given:
        name, signals = (source.get("name"), source.get("signals")) if isinstance(source, dict) else (None, None)
        if not isinstance(name, str) or not NAME.match(name) or name in found or not isinstance(signals, list):
            raise WireError(f"HELLO with a source {str(source)[:60]}")
        if len(set(map(str, signals))) != len(signals) or len(signals) > 255:
            raise WireError(f"HELLO: signals of {name} are not unique, or more than 255")
        found[name] = tuple(map(str, signals))
    return found
