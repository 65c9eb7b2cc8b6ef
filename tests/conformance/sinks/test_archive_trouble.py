"""The archive's own promises: cap, numbers used twice, a broken file, distinct rows counted."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from random import Random

import orjson
import pytest

from collector.ingest import Record, ingest
from collector.sinks.archive import ArchiveSink
from collector.sinks.archive_file import FILE_NAME
from collector.sinks.archive_reader import count_rows
from collector.sinks.ports import SetAside, StoreUnavailable
from tests.conformance.sinks.conftest import Messages
from tests.conftest import Disk


def rows_of(folder: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        return db.execute(query).fetchall()


def test_a_number_used_again_for_another_message_is_refused_not_lost(
    tmp_path: Path, archive_messages: Messages
) -> None:
    record = archive_messages.telemetry()
    other = record._replace(payload=record.payload.replace(b"47.33", b"47.99"))
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.write([record])
        outcome = sink.write([record, other])
        assert list(outcome.stored) == [record]
        assert [one.payload for one in outcome.refused] == [other.payload]
        sink.set_aside(outcome.refused)
    assert rows_of(tmp_path, "SELECT reason FROM quarantine") == [("another message is stored under this number",)]


def test_two_nodes_with_the_same_spool_number_do_not_take_each_others_place(
    tmp_path: Path, archive_messages: Messages
) -> None:
    record = archive_messages.telemetry()
    twin = ingest("cellguard/v1/lab/other/tele/module-01", record.payload)
    with closing(ArchiveSink(tmp_path)) as sink:
        assert len(sink.write([record, twin]).stored) == 2
    assert count_rows(tmp_path) == {"tele_rows": 4, "events": 0}


def test_beyond_the_cap_the_oldest_telemetry_goes_first_and_is_reported(
    tmp_path: Path, archive_messages: Messages
) -> None:
    noise = [[((seq * 7919 + k * 104729) % 999_983) / 1000 for k in range(2000)] for seq in range(300)]
    with closing(ArchiveSink(tmp_path, max_mb=1.0)) as sink:
        sink.write([archive_messages.event(state="RUN") for _ in range(20)])
        records = [archive_messages.telemetry("arduino", temp1=values) for values in noise]
        for start in range(0, 300, 20):
            sink.write(records[start : start + 20])
            assert sink.counters()["archive_mb"] <= 1.0
        counters = sink.counters()
    kept = {row[0] for row in rows_of(tmp_path, "SELECT seq FROM message WHERE lane = 'tele'")}
    assert kept
    assert kept == {record.identity.seq for record in records[-len(kept) :]}
    assert counters["events"] == 20
    assert counters["tele_rows"] + counters["dropped_rows"] == 300 * 2000
    assert rows_of(tmp_path, "SELECT SUM(rows) FROM dropped WHERE lane = 'tele'") == [(counters["dropped_rows"],)]


def test_a_file_that_is_no_database_is_kept_aside_and_a_new_one_begins(
    tmp_path: Path, archive_messages: Messages
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but somebody's file" * 100)
    with closing(ArchiveSink(tmp_path)) as sink:
        assert len(sink.write([archive_messages.telemetry()]).stored) == 1
    assert [file.stat().st_size for file in tmp_path.glob("*.unreadable-*")] == [3500]


def test_a_file_that_breaks_while_running_costs_the_batch_a_second_try(
    tmp_path: Path, archive_messages: Messages
) -> None:
    records = [archive_messages.telemetry("arduino", temp1=[k / 7.0 for k in range(500)]) for _ in range(40)]
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.write(records)
        sink.close()
        content = bytearray((tmp_path / FILE_NAME).read_bytes())
        half = len(content) // 2
        content[half:] = bytes(len(content) - half)
        (tmp_path / FILE_NAME).write_bytes(content)
        more = [archive_messages.telemetry() for _ in range(3)]
        with pytest.raises(StoreUnavailable, match="a new file begins"):
            sink.write(more)
        assert len(sink.write(more).stored) == 3
        assert sink.counters()["files_set_aside"] == 1


def test_totals_are_right_after_reopening_and_rows_that_overlap_count_once(
    tmp_path: Path, archive_messages: Messages
) -> None:
    record = archive_messages.telemetry()
    body = {**record.body, "seq": 99, "t": [200_000, 400_000]}
    overlapping = ingest("cellguard/v1/lab/rig/tele/module-01", orjson.dumps(body))
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.write([record, overlapping, archive_messages.event()])
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.open()
        assert (sink.counters()["tele_rows"], sink.counters()["events"]) == (4, 1)
    assert count_rows(tmp_path) == {"tele_rows": 3, "events": 1}


def test_what_is_set_aside_is_kept_as_it_came(tmp_path: Path, archive_messages: Messages) -> None:
    payload = b'\xff{"spool":'
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.set_aside([SetAside(archive_messages.telemetry().identity, "not JSON", payload)])
    [(stored,)] = rows_of(tmp_path, "SELECT payload FROM quarantine")
    assert zlib.decompress(stored) == payload


def test_on_a_full_disk_nothing_is_called_stored_and_all_is_once_there_is_room(
    small_disk: Disk, archive_messages: Messages
) -> None:
    def some() -> list[Record]:
        return [archive_messages.telemetry("arduino", temp1=[k / 7.0 for k in range(500)]) for _ in range(100)]

    sent, waiting = some(), some()
    with closing(ArchiveSink(small_disk.folder)) as sink:
        sink.write(sent)
        small_disk.fill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"full|open"):
                sink.write(waiting)
        small_disk.empty()
        assert len(sink.write(waiting).stored) == len(sink.write(sent).stored) == 100
        assert sink.counters()["tele_rows"] == 200 * 500


def test_rubbish_that_is_set_aside_fills_a_tenth_of_the_archive_at_most(
    tmp_path: Path, archive_messages: Messages
) -> None:
    record = archive_messages.telemetry()
    payloads = [Random(seq).randbytes(2000) for seq in range(1000)]
    with closing(ArchiveSink(tmp_path, max_mb=2.0)) as sink:
        assert len(sink.write([record]).stored) == 1
        for seq, payload in enumerate(payloads):
            sink.set_aside([SetAside(record.identity._replace(seq=seq), "rubbish", payload)])
        counters = sink.counters()
    ((kept, size),) = rows_of(tmp_path, "SELECT COUNT(*), SUM(length(payload)) FROM quarantine")
    assert kept + counters["aside_dropped"] == 1000
    assert 0 < size <= 200_000
    assert rows_of(tmp_path, "SELECT MAX(seq) FROM quarantine") == [(999,)]
    assert counters["tele_rows"] == record.rows
