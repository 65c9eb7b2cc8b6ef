"""PURE: a batch of sample rows of one source → the columnar JSON of `tele/{source}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

Bad = tuple[tuple[int, str], ...]

MAX_PAYLOAD = 240 * 1024
"""Leaves room for the topic and the packet head within shared.mqtt.MAX_PACKET."""


class Head(NamedTuple):
    """What all messages of one moment have in common."""

    spool: str
    boot: str
    clock: str


class Batch(NamedTuple):
    """Rows of one source: `times_us` (Unix, strictly rising), and per row the values in the order of `signals`, and what is bad.

    NaN = no good value; with an index in `bad` it has a reason, without one the signal takes no part.
    """

    source: str
    signals: Sequence[str]
    times_us: Sequence[int]
    values: Sequence[Sequence[float]]
    bad: Sequence[Bad]


def encode(head: Head, seq: int, batch: Batch) -> bytes:
    """The payload of one message. Signals that took no part in any row are left out; NaN becomes null (orjson does that)."""
    bad = _bad_by_signal(batch)
    columns = {
        name: column
        for name, column in zip(batch.signals, zip(*batch.values, strict=True), strict=True)
        if column[0] == column[0] or name in bad or any(value == value for value in column)  # noqa: PLR0124 NaN alone is unequal to itself
    }
    t0 = batch.times_us[0]
    body: dict[str, object] = {
        "spool": head.spool,
        "lane": "tele",
        "seq": seq,
        "boot": head.boot,
        "clock": head.clock,
        "t0": t0,
        "t": [time_us - t0 for time_us in batch.times_us],
        "v": columns,
    }
    if bad:
        body["bad"] = bad
    return orjson.dumps(body)


def encode_split(head: Head, seq: int, batch: Batch, limit: int = MAX_PAYLOAD) -> Iterator[tuple[Batch, bytes]]:
    """The payloads of a batch, numbered from `seq`; halved until each is at most `limit` bytes or a single row."""
    payload = encode(head, seq, batch)
    if len(payload) <= limit or len(batch.times_us) == 1:
        yield batch, payload
        return
    middle = len(batch.times_us) // 2
    count = 0
    for part in (_rows(batch, 0, middle), _rows(batch, middle, len(batch.times_us))):
        for piece in encode_split(head, seq + count, part, limit):
            count += 1
            yield piece


def _rows(batch: Batch, first: int, end: int) -> Batch:
    return batch._replace(times_us=batch.times_us[first:end], values=batch.values[first:end], bad=batch.bad[first:end])


def _bad_by_signal(batch: Batch) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for row, bad in enumerate(batch.bad):
        for index, reason in bad:
            found.setdefault(batch.signals[index], []).append((row, reason))
    return found
