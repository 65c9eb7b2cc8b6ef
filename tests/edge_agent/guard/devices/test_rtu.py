from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.guard.devices.rtu import PROBE_COUNTS, ExceptionReply, NoAnswer, Patience, Rtu
from shared.errors import DeviceError

A_LITTLE_S = 0.15
PATIENCE = Patience()


@pytest.fixture
def rtu(slave: Any) -> Iterator[Rtu]:
    made = Rtu(slave.cable.port, 19200, slave.unit)
    made.open()
    made.read(30262, 2)
    made.counted.clear()
    yield made
    made.close()


def once(
    first: Callable[[bytes, bytes], list[tuple[float, bytes]]],
) -> Callable[[bytes, bytes], list[tuple[float, bytes]]]:
    """Misbehave at the first request only."""
    done: list[bytes] = []

    def misbehave(request: bytes, reply: bytes) -> list[tuple[float, bytes]]:
        done.append(request)
        return first(request, reply) if len(done) == 1 else [(0.0, reply)]

    return misbehave


def test_a_read_gives_counts_and_a_write_is_taken(rtu: Rtu, slave: Any) -> None:
    slave.registers |= {30263: 12379, 30264: 0xFFFE}
    assert rtu.read(30263, 2) == (12379, 0xFFFE)
    rtu.write(41027, -1042)
    assert slave.registers[41027] == 0x10000 - 1042


def test_an_exception_reply_says_its_code(rtu: Rtu) -> None:
    with pytest.raises(ExceptionReply, match="exception 2") as caught:
        rtu.read(30258, 40)
    assert caught.value.code == 2


def test_a_slave_that_does_not_answer_costs_a_bounded_time(rtu: Rtu, slave: Any) -> None:
    slave.misbehave = lambda _request, _reply: []
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        rtu.read(30263, 1)
    assert time.monotonic() - began < PATIENCE.reply_s + PATIENCE.drain_s + A_LITTLE_S


@pytest.mark.parametrize("late_s", [0.1, 0.25, 0.5])
def test_a_reply_as_late_as_the_labs_costs_its_lateness_and_nothing_else(rtu: Rtu, slave: Any, late_s: float) -> None:
    slave.registers[30263] = 1
    slave.misbehave = once(lambda _request, reply: [(late_s, reply)])
    began = time.monotonic()
    assert rtu.read(30263, 1) == (1,)
    rtu.write(41027, 0)
    assert rtu.read(30263, 1) == (1,)
    assert time.monotonic() - began < late_s + A_LITTLE_S
    assert not rtu.counted["no_answers"]


@pytest.mark.parametrize("late_s", [0.62, 0.66, 0.75, 0.9, 1.5])
def test_a_reply_that_is_too_late_is_never_taken_for_the_answer_to_the_same_question(
    rtu: Rtu, slave: Any, late_s: float
) -> None:
    slave.registers[30263] = 1
    slave.misbehave = once(lambda _request, reply: [(late_s, reply)])
    with pytest.raises(NoAnswer):
        rtu.read(30263, 1)
    slave.registers[30263] = 2
    found: list[tuple[int, ...]] = []
    deadline = time.monotonic() + 5.0
    while not found and time.monotonic() < deadline:
        try:
            found.append(rtu.read(30263, 1))
        except NoAnswer:
            continue
    assert found == [(2,)]


@pytest.mark.parametrize("count", [3, 4, 10])
def test_a_late_reply_that_is_as_long_as_a_probes_is_not_the_probes(rtu: Rtu, slave: Any, count: int) -> None:
    slave.misbehave = once(lambda _request, reply: [(0.68, reply)])
    with pytest.raises(NoAnswer):
        rtu.read(30262, count)
    slave.registers |= dict.fromkeys(range(30262, 30280), 9)
    found: list[tuple[int, ...]] = []
    deadline = time.monotonic() + 5.0
    while not found and time.monotonic() < deadline:
        try:
            found.append(rtu.read(30262, count))
        except NoAnswer:
            continue
    assert found == [(9,) * count]


def test_a_refused_write_after_a_late_reply_does_not_look_accepted(rtu: Rtu, slave: Any) -> None:
    slave.misbehave = once(lambda _request, reply: [(0.7, reply)])
    with pytest.raises(NoAnswer):
        rtu.write(41027, 100)
    refusal = bytes.fromhex("028604")
    slave.misbehave = lambda request, reply: [(0.0, reply)] if request[1] == 4 else [(0.0, refusal + _crc(refusal))]
    with pytest.raises((ExceptionReply, NoAnswer)):
        rtu.write(41027, 0)
    with pytest.raises(ExceptionReply, match="exception 4"):
        rtu.write(41027, 0)


