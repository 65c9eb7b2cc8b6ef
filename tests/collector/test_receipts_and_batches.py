from __future__ import annotations

from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from collector.batcher import Batcher, BatchLimits
from collector.ingest import Identity, Record, ingest
from collector.receipts import coalesced, receipts
from shared.messages import Receipt


def record(seq: int, value: float = 47.3, rows: int = 2) -> Record:
    body = {
        "spool": "a1b2c3d4",
        "lane": "tele",
        "seq": seq,
        "t0": seq,
        "t": list(range(rows)),
        "v": {"a": [value] * rows},
    }
    return ingest("cellguard/v1/lab/rig-1/tele/inverter", orjson.dumps(body))


@given(st.lists(st.integers(1, 60)))
def test_ranges_cover_exactly_the_numbers_given(numbers: list[int]) -> None:
    ranges = coalesced(numbers)
    assert {seq for first, last in ranges for seq in range(first, last + 1)} == set(numbers)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))


def test_each_spool_and_lane_of_each_node_gets_its_own_receipt() -> None:
    stored = [
        Identity("lab", node, spool, lane, seq)
        for node in ("rig-1", "rig-2")
        for spool in ("a1b2c3d4", "00000000")
        for lane in ("tele", "event")
        for seq in (3, 1, 2, 9)
    ]
    told = receipts("pc-1", stored, [])
    assert len(told) == 8
    assert {one.topic for one in told} == {"cellguard/v1/lab/rig-1/receipt", "cellguard/v1/lab/rig-2/receipt"}
    for one in told:
        assert Receipt.model_validate_json(one.payload).ranges == [(1, 3), (9, 9)]


def test_what_is_set_aside_is_told_with_a_reason_of_bounded_length() -> None:
    refused = [(Identity("lab", "rig-1", "a1b2c3d4", "tele", seq), "why " * 200) for seq in range(1, 121)]
    told = [Receipt.model_validate_json(one.payload) for one in receipts("pc-1", [], refused)]
    assert [len(one.quarantined) for one in told] == [50, 50, 20]
    assert max(len(reason) for one in told for _, _, reason in one.quarantined) == 200


def test_a_receipt_of_many_holes_stays_small() -> None:
    stored = [Identity("lab", "rig-1", "a1b2c3d4", "tele", seq) for seq in range(1, 20_000, 2)]
    told = receipts("pc-1", stored, [])
    assert max(len(one.payload) for one in told) < 8_000
    assert sum(len(Receipt.model_validate_json(one.payload).ranges) for one in told) == 10_000


def test_a_batch_is_due_by_rows_by_bytes_and_by_age() -> None:
    by_rows = Batcher(BatchLimits(rows=4, wait_s=10.0))
    assert by_rows.due_in_s(0.0) is None
    by_rows.add(record(1), 5.0)
    assert by_rows.due_in_s(6.0) == 9.0
    assert by_rows.due_in_s(15.0) == 0.0
    by_rows.add(record(2), 6.0)
    assert by_rows.due_in_s(6.0) == 0.0
    by_bytes = Batcher(BatchLimits(size_bytes=10))
    by_bytes.add(record(1), 0.0)
    assert by_bytes.due_in_s(0.0) == 0.0


def test_a_message_that_comes_twice_is_in_a_batch_once_and_order_is_kept() -> None:
    batcher = Batcher(BatchLimits())
    assert [batcher.add(record(seq), 0.0) for seq in (2, 1, 2)] == [True, True, False]
    assert [one.identity.seq for one in batcher.take()] == [2, 1]
    assert batcher.take() == []
    assert batcher.add(record(2), 0.0)


def test_another_message_under_the_same_number_clashes() -> None:
    batcher = Batcher(BatchLimits())
    batcher.add(record(1), 0.0)
    assert not batcher.clashes(record(1))
    assert batcher.clashes(record(1, value=1.0))
