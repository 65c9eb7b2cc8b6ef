from __future__ import annotations

import random
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from simulator.faults import Faults
from simulator.links import Pty
from simulator.profiles import PROFILES
from simulator.rtu import RtuSlave
from simulator.serial_port import SerialPort
from simulator.trace import Trace

Make = Callable[..., Any]
Frame = Callable[[str], bytes]


def slave(faults: Faults | None = None, profile: str = "ideal") -> RtuSlave:
    """A slave whose registers are the bytes of the request, backwards."""
    return RtuSlave(2, lambda pdu, _now: pdu[::-1], faults or Faults(8), PROFILES[profile], random.Random(3))


def said(device: RtuSlave, now: float) -> bytes:
    return device.take(now)


def test_a_request_cut_into_single_bytes_is_answered_once(modbus_frame: Frame) -> None:
    device, request = slave(), modbus_frame("02 04 76 36 00 02")
    for n, byte in enumerate(request):
        device.feed(bytes([byte]), 1.0 + n * 0.0005)
    assert said(device, 1.1) == modbus_frame("02 02 00 36 76 04")
    assert said(device, 2.0) == b""


def test_two_requests_in_one_chunk_are_answered_in_order(modbus_frame: Frame) -> None:
    device = slave()
    device.feed(modbus_frame("02 04 76 36 00 02") + modbus_frame("02 06 A0 43 00 05"), 1.0)
    assert said(device, 1.1) == modbus_frame("02 02 00 36 76 04") + modbus_frame("02 05 00 43 A0 06")


def test_a_wrong_crc_is_answered_by_silence_and_the_next_request_is_heard(modbus_frame: Frame) -> None:
    device = slave()
    device.feed(modbus_frame("02 04 76 36 00 02")[:-1] + b"\x00", 1.0)
    assert said(device, 1.5) == b""
    assert device.counted["bad_frames"] == 1
    device.feed(modbus_frame("02 04 76 36 00 02"), 2.0)
    assert said(device, 2.1) != b""


def test_another_units_request_is_not_answered(modbus_frame: Frame) -> None:
    device = slave()
    device.feed(modbus_frame("03 04 76 36 00 02"), 1.0)
    assert said(device, 1.5) == b""
    assert device.counted["other_units"] == 1


def test_a_frame_of_another_length_ends_with_silence(modbus_frame: Frame) -> None:
    device = slave()
    device.feed(modbus_frame("02 10 A0 43 00 01 02 00 05"), 1.0)
    assert said(device, 1.001) == b""
    assert said(device, 1.02) == b""
    assert said(device, 1.05) == modbus_frame("02 05 00 02 01 00 43 A0 10")


class Plug:
    """A pty without a kernel: what the host wrote, and what reached it."""

    is_open = True

    def __init__(self) -> None:
        self.written, self.heard = b"", b""

    def read(self) -> bytes:
        data, self.written = self.written, b""
        return data

    def write(self, data: bytes) -> int:
        self.heard += data
        return len(data)


@pytest.mark.parametrize("late_s", [0.001, 0.0037, 0.006, 0.02, 0.3])
def test_a_pump_that_comes_late_splits_no_request(modbus_frame: Frame, late_s: float) -> None:
    plug, device = Plug(), slave()
    port = SerialPort("inverter", cast("Pty", plug), 19_200, device, Trace())
    now = 1.0
    for _ in range(50):
        plug.written = modbus_frame("02 04 76 36 00 02")
        port.receive(now)
        until = now + 1.0
        while now < until:
            now += late_s
            port.pump(now)
    assert device.counted["bad_frames"] == 0
    assert plug.heard == modbus_frame("02 02 00 36 76 04") * 50


def test_a_real_pause_inside_a_request_ends_the_frame(modbus_frame: Frame) -> None:
    plug, device = Plug(), slave()
    port = SerialPort("inverter", cast("Pty", plug), 19_200, device, Trace())
    request = modbus_frame("02 04 76 36 00 02")
    for at, part in ((1.0, request[:4]), (1.02, request[4:])):
        plug.written = part
        port.receive(at)
    port.pump(2.0)
    assert plug.heard == b""
    assert device.counted["bad_frames"] == 2


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_break_the_slave(chunks: list[bytes]) -> None:
    device = slave()
    for n, chunk in enumerate(chunks):
        device.feed(chunk, 1.0 + n * 0.003)
        device.take(1.0 + n * 0.003)
    device.take(100.0)
    assert not device._buffer


