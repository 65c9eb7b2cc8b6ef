"""What was sent is known to the next link: the file of marks, whatever state it is in and whenever its writer is killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.link.clock import Clock, Reading
from edge_agent.link.jobs import Hello, OwnEvent, Packets
from edge_agent.link.journal import RecordSettings
from edge_agent.link.recorder import Recorder
from edge_agent.link.sent_marks import SentMarks
from edge_agent.link.spool import LANES, Lane
from edge_agent.link.uplink import WINDOW
from shared import ipc
from tests.conftest import Disk, WaitUntil

SPOOL = "a1b2c3d4"
SIZE = 8 * (1 + WINDOW)
Sent = dict[Lane, list[int]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sent"


def nothing(_lane: Lane) -> list[int]:
    return []


def marked(path: Path, spool: str = SPOOL) -> set[tuple[Lane, int]]:
    """What the next process finds."""
    with closing(SentMarks(path, spool, nothing)) as found:
        return set(found.before())


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, WINDOW), st.integers(0, WINDOW), st.booleans()), max_size=12), st.integers())
def test_all_that_is_on_its_way_is_marked_at_any_moment_in_a_file_that_does_not_grow(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, int, bool]], seed: int
) -> None:
    path, chance = tmp_path_factory.mktemp("marks") / "spool.sent", random.Random(seed)
    sent: Sent = {lane: [] for lane in LANES}
    last = dict.fromkeys(LANES, 0)
    marks = SentMarks(path, SPOOL, lambda lane: list(sent[lane]))
    for messages, receipts, killed in turns:
        for _ in range(min(messages, WINDOW - sum(map(len, sent.values())))):
            lane = chance.choice(LANES)
            last[lane] += chance.randint(1, 3)
            marks.note(lane, last[lane])
            sent[lane].append(last[lane])
        on_their_way = {(lane, seq) for lane in LANES for seq in sent[lane]}
        assert on_their_way <= marked(path)
        assert len(marked(path)) <= WINDOW
        assert path.stat().st_size == SIZE if path.exists() else not on_their_way
        for lane, seq in chance.sample(sorted(on_their_way), min(receipts, len(on_their_way))):
            sent[lane].remove(seq)
        if killed:
            marks.close()
            marks = SentMarks(path, SPOOL, lambda lane: list(sent[lane]))
    marks.close()


def test_a_mark_is_in_the_file_before_its_message_is_handed_over_also_when_the_writer_is_killed(path: Path) -> None:
    code = (
        "import itertools, pathlib, sys; from edge_agent.link.sent_marks import SentMarks\n"
        "sent = []; marks = SentMarks(pathlib.Path(sys.argv[1]), 'a1b2c3d4', lambda lane: sent if lane == 'tele' else [])\n"
        "for seq in itertools.count(1):\n"
        "    marks.note('tele', seq); sent.append(seq); print(seq, flush=True); del sent[:-400]\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        handed_over = [int(writer.stdout.readline()) for _ in range(1234)]
        writer.kill()
        handed_over += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert handed_over[-1] >= 1234
    assert {("tele", seq) for seq in handed_over[-400:]} <= marked(path)


def test_the_recorder_marks_each_message_before_it_publishes_it(tmp_path: Path, wait_until: WaitUntil) -> None:
    published: list[tuple[tuple[Lane, int], bool]] = []

    def publish(_topic: str, payload: bytes) -> bool:
        body = json.loads(payload)
        message = body["lane"], body["seq"]
        published.append((message, message in marked(tmp_path / "spool.sent", body["spool"])))
        return True

    wanted = RecordSettings(tmp_path / "spool.sqlite", 8_000_000, 1_000_000, 0.05, ("pc-1",), "boot")
    recorder = Recorder(wanted, Clock(Reading(0, 0, synced=True)), publish, lambda: 100, lambda _report: None)
    recorder.put(OwnEvent("session", {"session": "x"}))
    recorder.put(Hello("s", {"module-01": ("a",)}))
    recorder.put(Packets([ipc.pack_row(ipc.Row(1, 1000, 0, (1.0,), ()))]))
    recorder.start()
    try:
        wait_until(lambda: len(published) >= 2, 5, "both messages")
    finally:
        recorder.stop(5)
    assert published == [(("event", 1), True), (("tele", 1), True)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a1b2c3d4",
        b"\0" * SIZE,
        b"ffffffff" + b"\1" * (SIZE - 8),
        b"a1b2c3d4" + b"\1" * SIZE,
        random.Random(1).randbytes(SIZE),
        b"x" * 1_000_000,
    ],
)
def test_a_file_of_another_spool_of_another_size_or_of_rubbish_marks_nothing_and_is_written_anew(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with closing(SentMarks(path, SPOOL, nothing)) as marks:
        assert list(marks.before()) == []
        assert marks.counts["sent_marks_void"] == 1
        marks.note("event", 7)
    assert marked(path) == {("event", 7)}
    assert path.stat().st_size == SIZE


@given(st.binary(min_size=8 * WINDOW, max_size=8 * WINDOW))
def test_rubbish_behind_the_right_name_is_never_more_than_the_window(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes
) -> None:
    path = tmp_path_factory.mktemp("marks") / "spool.sent"
    path.write_bytes(SPOOL.encode() + rubbish)
    with closing(SentMarks(path, SPOOL, nothing)) as marks:
        assert len(list(marks.before())) <= WINDOW
        assert all(0 <= seq < 1 << 63 for _, seq in marks.before())  # what SQLite can be asked for
        marks.note("tele", 1)
    assert ("tele", 1) in marked(path)


def in_place_of_a_folder(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def test_where_no_file_can_be_made_it_is_counted_and_the_first_mark_that_can_be_written_brings_all(path: Path) -> None:
    heal = in_place_of_a_folder(path)
    sent = [1, 2, 3]
    with closing(SentMarks(path, SPOOL, lambda lane: sent if lane == "tele" else [])) as marks:
        for seq in (1, 2, 3):
            marks.note("tele", seq)
        assert marks.counts["sent_unmarked"] == 3
        heal()
        marks.note("tele", 4)
        assert marks.counts["sent_unmarked"] == 3
    assert marked(path) == {("tele", seq) for seq in (1, 2, 3, 4)}


def test_on_a_full_disk_a_file_that_is_there_takes_marks_and_one_that_is_not_is_counted(small_disk: Disk) -> None:
    old, new = small_disk.folder / "old.sent", small_disk.folder / "new.sent"
    with closing(SentMarks(old, SPOOL, nothing)) as before, closing(SentMarks(new, SPOOL, nothing)) as after:
        before.note("tele", 1)
        small_disk.fill()
        before.note("tele", 2)
        after.note("tele", 1)
        assert (before.counts["sent_unmarked"], after.counts["sent_unmarked"]) == (0, 1)
        small_disk.empty()
        after.note("tele", 2)
    assert marked(old) == marked(new) == {("tele", 1), ("tele", 2)}
