from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest import MAX_PAYLOAD_BYTES, Identity, Poison, Record, ingest

TOPIC = "cellguard/v1/lab/rig-1/tele/module-03"
GOOD = {
    "spool": "a1b2c3d4", "lane": "tele", "seq": 812, "boot": "0f0f0f0f", "clock": "synced", "t0": 1_795_345_556_123_456,
    "t": [0, 200_000], "v": {"CMA_Voltage": [47.33, 47.34], "CMA_Temp3": [21, None]}, "bad": {"CMA_Temp3": [[1, "stale"]]},
}  # fmt: skip
IDENTITY = Identity("lab", "rig-1", "a1b2c3d4", "tele", 812)
EVENT = {"spool": "a1b2c3d4", "lane": "event", "seq": 7, "ts": 1_795_345_556_000_000, "kind": "alarm",
         "alarm": "module-05.stale", "level": "FAULT", "state": "active"}  # fmt: skip


def poison(topic: str, payload: bytes) -> Poison:
    with pytest.raises(Poison) as caught:
        ingest(topic, payload)
    return caught.value


def test_a_message_becomes_a_record_with_its_times_and_rows() -> None:
    record = ingest(TOPIC, orjson.dumps(GOOD))
    assert record[:5] == (IDENTITY, "module-03", GOOD["t0"], GOOD["t0"] + 200_000, 2)
    assert record.body["v"]["CMA_Temp3"] == [21, None]


def test_an_event_becomes_a_record_of_one_row() -> None:
    record = ingest("cellguard/v1/lab/rig-1/event/alarm", orjson.dumps(EVENT))
    assert (record.source, record.rows, record.t_min) == ("alarm", 1, EVENT["ts"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"v": {"a": [1.0, "47.3"]}}, "v.a: only numbers and null"),
        ({"v": {"a": [1.0, True]}}, "v.a: only numbers and null"),
        ({"v": {"a": [1.0, [2.0]]}}, "v.a: only numbers and null"),
        ({"v": {"a": [1.0]}}, "v.a: a list of 2"),
        ({"v": {"a": "text"}}, "v.a: a list of 2"),
        ({"v": {"a": {}}}, "v.a: a list of 2"),
        ({"v": []}, "t0, t, v"),
        ({"v": {"a,b=1": [1.0, 2.0]}}, "the name 'a,b=1'"),
        ({"v": {"": [1.0, 2.0]}}, "the name ''"),
        ({"v": {"x" * 65: [1.0, 2.0]}}, "the name"),
        ({"t": []}, "t: at least one"),
        ({"t": [0, 1.5]}, "only whole numbers"),
        ({"t": [0, True]}, "only whole numbers"),
        ({"t0": 1.5}, "t0, t, v"),
        ({"t0": -1}, "times from 0"),
        ({"t0": 2**62}, "times from 0"),
        ({"t0": None}, "t0, t, v"),
    ],
)
def test_a_wrong_part_costs_the_message_only_and_is_named(change: dict[str, object], words: str) -> None:
    error = poison(TOPIC, orjson.dumps({**GOOD, **change}))
    assert words in str(error)
    assert error.identity == IDENTITY


@pytest.mark.parametrize(
    "tail",
    [
        b'"t0":1e400,"t":[0],"v":{}}',
        b'"v":{"a":[NaN]}}',
        b'"v":{"a":[Infinity]}}',
        b'"v":"\xff\xfe"}',
        b'"v":' + b"[" * 100_000,
        b'"x":"' + b"y" * 300 * 1024 + b'"}',
        b"",
    ],
    ids=["1e400", "nan", "infinity", "invalid utf-8", "nesting", "300 KiB", "cut off"],
)
def test_what_is_no_json_can_still_be_set_aside_by_its_number(tail: bytes) -> None:
    error = poison(TOPIC, b'{"spool":"a1b2c3d4","lane":"tele","seq":812,' + tail)
    assert error.identity == IDENTITY


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"7", b'"text"', b"{}", b"\x00" * 40, b"{" * 100_000, b'{"spool":"A1B2C3D4","lane":"tele","seq":1}',
     b'{"spool":"a1b2c3d4","lane":"tele","seq":0}', b'{"spool":"a1b2c3d4","lane":"tele","seq":1.0}',
     b'{"spool":"a1b2c3d4","lane":"tele","seq":true}', b'{"spool":"a1b2c3d4","lane":"event","seq":5}',
     b'{"spool":"a1b2c3d4","lane":"tele","seq":99999999999999999999}'],
)  # fmt: skip
def test_without_a_number_that_can_be_right_nothing_is_claimed(payload: bytes) -> None:
    assert poison(TOPIC, payload).identity is None


@pytest.mark.parametrize(
    "topic",
    ["cellguard/v1/lab/rig-1/tele", "cellguard/v1/lab/rig-1/tele/a/b", "cellguard/v1/la b/rig-1/tele/x", "other/v1/a/b/tele/c",
     "cellguard/v1/lab/rig-1/state/x", "cellguard/v1/lab/rig,x=1/tele/inverter", "cellguard/v1/lab/rig-1/tele/\u00b0C", ""],
)  # fmt: skip
def test_a_hostile_topic_is_refused(topic: str) -> None:
    assert poison(topic, orjson.dumps(GOOD)).identity is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ts": "now"}, "ts:"),
        ({"ts": -5}, "ts:"),
        ({"kind": "gap"}, "kind:"),
        ({"alarm": "x y"}, "alarm:"),
        ({"level": None}, "level:"),
    ],
)
def test_a_wrong_event_is_named(change: dict[str, object], words: str) -> None:
    error = poison("cellguard/v1/lab/rig-1/event/alarm", orjson.dumps({**EVENT, **change}))
    assert words in str(error)
    assert error.identity is not None


def test_the_largest_payload_passes_and_one_byte_more_does_not() -> None:
    body = {**GOOD, "pad": ""}
    body["pad"] = "x" * (MAX_PAYLOAD_BYTES - len(orjson.dumps(body)))
    assert ingest(TOPIC, orjson.dumps(body)).rows == 2
    body["pad"] += "x"
    assert "allowed are 262144" in str(poison(TOPIC, orjson.dumps(body)))


def judged(topic: str, payload: bytes) -> Record | Poison:
    try:
        return ingest(topic, payload)
    except Poison as error:
        return error


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=20))
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@given(st.text(max_size=60) | st.just(TOPIC), st.binary(max_size=300))
def test_no_bytes_raise_anything_but_poison(topic: str, payload: bytes) -> None:
    assert isinstance(judged(topic, payload), Poison)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_no_value_of_any_key_raises_anything_but_poison(key: str, value: object) -> None:
    result = judged(TOPIC, orjson.dumps({**GOOD, key: value}))
    assert isinstance(result, Record | Poison)
    if isinstance(result, Record):
        assert result.rows >= 1
        assert 0 <= result.t_min <= result.t_max