def test_a_silent_inverter_neither_hears_nor_answers(modbus_frame: Frame) -> None:
    faults = Faults(8)
    device = slave(faults)
    device.feed(modbus_frame("02 04 76 36 00 02"), 1.0)
    faults.inject("inverter.silence", {})
    assert said(device, 1.1) == b""
    device.feed(modbus_frame("02 04 76 36 00 02"), 1.2)
    faults.heal("inverter.silence", {})
    assert said(device, 1.5) == b""


def test_a_delayed_reply_comes_late_and_whole(modbus_frame: Frame) -> None:
    faults = Faults(8)
    faults.inject("inverter.delay", {"min_s": 0.3, "max_s": 0.4})
    device = slave(faults)
    device.feed(modbus_frame("02 04 76 36 00 02"), 1.0)
    assert said(device, 1.29) == b""
    assert said(device, 1.41) == modbus_frame("02 02 00 36 76 04")


def test_a_corrupted_reply_differs_in_one_byte(modbus_frame: Frame) -> None:
    faults = Faults(8)
    faults.inject("inverter.corrupt", {"probability": 1.0})
    device = slave(faults)
    device.feed(modbus_frame("02 04 76 36 00 02"), 1.0)
    reply, right = said(device, 1.1), modbus_frame("02 02 00 36 76 04")
    assert sum(a != b for a, b in zip(reply, right, strict=True)) == 1


def test_the_labs_late_replies_are_one_in_a_hundred_and_never_two_within_three_seconds(modbus_frame: Frame) -> None:
    device = slave(profile="lab-2021")
    late, now = [], 0.0
    for _ in range(20_000):
        now += 0.6
        device.feed(modbus_frame("02 04 76 36 00 02"), now)
        if not said(device, now + 0.05):
            late.append(now)
            assert said(device, now + 0.51)
    assert 100 <= len(late) <= 220
    assert min(b - a for a, b in pairwise(late)) >= 3.0


def test_a_request_through_a_real_pty_is_answered_at_the_lines_pace(served: Make, modbus_frame: Frame) -> None:
    rig = served()
    with serial.Serial(rig.links["inverter"]["port"], 19_200, timeout=1) as port:
        port.write(modbus_frame("02 04 76 36 00 03"))
        reply = port.read(11)
        assert reply[:3] == b"\x02\x04\x06"
        assert reply == modbus_frame(reply[:-2].hex())
        assert struct.unpack(">H", reply[3:5])[0] == 0
        pack_raw = int(rig.control.get("pack.voltage_v") * 32.767)
        port.write(modbus_frame("02 04 76 37 00 01"))
        assert struct.unpack(">H", port.read(7)[3:5])[0] == pytest.approx(pack_raw, abs=1)
        port.write(modbus_frame("02 04 76 32 00 01"))
        assert port.read(5) == modbus_frame("02 84 02")
    rows = rig.control(trace="serial", since=0)["trace"]
    asked = next(row["t_mono"] for row in rows if row["from"] == "host")
    answered = next(row["t_mono"] for row in rows if row["from"] == "device")
    assert answered - asked >= (8 + 1) * 10 / 19_200


def test_an_unplugged_adapter_fails_at_the_host_and_comes_back_under_the_same_name(
    served: Make, eventually: Make, modbus_frame: Frame
) -> None:
    rig = served()
    name = rig.links["inverter"]["port"]
    with serial.Serial(name, 19_200, timeout=0.2) as port:
        assert rig.control(fault="inverter.unplug") == {"ok": True}
        with pytest.raises((serial.SerialException, OSError)):
            eventually(lambda: port.write(b"x") and port.read(1))
    with pytest.raises(serial.SerialException):
        serial.Serial(name, 19_200)
    assert rig.control(heal="inverter.unplug") == {"ok": True}
    with serial.Serial(name, 19_200, timeout=1) as port:
        port.write(modbus_frame("02 04 76 37 00 01"))
        assert len(port.read(7)) == 7
