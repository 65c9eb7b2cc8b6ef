"""PURE: broken copies of good messages: scenario 7's poisons at any place of the JSON, and damaged bytes."""

from __future__ import annotations

import json
from random import Random
from typing import Any

_PLACE = "@@poison@@"
POISONS: tuple[bytes, ...] = (
    b"NaN", b"-Infinity", b"1e400", b"-1e400", b"-0", b"0", b"1.5", b"9223372036854775808", b"1" + b"0" * 400, b"true", b"null",
    b'""', b'"\\ud800"', b'"\\u0000"', b'"a,b=c d\\n"', b'"' + b"y" * 5000 + b'"', b'"\xff\xfe"', b"[]", b"{}", b"[[[]]]",
    b'{"a":1,"a":2}', b'"+/#"', b'"../.."', b'["1"]', b"[1e400]", b"-1", b'"9f3c21aa:1"',
)  # fmt: skip
RARE: tuple[bytes, ...] = (b"[" * 100_000, b'"' + b"y" * 300 * 1024 + b'"', b'{"a":' * 20_000)
"""Expensive ones: one in a thousand."""
_BYTES = (b"{", b"}", b'"', b"[", b",", b":", b"\x00", b"\xff", b"\n", b"\\ud800", b"1e999", b"null", b"NaN")


def broken(random: Random, good: bytes) -> bytes:
    """A copy with one poison or some damaged bytes; now and then it is unharmed."""
    how = random.random()
    if how < 0.001:
        return _poisoned(random, good, random.choice(RARE))
    if how < 0.5:
        return _poisoned(random, good, random.choice(POISONS))
    found = good
    for _ in range(random.randrange(4)):
        found = _damaged(random, found)
    return found


def _poisoned(random: Random, good: bytes, poison: bytes) -> bytes:
    try:
        body = json.loads(good)
    except ValueError:
        return good + poison
    return json.dumps(_replaced(random, body)).encode().replace(f'"{_PLACE}"'.encode(), poison)


def _replaced(random: Random, value: Any) -> Any:
    """The value with one of its places, however deep, or an added key, as the mark."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice([*value, "extra"])
        return {**value, key: _replaced(random, value.get(key))}
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        return [*value[:index], _replaced(random, value[index]), *value[index + 1 :]]
    return _PLACE


def _damaged(random: Random, good: bytes) -> bytes:
    place = random.randrange(len(good) + 1)
    kind = random.randrange(4)
    if kind == 0:
        return good[:place]
    if kind == 1:
        return good[:place] + random.choice(_BYTES) + good[place:]
    if kind == 2:
        return good[:place] + good[place + random.randrange(1, 9) :]
    return good[:place] + bytes([random.randrange(256)]) + good[place + 1 :]
