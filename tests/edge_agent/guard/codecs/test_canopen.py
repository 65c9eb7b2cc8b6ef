from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbc
from edge_agent.guard.catalog import Groups
from edge_agent.guard.codecs.can_frame import ERROR, REMOTE, error_text, pack
from edge_agent.guard.codecs.canopen import SDO_ENABLE, SYNC_ID, Bmus
from edge_agent.guard.codecs.dbc import groups, load
from edge_agent.guard.model import NoData, Reading

PDO1 = bytes.fromhex("00002e12aeaf1719")
OTHER = bytes.fromhex("00002f12aeaf1719")
DONE = bytes.fromhex("6005180100000000")


@cache
def project_modules() -> Groups:
    """Not a fixture: hypothesis would print all of it."""
    return groups(load(dbc.path()), r"BMU(?P<module>\d\d)_")


@pytest.fixture
def bmus(modules: Groups) -> Bmus:
    return Bmus(modules, 12)


def test_a_tick_sends_sync_and_says_which_cycle_has_begun(bmus: Bmus) -> None:
    assert bmus.on_tick(1.0) == ([Reading("can", "sync", 1.0, (1,), (1.0,))], [(SYNC_ID, b"\xff")])
    assert bmus.on_tick(1.2).arrivals[0].raw == (2,)


def test_each_module_of_the_dbc_is_read_whoever_answers(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    answers = bmus.on_frames([(0x180 + module, PDO1, 0.1) for module in range(1, 16)])
    assert [answer.source for answer in answers] == [f"module-{number:02d}" for number in range(1, 16)]


def test_mistake_24_modules_13_and_14_are_read_like_every_other(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    answers = bmus.on_frames([(0x180 + 13, PDO1, 0.1), (0x180 + 14, PDO1, 0.1)])
    assert [answer.source for answer in answers] == ["module-13", "module-14"]
    bmus.on_tick(0.2)
    assert bmus.discovered == (13, 14)


def test_mistake_02_a_module_that_falls_silent_stays_discovered(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.1)])
    for cycle in range(1, 50):
        bmus.on_tick(cycle * 0.2)
    assert bmus.discovered == (3,)


def test_a_discovered_module_is_asked_once_to_send_its_extra_pdos(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.1)])
    assert bmus.on_tick(0.2).frames == [(SYNC_ID, b"\xff"), (0x603, SDO_ENABLE)]
    assert bmus.on_frames([(0x583, DONE, 0.21)]) == []
    sent = []
    for cycle in range(2, 40):
        bmus.on_frames([(0x183, PDO1, cycle * 0.2 - 0.1)])
        sent += bmus.on_tick(cycle * 0.2).frames[1:]
    assert sent == []


def test_many_new_modules_are_asked_a_few_at_a_time(bmus: Bmus) -> None:
    asked = []
    for cycle in range(5):
        asked.append(len(bmus.on_tick(cycle * 0.2).frames) - 1)
        bmus.on_frames([(0x180 + module, PDO1, cycle * 0.2 + 0.1) for module in range(1, 16)])
    assert asked == [0, 4, 4, 4, 3]


def test_an_sdo_without_answer_is_tried_three_times_and_then_reported(bmus: Bmus) -> None:
    sent, said = 0, []
    for cycle in range(40):
        turn = bmus.on_tick(cycle * 0.2)
        sent += len(turn.frames) - 1
        said += [one for one in turn.arrivals if type(one) is NoData]
        bmus.on_frames([(0x183, PDO1, cycle * 0.2 + 0.1)])
    assert sent == 3
    assert [(one.source, one.part, one.reason) for one in said] == [("module-03", "sdo", "timeout")]
    assert bmus.counters()["sdo_unanswered"] == 1


def test_an_sdo_abort_is_reported_with_its_code(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.1)])
    bmus.on_tick(0.2)
    (said,) = bmus.on_frames([(0x583, bytes.fromhex("8005180100000206"), 0.21)])
    assert (said.source, said.part, said.reason) == ("module-03", "sdo", "invalid")
    assert "0x06020000" in said.detail
    assert bmus.counters()["sdo_aborts"] == 1


@pytest.mark.parametrize("answer", ["", "60", "6006180100000000", "4005180100000000"])
def test_an_answer_to_something_else_is_counted_and_enables_nothing(bmus: Bmus, answer: str) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.1)])
    bmus.on_tick(0.2)
    assert bmus.on_frames([(0x583, bytes.fromhex(answer), 0.21)]) == []
    assert bmus.counters()["sdo_strange"] == 1


