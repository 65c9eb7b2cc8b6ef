"""From one MQTT message to one record: what a telemetry or event message must be, judged cheaply and without I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson

from shared import topics
from shared.errors import WireError
from shared.topics import NAME

MAX_PAYLOAD_BYTES = 256 * 1024
MAX_SEQ = 2**53
MAX_TIME_US = 9_200_000_000_000_000
"""Later times do not fit into 64 bits of nanoseconds."""

Lane = Literal["tele", "event"]
Column = list[Any]

_SPOOL = re.compile(r"[0-9a-f]{8}\Z")
_HEAD = re.compile(
    rb'\s*\{\s*"spool"\s*:\s*"([0-9a-f]{8})"\s*,\s*"lane"\s*:\s*"(tele|event)"\s*,\s*"seq"\s*:\s*(\d{1,16})\s*[,}]'
)
_NUMBERS = {float, int, type(None)}
_WHOLE = {int}


class Identity(NamedTuple):
    """Which message of which spool: what a receipt names. Unique, and the same again when a message is sent again."""

    site: str
    node: str
    spool: str
    lane: Lane
    seq: int


class Record(NamedTuple):
    """One message that can be stored. `source` is `module-05` or, in the lane `event`, the kind of the event.

    `rows` counts distinct times; times are integer Unix µs; `body` is the parsed `payload`; `ready`: what a
    sink has prepared of it, b"" when nothing.
    """

    identity: Identity
    source: str
    t_min: int
    t_max: int
    rows: int
    payload: bytes
    body: dict[str, Any]
    ready: bytes = b""


class Poison(WireError):
    """A message that cannot be stored. With an `identity` it can be set aside and receipted, without one only be counted."""

    def __init__(self, reason: str, identity: Identity | None = None) -> None:
        super().__init__(reason)
        self.identity = identity


def ingest(topic: str, payload: bytes) -> Record:
    """The record of a message on `tele/{source}` or `event/{kind}`; raises Poison, and nothing else, when it is none."""
    try:
        site, node, lane, source = _route(topic)
    except WireError as error:
        raise Poison(str(error)) from error
    try:
        body = json_object(payload, MAX_PAYLOAD_BYTES)
        identity = _identity(site, node, lane, body)
    except WireError as error:
        raise Poison(str(error), _identity_in_head(site, node, lane, payload)) from error
    try:
        times = _telemetry_times(body) if lane == "tele" else _event_times(body, source)
    except WireError as error:
        raise Poison(str(error), identity) from error
    return Record(identity, source, min(times), max(times), len(set(times)), payload, body)


@lru_cache(maxsize=1024)
def _route(topic: str) -> tuple[str, str, Lane, str]:
    site, node, kind, source = topics.parse(topic)
    if kind not in {"tele", "event"} or not source or "/" in source:
        raise WireError(f"topic {topic[:120]!r}: expected …/tele/SOURCE or …/event/KIND")
    return site, node, "tele" if kind == "tele" else "event", source


def json_object(payload: bytes, most_bytes: int) -> dict[str, Any]:
    """A payload's JSON object; raises WireError when it is too long or anything else."""
    if len(payload) > most_bytes:
        raise WireError(f"{len(payload)} bytes, allowed are {most_bytes}")
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise WireError(f"a JSON object is expected, got {type(body).__name__}")
    return body


def _identity(site: str, node: str, lane: Lane, body: dict[str, Any]) -> Identity:
    spool, given, seq = body.get("spool"), body.get("lane"), body.get("seq")
    if not isinstance(spool, str) or not _SPOOL.match(spool):
        raise WireError(f"spool: 8 hex digits are expected, got {str(spool)[:40]!r}")
    if given != lane:
        raise WireError(f"lane: {lane!r} is expected on this topic, got {str(given)[:40]!r}")
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        raise WireError(f"seq: a whole number from 1 is expected, got {str(seq)[:40]!r}")
    return Identity(site, node, spool, lane, seq)


def _identity_in_head(site: str, node: str, lane: Lane, payload: bytes) -> Identity | None:
    """The identity of a message that is no JSON, when it begins as link begins each."""
    found = _HEAD.match(payload[:256])
    if not found or found[2].decode() != lane or not 1 <= int(found[3]) <= MAX_SEQ:
        return None
    return Identity(site, node, found[1].decode(), lane, int(found[3]))


def _telemetry_times(body: dict[str, Any]) -> Column:
    t0, offsets, columns = body.get("t0"), body.get("t"), body.get("v")
    if type(t0) is not int or not isinstance(offsets, list) or not isinstance(columns, dict):
        raise WireError("t0, t, v: a whole number, a list and an object are expected")
    if not offsets or set(map(type, offsets)) != _WHOLE:
        raise WireError("t: at least one, and only whole numbers are expected")
    if t0 + min(offsets) < 0 or t0 + max(offsets) > MAX_TIME_US:
        raise WireError(f"t0, t: times from 0 to {MAX_TIME_US} µs are expected, t0 is {t0}")
    _check_names(tuple(columns))
    size = len(offsets)
    for name, column in columns.items():
        if type(column) is not list or len(column) != size:
            raise WireError(f"v.{name}: a list of {size} is expected, as long as t")
        if not _NUMBERS.issuperset(map(type, column)):
            raise WireError(f"v.{name}: only numbers and null are expected")
    return [t0 + offset for offset in offsets]


@lru_cache(maxsize=1024)
def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not NAME.match(name):
            raise WireError(f"v: the name {name[:80]!r} is not of [A-Za-z0-9_.:-]{{1,64}}")


def _event_times(body: dict[str, Any], kind: str) -> Column:
    ts = body.get("ts")
    if type(ts) is not int or not 0 <= ts <= MAX_TIME_US:
        raise WireError(f"ts: µs from 0 to {MAX_TIME_US} are expected, got {str(ts)[:40]!r}")
    if body.get("kind") != kind:
        raise WireError(f"kind: {kind!r} is expected on this topic, got {str(body.get('kind'))[:40]!r}")
    for tag in ("alarm", "level") if kind == "alarm" else ():
        value = body.get(tag)
        if not isinstance(value, str) or not NAME.match(value):
            raise WireError(f"{tag}: text of [A-Za-z0-9_.:-]{{1,64}} is expected, got {str(value)[:80]!r}")
    return [ts]
