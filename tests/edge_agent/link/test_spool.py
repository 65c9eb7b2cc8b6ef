"""The file that must not lose: transactions, books, the cap, and files that cannot be read."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.link.books import books, pending
from edge_agent.link.clock import Clock, Reading
from edge_agent.link.jobs import OwnEvent
from edge_agent.link.journal import Journal, RecordSettings
from edge_agent.link.spool import QUARANTINED, RELEASED, Commit, Entry, Lane, Spool
from shared import ipc
from shared.errors import Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with closing(Spool(path)) as one:
        yield one


def entry(spool: Spool, lane: Lane = "tele", rows: int = 5, size: int = 10, offset: int = 0) -> Entry:
    return Entry(lane, spool.next_seq(lane) + offset, "module-01", rows, 1, 2, b"x" * size)


def balanced(found: dict[str, int]) -> bool:
    return found["produced"] == found["gaps"] + found["quarantined"] + found["spooled"] + found["released"]


def test_the_id_and_the_numbering_survive_a_restart_even_when_everything_was_dropped(path: Path) -> None:
    with closing(Spool(path)) as first:
        identity = first.id
        first.commit(Commit((entry(first),), "s", highest=5))
        first.settle("tele", [1], RELEASED)
        assert first.drop_settled(10) == 1
    with closing(Spool(path)) as again:
        assert (again.id, again.next_seq("tele"), again.next_seq("event")) == (identity, 2, 1)
        assert again.open_sessions() == {"s": 5}
    assert len(identity) == 8


def test_a_commit_that_fails_changes_nothing(spool: Spool) -> None:
    one = entry(spool)
    with pytest.raises(sqlite3.IntegrityError):
        spool.commit(Commit((one, one), "s", highest=10))
    assert spool.books()["produced"] == 0
    assert spool.next_seq("tele") == 1
    spool.commit(Commit((one,), "s", highest=5))
    assert balanced(spool.books())


def test_receipts_move_rows_from_spooled_to_released_or_quarantined_once(spool: Spool, path: Path) -> None:
    spool.commit(Commit((entry(spool), entry(spool, offset=1)), "s", highest=10))
    assert [one.seq for one in spool.settle("tele", [1, 99], RELEASED)] == [1]
    assert spool.settle("tele", [1], RELEASED) == []
    assert len(spool.settle("tele", [2], QUARANTINED)) == 1
    spool.close()
    assert books(path) == {"produced": 10, "gaps": 0, "quarantined": 5, "spooled": 0, "released": 5, "unknown_gaps": 0}
    assert list(pending(path)) == []


def test_an_early_event_is_counted_before_the_rows_below_it_are_there(spool: Spool) -> None:
    spool.commit(Commit((entry(spool, "event", rows=1),), "s", early=(7,)))
    assert spool.books()["produced"] == 1
    assert spool.numbers("s") == (0, {7})
    spool.commit(Commit((entry(spool, rows=7),), "s", highest=8))
    assert spool.numbers("s") == (8, set())
    assert balanced(spool.books())


def test_a_session_that_ended_before_its_rows_came_leaves_gaps(spool: Spool) -> None:
    spool.commit(Commit((entry(spool, "event", rows=1),), "old", early=(7,)))
    ended = spool.unfinished("new")
    assert [tuple(one) for one in ended] == [("old", 7, 6)]
    spool.commit(Commit(ended=tuple(ended)))
    assert spool.books() | {"released": 0} == {
        "produced": 7, "gaps": 6, "quarantined": 0, "spooled": 1, "released": 0, "unknown_gaps": 1,
    }  # fmt: skip
    assert spool.unfinished("new") == []


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 9000, b"rubbish" * 999])
def test_a_file_in_any_state_can_be_opened(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with closing(Spool(path)) as spool:
        spool.commit(Commit((entry(spool),), "s", highest=5))
        assert spool.books()["spooled"] == 5


def test_a_file_damaged_inside_is_set_aside_and_kept(path: Path) -> None:
    with closing(Spool(path)) as spool:
        for _ in range(50):
            spool.commit(Commit((entry(spool, size=2000),), "s"))
    whole = bytearray(path.read_bytes())
    rng = random.Random(1)
    for _ in range(200):
        whole[rng.randrange(4096, len(whole))] ^= 0xFF
    path.write_bytes(whole)
    with closing(Spool(path)) as spool:
        assert spool.set_aside == path.with_name("spool.sqlite.corrupt-1")
        assert spool.set_aside.read_bytes() == bytes(whole)
        assert spool.books()["produced"] == 0


def test_a_spool_of_another_layout_is_not_touched_but_set_aside(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE something (x)")
    with closing(Spool(path)) as spool:
        assert spool.set_aside is not None


def test_the_books_of_a_file_that_is_not_there_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="absent"):
        books(tmp_path / "absent.sqlite")


def test_ids_of_commands_are_remembered_with_their_answers_and_the_oldest_forgotten(spool: Spool) -> None:
    for number in range(5):
        spool.remember_command(f"c{number}", 1000 + number, {"id": f"c{number}"}, keep=3)
    assert spool.commands() == {f"c{number}": {"id": f"c{number}"} for number in (2, 3, 4)}
    spool.remember_command("later", 1000 + 90_000, {"id": "later"}, keep=3)
    assert list(spool.commands()) == ["later"]


def full_journal(spool: Spool, path: Path) -> Journal:
    settings = RecordSettings(path, 8_000_000, 1_000_000, 1.0, ("pc-1",), "boot")
    return Journal(spool, settings, Clock(Reading(0, 0, synced=True)))


def test_the_cap_takes_stored_messages_first_then_old_telemetry_and_records_the_loss(spool: Spool, path: Path) -> None:
    journal = full_journal(spool, path)
    journal.hello("s", {"module-01": ("a",) * 1})
    for _ in range(40):
        spool.commit(Commit(tuple(entry(spool, size=30_000, offset=index) for index in range(8)), "s", 0, gaps=0))
        spool.commit(Commit((entry(spool, "event", rows=1),)))
        spool.settle("tele", [spool.next_seq("tele") - 1], RELEASED)
        journal.trim(lambda lane: [1] if lane == "tele" else [], lambda _lost: None)
        assert spool.used_bytes() <= 4_000_000
    found = spool.books()
    assert found["gaps"] > 0
    assert found["gaps"] + found["spooled"] + found["released"] == 40 * (8 * 5 + 1) + journal_events(spool)
    assert spool.message("tele", 1) is not None  # on its way: not dropped
    assert spool.message("event", 1) is not None  # events last
    assert path.stat().st_size <= 8_000_000


def test_a_gap_record_names_only_what_is_missing_where_others_in_between_are_kept(spool: Spool, path: Path) -> None:
    journal = full_journal(spool, path)
    for _ in range(12):
        spool.commit(Commit(tuple(entry(spool, size=30_000, offset=index) for index in range(10))))
    kept = [2, 3, 5]
    journal.ceiling = 0
    journal.trim(lambda lane: kept if lane == "tele" else [], lambda _lost: None)
    (gap,) = [json.loads(payload) for _, source, payload in spool.pending("event", 0, 10) if source == "gap"]
    assert (gap["from"], gap["to"], gap["rows"]) == (1, 120, 5 * (120 - len(kept)))
    assert gap["ranges"] == [[1, 1], [4, 4], [6, 120]]
    spool.commit(Commit((entry(spool), entry(spool, offset=1))))
    journal.trim(lambda lane: kept if lane == "tele" else [], lambda _lost: None)
    whole = json.loads(spool.pending("event", 1, 10)[0][2])
    assert (whole["from"], whole["to"], "ranges" in whole) == (121, 122, False)


def journal_events(spool: Spool) -> int:
    """Gap records the journal added by itself."""
    return sum(1 for _, source, _ in spool.pending("event", 0, 1000) if source == "gap")


def test_all_that_guard_sent_is_durable_in_one_commit_and_released_up_to_there(spool: Spool, path: Path) -> None:
    journal = full_journal(spool, path)
    journal.hello("s", {"module-01": ("a",), "inverter": ("current",)})
    packets = [ipc.pack_row(ipc.Row(n, n * 1000, n % 2, (float(n),), ())) for n in range(1, 11)]
    packets.append(ipc.pack_event(ipc.Event(11, 11_000, {"kind": "alarm", "alarm": "x"})))
    assert journal.take(packets)
    journal.own.append(OwnEvent("session", {"session": "x"}))
    journal.commit_events()
    assert spool.numbers("s") == (0, {11})
    durable, fresh = journal.flush()
    assert durable is not None
    assert tuple(durable) == ("s", 11)
    assert fresh == [1, 2]
    assert spool.books() == {
        "produced": 12,
        "gaps": 0,
        "quarantined": 0,
        "spooled": 12,
        "released": 0,
        "unknown_gaps": 0,
    }
    assert journal.flush() == (None, [])


def rows(first: int, last: int) -> list[bytes]:
    return [ipc.pack_row(ipc.Row(n, n * 200_000, 0, (float(n),), ())) for n in range(first, last + 1)]


def times_of(spool: Spool) -> list[int]:
    bodies = [json.loads(payload) for _, _, payload in spool.pending("tele", 0, 100)]
    return [body["t0"] + offset for body in bodies for offset in body["t"]]


def test_rows_of_a_commit_that_failed_come_again_with_the_times_they_had(spool: Spool, path: Path) -> None:
    journal = full_journal(spool, path)
    journal.hello("s", {"module-01": ("a",)})
    journal.take(rows(1, 5))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            journal.flush()
        other.execute("ROLLBACK")
    again = full_journal(spool, path)
    again.hello("s", {"module-01": ("a",)})
    again.take(rows(1, 6))
    again.flush()
    assert times_of(spool) == [200_000 * n for n in range(1, 7)]


def test_times_of_a_source_rise_also_over_a_restart_with_the_clock_set_back(path: Path) -> None:
    with closing(Spool(path)) as spool:
        journal = full_journal(spool, path)
        journal.hello("s", {"module-01": ("a",)})
        journal.take(rows(11, 15))
        journal.flush()
        spool.settle("tele", [1], RELEASED)
        spool.drop_settled(10)
    with closing(Spool(path)) as spool:
        journal = full_journal(spool, path)
        journal.hello("s", {"module-01": ("a",)})
        packets = [ipc.pack_row(ipc.Row(n, n * 100_000, 0, (1.0,), ())) for n in (16, 17)]
        journal.take(packets)
        journal.flush()
        assert times_of(spool) == [3_000_001, 3_050_001]  # at half speed until it has caught up


def waiting_journal(spool: Spool, path: Path, clock: Clock, boot: str = "boot") -> Journal:
    journal = Journal(spool, RecordSettings(path, 8_000_000, 1_000_000, 1.0, ("pc-1",), boot), clock)
    journal.hello("s", {"module-01": ("a",)})
    return journal


def bodies(spool: Spool, lane: Lane) -> list[dict[str, object]]:
    return [json.loads(payload) for _, _, payload in spool.pending(lane, 0, 100)]


SET = 1_795_345_556_000_000


def test_what_is_recorded_before_the_clock_is_set_waits_and_gets_its_times_once(spool: Spool, path: Path) -> None:
    clock = Clock(Reading(1_000_000, 2_000_000, synced=False))  # 1970
    journal = waiting_journal(spool, path, clock)
    journal.take(rows(1, 5))
    journal.own.append(OwnEvent("alarm", {"alarm": "x", "ts": 2_500_000, "since": 2_400_000}))
    journal.flush()
    assert (bodies(spool, "tele"), bodies(spool, "event")) == ([], [])
    assert spool.books()["spooled"] == 6
    assert spool.drop_settled(100) == 0
    clock.sample(Reading(2_000_000, SET, synced=True))
    journal.take(rows(6, 10))
    journal.flush()
    assert times_of(spool) == [SET - 2_000_000 + 200_000 * n for n in range(1, 11)]
    assert [body["clock"] for body in bodies(spool, "tele")] == ["rebased", "stepped"]
    (alarm,) = bodies(spool, "event")
    moved = SET - 2_000_000 - 1_000_000
    assert (alarm["ts"], alarm["since"], alarm["clock"]) == (2_500_000 + moved, 2_400_000 + moved, "rebased")
    assert balanced(spool.books())
    journal.flush()
    assert len(times_of(spool)) == 10


def test_a_clock_that_nothing_sets_is_believed_after_a_while_and_marked(spool: Spool, path: Path) -> None:
    clock = Clock(Reading(1_000_000, SET, synced=False), from_rtc=False)
    journal = waiting_journal(spool, path, clock)
    journal.take(rows(1, 2))
    journal.flush()
    assert times_of(spool) == []
    clock.sample(Reading(121_000_000, SET + 120_000_000, synced=False))
    journal.flush()
    assert times_of(spool) == [SET - 1_000_000 + 200_000 * n for n in (1, 2)]
    assert bodies(spool, "tele")[0]["clock"] == "unsynced"


def test_a_clock_that_was_set_by_hand_while_link_did_not_run_dates_what_waited(spool: Spool, path: Path) -> None:
    journal = waiting_journal(spool, path, Clock(Reading(1_000_000, 2_000_000, synced=False)))
    journal.take(rows(1, 2))
    journal.flush()
    later = waiting_journal(spool, path, Clock(Reading(9_000_000, SET, synced=False)))
    later.flush()
    assert times_of(spool) == [SET - 9_000_000 + 200_000 * n for n in (1, 2)]
    assert bodies(spool, "tele")[0]["clock"] == "rebased"


def test_what_waited_when_the_power_went_keeps_its_times_and_is_marked(spool: Spool, path: Path) -> None:
    journal = waiting_journal(spool, path, Clock(Reading(1_000_000, 2_000_000, synced=False)))
    journal.take(rows(1, 2))
    journal.flush()
    later = waiting_journal(spool, path, Clock(Reading(0, SET, synced=True)), boot="next")
    later.flush()
    assert times_of(spool) == [1_200_000, 1_400_000]
    assert bodies(spool, "tele")[0]["clock"] == "unsynced"


def test_a_clock_that_an_rtc_or_the_network_has_set_is_not_waited_for() -> None:
    assert not Clock(Reading(0, SET, synced=True), from_rtc=False).doubtful
    assert not Clock(Reading(0, SET, synced=False), from_rtc=True).doubtful
    assert Clock(Reading(0, 0, synced=False), from_rtc=True).doubtful
    assert Clock(Reading(0, SET, synced=False), from_rtc=False).doubtful