def test_a_module_that_comes_back_after_a_silence_is_asked_again(bmus: Bmus) -> None:
    sent = []
    for cycle in range(60):
        now = cycle * 0.2
        sent += [(cycle, frame) for frame in bmus.on_tick(now).frames[1:]]
        if cycle < 10 or cycle > 30:
            bmus.on_frames([(0x183, PDO1, now + 0.1), (0x583, DONE, now + 0.11)])
    assert [cycle for cycle, _ in sent] == [1, 32]


def test_after_the_bus_was_reopened_every_module_is_asked_again(bmus: Bmus) -> None:
    for cycle in range(3):
        bmus.on_tick(cycle * 0.2)
        bmus.on_frames([(0x183, PDO1, cycle * 0.2 + 0.1), (0x583, DONE, cycle * 0.2 + 0.11)])
    bmus.restart()
    assert bmus.on_tick(0.6).frames == [(SYNC_ID, b"\xff"), (0x603, SDO_ENABLE)]


def test_a_second_sender_with_other_content_is_reported_as_a_duplicate(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.01)])
    bmus.on_tick(0.2)
    first, second = bmus.on_frames([(0x183, PDO1, 0.21), (0x183, OTHER, 0.22)])
    assert type(first) is Reading
    assert (second.source, second.part, second.reason) == ("module-03", "pdo1", "duplicate")
    assert bmus.counters()["second_senders"] == 1


def test_the_same_frame_received_twice_is_one_reading(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    assert len(bmus.on_frames([(0x183, PDO1, 0.01), (0x183, PDO1, 0.02)])) == 1
    assert bmus.counters()["repeated_frames"] == 1


def test_an_answer_that_comes_after_the_next_sync_is_no_second_sender(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_frames([(0x183, PDO1, 0.01)])
    bmus.on_tick(0.2)
    bmus.on_tick(0.4)
    answers = bmus.on_frames([(0x183, PDO1, 0.41), (0x183, OTHER, 0.42)])
    assert [type(answer) for answer in answers] == [Reading, Reading]
    assert bmus.counters()["late_frames"] == 1


def test_with_constant_content_a_late_answer_does_not_swallow_the_true_one(bmus: Bmus) -> None:
    bmus.on_tick(0.0)
    bmus.on_tick(0.2)
    answers = bmus.on_frames([(0x183, PDO1, 0.21), (0x183, PDO1, 0.39), (0x183, PDO1, 0.395)])
    assert [answer.t_mono for answer in answers] == [0.21, 0.39]
    assert bmus.counters()["late_frames"] == 1
    assert bmus.counters()["repeated_frames"] == 1


def test_answers_late_in_every_other_cycle_are_no_second_sender(bmus: Bmus) -> None:
    given = []
    for cycle in range(20):
        bmus.on_tick(cycle * 0.2)
        if cycle % 2:
            given += bmus.on_frames([(0x183, PDO1, cycle * 0.2 + 0.01), (0x183, OTHER, cycle * 0.2 + 0.19)])
    assert {type(one) for one in given} == {Reading}
    assert len(given) == 20


def test_unknown_remote_and_error_frames_are_counted_and_errors_told(bmus: Bmus) -> None:
    (told,) = bmus.on_frames([(0x7FF, b"", 1.0), (0x181 | REMOTE, b"", 1.0), (ERROR | 0x40, bytes(8), 1.0)])
    assert told == NoData("can", "errors", 1.0, "invalid", "bus off")
    assert bmus.counters() == {"unknown_frames": 1, "remote_frames": 1, "error_frames": 1, "modules": 0, "cycles": 0}


def test_an_error_frame_names_every_class_it_reports() -> None:
    assert (
        error_text(ERROR | 0x20 | 0x04)
        == "controller problem, no acknowledge: nobody else on the bus, wrong bitrate or no termination"
    )
    assert error_text(ERROR | 0x400) == "error class 0x400"


def test_a_frame_is_packed_as_linux_lays_it_out() -> None:
    assert pack(0x9234_5678, b"\x01\x02") == bytes.fromhex("7856349202000000") + b"\x01\x02" + bytes(6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF_FFFF), st.binary(max_size=8), st.floats(0, 1e6)), max_size=40))
def test_no_sequence_of_frames_raises(frames: list[tuple[int, bytes, float]]) -> None:
    bmus = Bmus(project_modules(), 12)
    bmus.on_tick(0.0)
    assert len(bmus.on_frames(frames)) <= len(frames)
