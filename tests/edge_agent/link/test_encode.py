"""Columnar telemetry says exactly what the rows said."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.encode import Batch, Head, encode, encode_split

HEAD = Head("a1b2c3d4", "0badf00d", "synced")
SIGNALS = ("a", "b", "c")
VALUES = st.tuples(*[st.one_of(st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False)) for _ in SIGNALS])
BAD = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["stale", "crc"])), max_size=3, unique_by=lambda pair: pair[0]
)


def batch_of(rows: list[tuple[tuple[float, ...], list[tuple[int, str]]]]) -> Batch:
    """Rows as intake makes them: what is bad has no value."""
    values = [tuple(math.nan if i in dict(bad) else v for i, v in enumerate(row)) for row, bad in rows]
    times = [1_795_345_556_123_456 + 200_000 * index for index in range(len(rows))]
    return Batch("module-01", SIGNALS, times, values, [tuple(bad) for _, bad in rows])


@given(st.lists(st.tuples(VALUES, BAD), min_size=1, max_size=20))
def test_every_value_time_and_reason_comes_back(rows: list[tuple[tuple[float, ...], list[tuple[int, str]]]]) -> None:
    batch = batch_of(rows)
    body = json.loads(encode(HEAD, 7, batch))
    assert (body["spool"], body["lane"], body["seq"], body["boot"], body["clock"]) == (
        "a1b2c3d4",
        "tele",
        7,
        "0badf00d",
        "synced",
    )
    assert [body["t0"] + offset for offset in body["t"]] == list(batch.times_us)
    for index, name in enumerate(SIGNALS):
        column = [None if math.isnan(row[index]) else row[index] for row in batch.values]
        reasons = [[row, dict(bad)[index]] for row, bad in enumerate(batch.bad) if index in dict(bad)]
        assert body.get("bad", {}).get(name, []) == reasons
        if any(value is not None for value in column) or reasons:
            assert body["v"][name] == column
        else:
            assert name not in body["v"]


def test_a_value_of_zero_is_a_value_and_not_an_absence() -> None:
    assert json.loads(encode(HEAD, 1, batch_of([((0.0, -0.0, math.nan), [])])))["v"] == {"a": [0.0], "b": [-0.0]}


def test_a_batch_that_is_too_large_becomes_several_messages_with_the_same_rows() -> None:
    batch = batch_of([((float(index), 1.0, 2.0), [(2, "stale")] if index == 60 else []) for index in range(100)])
    parts = list(encode_split(HEAD, 5, batch, limit=1000))
    bodies = [json.loads(payload) for _, payload in parts]
    assert len(parts) > 1
    assert all(len(payload) <= 1000 for _, payload in parts)
    assert [body["seq"] for body in bodies] == list(range(5, 5 + len(parts)))
    assert [value for body in bodies for value in body["v"]["a"]] == [float(index) for index in range(100)]
    assert [body["t0"] + offset for body in bodies for offset in body["t"]] == list(batch.times_us)
    assert sum(len(body.get("bad", {}).get("c", [])) for body in bodies) == 1


def test_one_row_alone_is_never_split() -> None:
    assert len(list(encode_split(HEAD, 1, batch_of([((1.0, 2.0, 3.0), [])]), limit=10))) == 1
