"""The latch file: what a crash, a torn write, garbage or a full disk do to it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard import durable
from edge_agent.guard.durable import FILE_NAME, UNREADABLE_LATCH, Writer
from edge_agent.guard.safety.interface import Durable, DurableWrite

RECORD = Durable(armed=True, latches=("module-03.temperature_high",), roster=(1, 2, 3))


@pytest.fixture
def woken():
    return threading.Event()


@pytest.fixture
def writer(tmp_path, woken):
    made = Writer(tmp_path / "state", woken.set)
    made.start()
    yield made
    made.stop()


def wait_until(condition, deadline_s: float = 5.0) -> None:
    tick = threading.Event()
    for _ in range(int(deadline_s / 0.01)):
        if condition():
            return
        tick.wait(0.01)
    pytest.fail("the condition did not come true")


def test_a_first_start_has_no_record_and_no_trouble(tmp_path):
    assert durable.load(tmp_path) == (Durable(), "")


def test_what_was_stored_is_read_again(tmp_path):
    durable.store(tmp_path / FILE_NAME, RECORD)
    assert durable.load(tmp_path) == (RECORD, "")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@given(
    st.builds(
        Durable,
        armed=st.booleans(),
        latches=st.lists(st.text(max_size=30), max_size=5).map(tuple),
        roster=st.none() | st.lists(st.integers(1, 15), max_size=15).map(tuple),
    )
)
def test_every_record_survives_its_encoding(record):
    assert durable.decode(durable.encode(record)) == record


@given(st.integers(0, len(durable.encode(RECORD)) - 1))
def test_a_torn_file_is_never_read_as_a_record(length):
    with pytest.raises(ValueError, match="record|checksum"):
        durable.decode(durable.encode(RECORD)[:length])


@given(st.integers(0, len(durable.encode(RECORD)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_changes_nothing(place, flip):
    data = bytearray(durable.encode(RECORD))
    data[place] ^= flip
    try:
        assert durable.decode(bytes(data)) == RECORD
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00" * 512, b"{}", b"[1]", b'{"version":1}', b"\xff\xfe", b"[" * 100_000, b'{"record":5,"crc":0,"version":1}']
)
def test_garbage_counts_as_armed_with_a_latch_and_is_set_aside(tmp_path, garbage):
    (tmp_path / FILE_NAME).write_bytes(garbage)
    record, why = durable.load(tmp_path)
    assert record == Durable(armed=True, latches=(UNREADABLE_LATCH,))
    assert f"{FILE_NAME}.corrupt-1" in why
    assert (tmp_path / f"{FILE_NAME}.corrupt-1").read_bytes() == garbage


def test_each_unreadable_file_is_kept_under_a_name_of_its_own(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / FILE_NAME).write_bytes(b"garbage")
        durable.load(tmp_path)
        assert (tmp_path / f"{FILE_NAME}.corrupt-{number}").exists()


def test_a_file_that_cannot_be_opened_counts_as_armed_too(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    record, why = durable.load(tmp_path)
    assert record.armed
    assert FILE_NAME in why


def test_a_ticket_comes_back_once_its_record_is_on_disk(writer, woken, tmp_path):
    writer.order(DurableWrite(7, RECORD))
    assert woken.wait(5)
    assert writer.written == 7
    assert durable.load(tmp_path / "state") == (RECORD, "")


def test_only_the_newest_of_many_records_has_to_be_written(writer, tmp_path):
    for ticket in range(1, 200):
        writer.order(DurableWrite(ticket, Durable(roster=(ticket,))))
    wait_until(lambda: writer.written == 199)
    assert durable.load(tmp_path / "state")[0].roster == (199,)


def test_a_place_that_cannot_be_written_is_said_and_tried_again(tmp_path, woken):
    (tmp_path / "state").write_text("a file where the folder should be")
    writer = Writer(tmp_path / "state", woken.set)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    wait_until(lambda: writer.failed)
    assert FILE_NAME in writer.failed
    assert writer.written == 0
    (tmp_path / "state").unlink()
    wait_until(lambda: writer.written == 1)
    assert writer.failed == ""
    writer.stop()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said(tmp_path, woken):
    state = tmp_path / "state"
    state.mkdir(mode=0o500)
    writer = Writer(state, woken.set)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    wait_until(lambda: writer.failed)
    assert "Permission denied" in writer.failed
    writer.stop()


def test_the_last_order_is_still_written_at_the_end(tmp_path):
    writer = Writer(Path(tmp_path), lambda: None)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    writer.stop()
    assert durable.load(tmp_path)[0] == RECORD
