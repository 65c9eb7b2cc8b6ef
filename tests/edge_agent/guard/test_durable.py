"""The latch file: what a crash, a torn write, garbage or a full disk do to it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard import durable
from edge_agent.guard.durable import FILE_NAME, UNREADABLE_LATCH, Writer
from edge_agent.guard.safety.interface import Durable, DurableWrite

Soon = Callable[[Callable[[], object]], None]
RECORD = Durable(armed=True, latches=("module-03.temperature_high",), roster=(1, 2, 3))


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def writer(tmp_path: Path, woken: threading.Event) -> Iterator[Writer]:
    made = Writer(tmp_path / "state", woken.set)
    made.start()
    yield made
    made.stop()


def test_a_first_start_has_no_record_and_no_trouble(tmp_path: Path) -> None:
    assert durable.load(tmp_path) == (Durable(), "")


def test_what_was_stored_is_read_again(tmp_path: Path) -> None:
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
def test_every_record_survives_its_encoding(record: Durable) -> None:
    assert durable.decode(durable.encode(record)) == record


@given(st.integers(0, len(durable.encode(RECORD)) - 1))
def test_a_torn_file_is_never_read_as_a_record(length: int) -> None:
    with pytest.raises(ValueError, match=r"record|checksum"):
        durable.decode(durable.encode(RECORD)[:length])


@given(st.integers(0, len(durable.encode(RECORD)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_changes_nothing(place: int, flip: int) -> None:
    data = bytearray(durable.encode(RECORD))
    data[place] ^= flip
    with suppress(ValueError):
        assert durable.decode(bytes(data)) == RECORD


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00" * 512,
        b"{}",
        b"[1]",
        b'{"version":1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"record":5,"crc":0,"version":1}',
    ],
)
def test_garbage_counts_as_armed_with_a_latch_and_is_set_aside(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(garbage)
    record, why = durable.load(tmp_path)
    assert record == Durable(armed=True, latches=(UNREADABLE_LATCH,))
    assert f"{FILE_NAME}.corrupt-1" in why
    assert (tmp_path / f"{FILE_NAME}.corrupt-1").read_bytes() == garbage


def test_each_unreadable_file_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / FILE_NAME).write_bytes(b"garbage")
        durable.load(tmp_path)
        assert (tmp_path / f"{FILE_NAME}.corrupt-{number}").exists()


def test_a_file_that_cannot_be_opened_counts_as_armed_too(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    record, why = durable.load(tmp_path)
    assert record.armed
    assert FILE_NAME in why


def test_a_ticket_comes_back_once_its_record_is_on_disk(writer: Writer, woken: threading.Event, tmp_path: Path) -> None:
    writer.order(DurableWrite(7, RECORD))
    assert woken.wait(5)
    assert writer.written == 7
    assert durable.load(tmp_path / "state") == (RECORD, "")


def test_only_the_newest_of_many_records_has_to_be_written(writer: Writer, tmp_path: Path, soon: Soon) -> None:
    for ticket in range(1, 200):
        writer.order(DurableWrite(ticket, Durable(roster=(ticket,))))
    soon(lambda: writer.written == 199)
    assert durable.load(tmp_path / "state")[0].roster == (199,)


def test_a_place_that_cannot_be_written_is_said_and_tried_again(
    tmp_path: Path, woken: threading.Event, soon: Soon
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    writer = Writer(tmp_path / "state", woken.set)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    soon(lambda: writer.failed)
    assert FILE_NAME in writer.failed
    assert writer.written == 0
    (tmp_path / "state").unlink()
    soon(lambda: writer.written == 1)
    assert writer.failed == ""
    writer.stop()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said(tmp_path: Path, woken: threading.Event, soon: Soon) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o500)
    writer = Writer(state, woken.set)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    soon(lambda: writer.failed)
    assert "Permission denied" in writer.failed
    writer.stop()


def test_the_last_order_is_still_written_at_the_end(tmp_path: Path) -> None:
    writer = Writer(Path(tmp_path), lambda: None)
    writer.start()
    writer.order(DurableWrite(1, RECORD))
    writer.stop()
    assert durable.load(tmp_path)[0] == RECORD