def _crc(data: bytes) -> bytes:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(lambda reply: [(0.0, reply[:3])], id="truncated"),
        pytest.param(lambda reply: [(0.0, bytes([reply[0], reply[1], reply[2] ^ 0x10]) + reply[3:])], id="corrupted"),
        pytest.param(lambda reply: [(0.0, b"\x03" + reply[1:])], id="another device"),
        pytest.param(
            lambda _reply: [(0.0, b"\x02\x06\xa0\x43\x00\x00" + _crc(b"\x02\x06\xa0\x43\x00\x00"))], id="write echo"
        ),
        pytest.param(
            lambda _reply: [(0.0, b"\x02\x04\x04\0\0\0\0" + _crc(b"\x02\x04\x04\0\0\0\0"))], id="another count"
        ),
    ],
)
def test_a_reply_that_does_not_fit_is_no_answer_and_the_next_read_is_right(rtu: Rtu, slave: Any, wire: Any) -> None:
    slave.registers[30263] = 7
    slave.misbehave = once(lambda _request, reply: wire(reply))
    with pytest.raises(NoAnswer):
        rtu.read(30263, 1)
    assert rtu.read(30263, 1) == (7,)
    assert rtu.counted["no_answers"] == 1
    assert rtu.counted["probes"] == 1


def test_a_reply_in_pieces_is_one_answer(rtu: Rtu, slave: Any) -> None:
    slave.registers[30263] = 7
    slave.misbehave = lambda _request, reply: [(0.0, reply[:2]), (0.02, reply[2:5]), (0.04, reply[5:])]
    assert rtu.read(30263, 1) == (7,)


def test_a_reply_sent_twice_at_once_is_no_answer_and_the_next_read_is_right(rtu: Rtu, slave: Any) -> None:
    slave.registers |= {30263: 7, 30264: 8}
    slave.misbehave = once(lambda _request, reply: [(0.0, reply + reply)])
    with pytest.raises(NoAnswer, match="14 bytes instead of 7"):
        rtu.read(30263, 1)
    assert rtu.read(30264, 1) == (8,)


@pytest.mark.parametrize("wire", [lambda reply: reply[:-1] + bytes([reply[-1] ^ 1]), lambda reply: b"\x03" + reply[1:]])
def test_after_a_reply_that_does_not_fit_the_next_answer_is_there_at_once(rtu: Rtu, slave: Any, wire: Any) -> None:
    slave.misbehave = once(lambda _request, reply: [(0.0, wire(reply))])
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        rtu.read(30263, 1)
    assert rtu.read(30263, 1) == (0,)
    assert time.monotonic() - began < PATIENCE.silent_s + 2 * A_LITTLE_S


def test_a_reply_sent_again_at_the_next_request_is_not_taken_for_its_answer(rtu: Rtu, slave: Any) -> None:
    slave.registers |= {30263: 7, 30264: 8}
    before: list[bytes] = []

    def again(_request: bytes, reply: bytes) -> list[tuple[float, bytes]]:
        sent = [(0.0, one) for one in (*before, reply)]
        before[:] = [reply]
        return sent

    slave.misbehave = again
    assert rtu.read(30263, 1) == (7,)
    found: list[tuple[int, ...]] = []
    for _ in range(3):
        try:
            found.append(rtu.read(30264, 1))
        except NoAnswer:
            slave.misbehave = lambda _request, reply: [(0.0, reply)]
    assert set(found) == {(8,)}


def test_the_probe_asks_for_a_length_that_nothing_else_asks_for() -> None:
    assert not {1, 2, 18, 30} & set(PROBE_COUNTS)


def test_a_refusal_sent_again_does_not_refuse_the_next_read(rtu: Rtu, slave: Any) -> None:
    slave.registers[30263] = 7
    refusal = b"\x02\x84\x02" + _crc(b"\x02\x84\x02")
    with pytest.raises(ExceptionReply):
        rtu.read(30258, 40)
    slave.misbehave = once(lambda _request, reply: [(0.0, refusal), (0.0, reply)])
    found: list[tuple[int, ...]] = []
    for _ in range(3):
        try:
            found.append(rtu.read(30263, 1))
        except NoAnswer:
            continue
    assert set(found) == {(7,)}


def test_an_inverter_that_refuses_every_probe_can_still_be_read(rtu: Rtu, slave: Any) -> None:
    slave.registers = {30263: 7}
    rtu._in_doubt = True
    assert rtu.read(30263, 1) == (7,)


def test_after_opening_the_line_is_in_doubt_until_it_was_probed(slave: Any) -> None:
    """What was asked before the adapter was pulled may be answered after it was plugged in again."""
    slave.registers[30263] = 7
    stale = b"\x02\x04\x02\0\x09" + _crc(b"\x02\x04\x02\0\x09")
    slave.misbehave = once(lambda _request, reply: [(0.0, stale), (0.01, reply)])
    rtu = Rtu(slave.cable.port, 19200, slave.unit)
    rtu.open()
    with pytest.raises(NoAnswer):
        rtu.read(30263, 1)
    assert rtu.read(30263, 1) == (7,)
    rtu.close()


def test_an_absent_port_is_a_sentence_with_what_to_do() -> None:
    with pytest.raises(DeviceError, match="plug the RS-485 adapter in"):
        Rtu("/dev/serial/by-id/nothing", 19200, 2).open()


def test_the_port_is_held_for_one_only(rtu: Rtu) -> None:
    with pytest.raises(DeviceError, match="another program"):
        Rtu(rtu.port, 19200, 2).open()


def test_an_adapter_that_is_pulled_is_lost(rtu: Rtu, slave: Any) -> None:
    assert rtu.read(30263, 1) == (0,)
    slave.cable.unplug()
    with pytest.raises(DeviceError):
        rtu.read(30263, 1)
    rtu.close()
    with pytest.raises(DeviceError, match="closed"):
        rtu.read(30263, 1)
