"""The local socket between guard and link: kinds of packets, the packed row, JSON bodies.

A Unix `SOCK_SEQPACKET` socket; guard listens on `{runtime_dir}/guard.sock`, one link at a time is served (a newer one replaces
the older). A packet is one kind byte and its body; it never exceeds `MAX_PACKET`.

| kind | direction | body |
|---|---|---|
| HELLO | guard → link, first | JSON, keys below |
| STATE | guard → link | JSON: `name`, `body`; all of them after HELLO, then each on change; not numbered, the last wins |
| ROW | guard → link | numbered: one sample row of one source, `pack_row` |
| EVENT | guard → link | numbered: `pack_event`, JSON body with `kind` = alarm, state, output, command, gap |
| ANSWER | guard → link | JSON: the `ack` of CONTRACT §4 without `hb`; also sent as EVENT of kind `command` |
| LINK_HELLO | link → guard, first | JSON: `have`: {guard session: highest number durable in the spool} |
| RELEASE | link → guard | u64: every number up to and including it is durable, guard may forget it |
| COMMAND | link → guard | JSON: `id`, `target`, `class` (S, A, E), `actor`, `body` (the validated command without id, actor, hb) |
| LINK_STATE | link → guard, every second | JSON: `broker` (true while connected), `dropped` counts |

HELLO: `session` (8 hex, drawn at each start of guard), `boot`, `pid`, `first` and `next` (numbers of the oldest record still held
and of the next one), `sources` ([{`name`, `signals`: [name, …]}], a row's source index counts in it), `catalog` and `info` (bodies
of those topics as far as guard knows them).

STATE: `name` is the topic below the node: `state/safety`, `state/outputs`, `state/schedule`, `state/health` (link adds its own
part), `alarm/{id}`, `info`; and `degraded`, whose body is {`why`: [sentence, …]} for `status`.

Times in bodies are `mono_us` / `since_mono_us`: integer µs of CLOCK_MONOTONIC. Link alone turns them into wall time.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import orjson

from shared.errors import WireError

MAX_PACKET = 64 * 1024

HELLO, STATE, ROW, EVENT, ANSWER = b"H", b"S", b"R", b"E", b"A"
LINK_HELLO, RELEASE, COMMAND, LINK_STATE = b"h", b"K", b"C", b"L"

REASONS = (
    "invalid", "stale", "never", "not_populated", "out_of_range", "open_sensor", "wrong_length", "all_ones", "all_zeros",
    "decoder", "duplicate", "crc", "frozen", "absent", "untrusted",
)  # fmt: skip
"""Why a value is not good; a row carries the index. Append only."""

_REASON_CODE = {reason: code for code, reason in enumerate(REASONS)}
_NUMBERED = struct.Struct("<cQQ")
_ROW = struct.Struct("<HH")
_RELEASE = struct.Struct("<cQ")
NAN = math.nan


class Row(NamedTuple):
    """One sample row. `values` has one entry per signal of the source's list in HELLO; NaN where there is no good value.

    A NaN whose index is in `bad` is a bad value with a reason; any other NaN means the signal does not take part
    (never seen, not populated) and is left out of what is published.
    """

    number: int
    mono_us: int
    source: int
    values: tuple[float, ...]
    bad: tuple[tuple[int, str], ...]


class Event(NamedTuple):
    """One numbered event, `body` a JSON object with `kind`."""

    number: int
    mono_us: int
    body: dict[str, object]


def pack_row(row: Row) -> bytes:
    """A ROW packet."""
    codes = bytes(byte for index, reason in row.bad for byte in (index, _REASON_CODE[reason]))
    head = _NUMBERED.pack(ROW, row.number, row.mono_us) + _ROW.pack(row.source, len(row.bad))
    return head + codes + struct.pack(f"<{len(row.values)}d", *row.values)


def unpack_row(packet: bytes) -> Row:
    """The row of a ROW packet; raises WireError on a length or reason that cannot be."""
    try:
        _, number, mono_us = _NUMBERED.unpack_from(packet)
        source, bad_count = _ROW.unpack_from(packet, _NUMBERED.size)
        start = _NUMBERED.size + _ROW.size
        codes = packet[start : start + 2 * bad_count]
        rest = packet[start + 2 * bad_count :]
        values = struct.unpack(f"<{len(rest) // 8}d", rest)
        bad = tuple((codes[i], REASONS[codes[i + 1]]) for i in range(0, 2 * bad_count, 2))
    except (struct.error, IndexError) as error:
        raise WireError(f"row packet of {len(packet)} bytes: {error}") from error
    return Row(number, mono_us, source, values, bad)


def pack_event(event: Event) -> bytes:
    """An EVENT packet."""
    return _NUMBERED.pack(EVENT, event.number, event.mono_us) + orjson.dumps(event.body)


def unpack_event(packet: bytes) -> Event:
    """The event of an EVENT packet; raises WireError when its body is no JSON object."""
    try:
        _, number, mono_us = _NUMBERED.unpack_from(packet)
    except struct.error as error:
        raise WireError(f"event packet of {len(packet)} bytes: {error}") from error
    return Event(number, mono_us, parse_object(packet[_NUMBERED.size :]))


def number_of(packet: bytes) -> int:
    """The number of a packed ROW or EVENT."""
    number: int = _NUMBERED.unpack_from(packet)[1]
    return number


def mono_of(packet: bytes) -> int:
    """The `mono_us` of a packed ROW or EVENT."""
    mono_us: int = _NUMBERED.unpack_from(packet)[2]
    return mono_us


def pack_release(number: int) -> bytes:
    """A RELEASE packet."""
    return _RELEASE.pack(RELEASE, number)


def unpack_release(packet: bytes) -> int:
    """The number of a RELEASE packet; raises WireError when it is too short."""
    try:
        number: int = _RELEASE.unpack(packet)[1]
    except struct.error as error:
        raise WireError(f"release packet of {len(packet)} bytes: {error}") from error
    return number


def pack_json(kind: bytes, body: object) -> bytes:
    """A packet with a JSON body (HELLO, STATE, ANSWER, LINK_HELLO, COMMAND, LINK_STATE)."""
    return kind + orjson.dumps(body)


def parse_object(body: bytes) -> dict[str, object]:
    """A JSON object; raises WireError when it is anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WireError(f"JSON body: {error}") from error
    if not isinstance(value, dict):
        raise WireError(f"JSON body: expected an object, got {type(value).__name__}")
    return value
