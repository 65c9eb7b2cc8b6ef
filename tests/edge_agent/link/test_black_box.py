"""The file of a trip: what is in it, when it is written, what a restart or a bad disk does to it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from edge_agent.link.black_box import MOST_FILES, MOST_WAITING, BlackBox
from edge_agent.link.spool import RELEASED, Commit, Entry, Spool
from edge_agent.link.waiting import Anchor

SECOND = 1_000_000
START = 1_795_345_556 * SECOND
TRIP = START + 300 * SECOND
HOT = "module-03.temperature_high"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "spool.sqlite")) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trips"


def box_for(folder: Path) -> BlackBox:
    return BlackBox(folder, {"site": "lab", "node": "rig-1", "config": {}})


def record(spool: Spool, first_s: int, last_s: int, waits: Anchor | None = None) -> None:
    """A telemetry message of one row each second."""
    for second in range(first_s, last_s):
        t0 = START + second * SECOND + (waits.offset_us if waits else 0)
        payload = orjson.dumps({"lane": "tele", "t0": t0, "t": [0], "v": {"CMA_Voltage": [47.0]}})
        spool.commit(Commit((Entry("tele", spool.next_seq("tele"), "module-01", 1, t0, t0, payload),), waits=waits))


def trip(spool: Spool, ts: int = TRIP, waits: Anchor | None = None, **body: Any) -> None:
    ts += waits.offset_us if waits else 0
    event = {"from": "RUN", "to": "STOPPING", "why": [HOT], "latches": ["guard.restarted", HOT], **body}
    entry = Entry(
        "event",
        spool.next_seq("event"),
        "state",
        1,
        ts,
        ts,
        orjson.dumps({"lane": "event", "kind": "state", "ts": ts, **event}),
    )
    spool.commit(Commit((entry,), own=1, waits=waits))


def run(box: BlackBox, spool: Spool, now_us: int) -> None:
    for _ in range(50):
        box.turn(spool, now_us, now_us / SECOND)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    (path,) = [file for file in folder.iterdir() if not file.name.startswith(".")]
    return [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_the_minute_before_and_after_a_trip_becomes_a_file_stored_or_not(spool: Spool, folder: Path) -> None:
    record(spool, 0, 300)
    spool.settle("tele", range(1, 290), RELEASED)
    box = box_for(folder)
    trip(spool)
    run(box, spool, TRIP + SECOND)
    assert box.body()["waiting"] == 1
    assert not folder.exists()

    record(spool, 300, 400)
    run(box, spool, TRIP + 64 * SECOND)

    head, event, *rows = lines_of(folder)
    assert (head["kind"], head["trip"], head["ts"], head["node"]) == ("trip", HOT, TRIP, "rig-1")
    assert (event["source"], event["to"]) == ("state", "STOPPING")
    assert [(row["t0"] - TRIP) // SECOND for row in rows] == list(range(-60, 61))
    assert box.body() == {"files": 1, "waiting": 0, "last": f"20261122T111056.000Z-{HOT}.jsonl.gz"}


def test_a_trip_before_the_clock_was_set_gets_its_file_with_the_right_times(spool: Spool, folder: Path) -> None:
    wrong = 1_000 * SECOND  # 1970
    record(spool, 240, 300, waits=Anchor("boot", wrong - TRIP))
    trip(spool, waits=Anchor("boot", wrong - TRIP))
    box = box_for(folder)
    box.turn(spool, wrong + SECOND, 1.0)
    assert spool.rebase(Anchor("boot", 0), was_set=True) == 61
    record(spool, 300, 370)
    box.turn(spool, TRIP + 2 * SECOND, 2.0)
    assert not folder.exists(), "the minute after it has not passed"
    for _ in range(50):
        box.turn(spool, TRIP + 64 * SECOND, 64.0)
    head, _, *rows = lines_of(folder)
    assert head["ts"] == TRIP
    assert [(row["t0"] - TRIP) // SECOND for row in rows] == list(range(-60, 61))


@pytest.mark.parametrize("body", [{"latches": []}, {"from": "BOOT"}, {"to": "HOLD"}, {"latches": None}])
def test_what_is_no_trip_leaves_no_file(spool: Spool, folder: Path, body: dict[str, Any]) -> None:
    box = box_for(folder)
    trip(spool, **body)
    run(box, spool, TRIP + 100 * SECOND)
    assert not folder.exists()


def test_a_file_written_at_the_end_is_completed_by_the_next_link(spool: Spool, folder: Path) -> None:
    record(spool, 240, 302)
    trip(spool)
    first = box_for(folder)
    first.finish(spool, TRIP + 2 * SECOND, 2.0)
    assert len(lines_of(folder)) == 2 + 62
    (file,) = folder.iterdir()
    os.utime(file, (TRIP / SECOND + 2, TRIP / SECOND + 2))

    record(spool, 302, 370)
    second = box_for(folder)
    (folder / ".left.jsonl.gz").write_bytes(b"")
    run(second, spool, TRIP + 70 * SECOND)

    assert len(lines_of(folder)) == 2 + 121
    third = box_for(folder)
    os.utime(file, (TRIP / SECOND + 70, TRIP / SECOND + 70))
    run(third, spool, TRIP + 80 * SECOND)
    assert third.counts["trip_files_written"] == 0, "a whole file is left alone"


def test_more_trips_than_can_wait_and_a_folder_that_cannot_be_written_are_counted(spool: Spool, folder: Path) -> None:
    box = box_for(folder)
    for number in range(MOST_WAITING + 2):
        trip(spool, TRIP + number)
    folder.write_text("a file where the folder should be")

    run(box, spool, TRIP + 100 * SECOND)

    assert box.counts["trips_without_file"] == 2
    assert box.counts["trip_files_failed"] == MOST_WAITING
    assert box.body()["waiting"] == 0


def test_the_oldest_files_make_room(spool: Spool, folder: Path) -> None:
    folder.mkdir()
    for number in range(MOST_FILES):
        (folder / f"2020010{number:03d}.jsonl.gz").write_bytes(b"old")
    box = box_for(folder)
    trip(spool)

    run(box, spool, TRIP + 100 * SECOND)

    assert len(list(folder.iterdir())) == MOST_FILES
    assert not (folder / "2020010000.jsonl.gz").exists()
    assert box.counts["trip_files_forgotten"] == 1
