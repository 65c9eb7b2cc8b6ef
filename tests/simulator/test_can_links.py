from __future__ import annotations

import socket
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import can
import pytest
import serial

Make = Callable[..., Any]
FRAME = struct.Struct("=IB3x8s")
SYNC = FRAME.pack(0x80, 1, b"\xff")
UNSTUFFED_BITS = 111


@contextmanager
def slcan_bus(rig: Any) -> Iterator[can.BusABC]:
    """python-can's slcan on the simulator's pty, whatever becomes of it."""
    link = rig.links["can"]
    bus = can.Bus(interface="slcan", channel=link["channel"], bitrate=link["bitrate"], sleep_after_open=0)
    try:
        yield bus
    finally:
        try:
            bus.shutdown()
        except can.CanError:
            bus.serialPortOrig.close()


def received(bus: can.BusABC, count: int, seconds: float = 3.0) -> list[can.Message]:
    end = time.monotonic() + seconds
    got: list[can.Message] = []
    while len(got) < count and time.monotonic() < end:
        message = bus.recv(0.05)
        if message is not None:
            got.append(message)
    return got


def sync(bus: can.BusABC) -> None:
    bus.send(can.Message(arbitration_id=0x80, data=[0xFF], is_extended_id=False))


def test_python_can_reads_the_modules_over_slcan(served: Make) -> None:
    rig = served(can="slcan")
    with slcan_bus(rig) as bus:
        sync(bus)
        got = received(bus, 10)
        assert [message.arbitration_id for message in got][:2] == [0x181, 0x182]
        assert len(got) == 10
        assert got[0].dlc == 8
        assert int.from_bytes(got[0].data[2:4], "little") == 4500
        bus.send(can.Message(arbitration_id=0x601, data=bytes.fromhex("2F05180100000000"), is_extended_id=False))
        assert received(bus, 1)[0].arbitration_id == 0x581
    assert rig.control.get("can.answered.module.1") == 1
    assert rig.control.get("can.sent.module.2") == 5


def test_an_unplugged_slcan_adapter_fails_at_the_host_and_comes_back(served: Make) -> None:
    rig = served(can="slcan")
    with slcan_bus(rig) as bus:
        assert rig.control(fault="can.unplug") == {"ok": True}

        def use() -> None:
            while True:
                sync(bus)
                bus.recv(0.01)

        with pytest.raises((can.CanError, serial.SerialException)):
            use()
    assert rig.control(heal="can.unplug") == {"ok": True}
    with slcan_bus(rig) as bus:
        sync(bus)
        assert len(received(bus, 10)) == 10


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"V", b"V1013\r"),
        (b"N", b"NSIM1\r"),
        (b"F", b"F00\r"),
        (b"", b"\r"),
        (b"S6", b"\r"),
        (b"t08", b"\a"),
        (b"t0801", b"\a"),
        (b"t0801FF", b"\a"),
        (b"?", b"\a"),
        (b"x" * 500, b"\a"),
    ],
)
def test_a_closed_adapter_answers_control_commands_and_refuses_frames(
    served: Make, command: bytes, answer: bytes
) -> None:
    rig = served(can="slcan")
    with serial.Serial(rig.links["can"]["channel"], timeout=1) as port:
        port.write(command + b"\r")
        assert port.read(len(answer)) == answer


def test_an_adapter_at_another_bit_rate_carries_nothing(served: Make) -> None:
    rig = served(can="slcan")
    with serial.Serial(rig.links["can"]["channel"], timeout=0.2) as port:
        port.write(b"S5\rO\rt0801FF\r")
        assert port.read(100) == b"\r\r\a"
        port.write(b"C\rS6\rO\rt0801FF\r")
        assert port.read(6) == b"\r\r\rz\rt"


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    """A host's own datagram socket, not yet connected."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
        mine.bind("")
        mine.settimeout(2)
        yield mine


def test_unix_datagrams_carry_can_frames_to_whoever_wrote_last(served: Make, datagrams: socket.socket) -> None:
    rig = served(can="unix", modules=15)
    assert rig.links["can"]["interface"] == "unix"
    datagrams.connect(rig.links["can"]["channel"])
    datagrams.send(SYNC)
    got = [FRAME.unpack(datagrams.recv(64)) for _ in range(75)]
    assert [can_id for can_id, _, _ in got] == sorted(can_id for can_id, _, _ in got)
    assert {length for _, length, _ in got} == {8}
    assert rig.control(get=["can.dropped", "can.sent"])["get"] == {"can.dropped": 0, "can.sent": 75}


def test_datagrams_that_are_no_frames_are_ignored(served: Make, datagrams: socket.socket) -> None:
    rig = served(can="unix")
    datagrams.connect(rig.links["can"]["channel"])
    for raw in (b"x", b"", FRAME.pack(0x80, 9, b""), FRAME.pack(0x40000080, 0, b""), SYNC + b"more"):
        datagrams.send(raw)
    datagrams.send(SYNC)
    assert FRAME.unpack(datagrams.recv(64))[0] == 0x181
    assert rig.control.get("can.heard") == 1


def test_a_host_that_does_not_read_loses_the_oldest_frames_and_they_are_counted(
    served: Make, datagrams: socket.socket, eventually: Make
) -> None:
    rig = served(can="unix")
    datagrams.connect(rig.links["can"]["channel"])
    datagrams.send(SYNC)
    rig.control(fault="can.flood", id=0x7F0, rate=20_000)
    eventually(lambda: rig.control.get("can.dropped") > 0)
    rig.control(heal="can.flood")
    assert rig.control.get("circuit.closed") == 0


def test_a_flood_of_id_0_fills_the_wire_and_lets_no_module_answer(served: Make, datagrams: socket.socket) -> None:
    rig = served(can="unix")
    datagrams.connect(rig.links["can"]["channel"])
    datagrams.send(SYNC)
    assert FRAME.unpack(datagrams.recv(64))[0] == 0x181
    rig.control(fault="can.flood", id=0, rate=6000)
    while FRAME.unpack(datagrams.recv(64))[0] != 0:
        pass
    began = time.monotonic()
    datagrams.send(SYNC)
    seen = [FRAME.unpack(datagrams.recv(64)) for _ in range(4000)]
    lasted_s = time.monotonic() - began
    assert {(can_id, length) for can_id, length, _ in seen} == {(0, 8)}
    assert len(seen) * UNSTUFFED_BITS / (500_000 * lasted_s) > 0.9  # 111 of the 115 bits that a frame holds the bus
    assert rig.control.get("can.answered.module.1") == 1


def test_an_unplugged_unix_bus_refuses_the_host_and_comes_back(served: Make, datagrams: socket.socket) -> None:
    rig = served(can="unix")
    datagrams.connect(rig.links["can"]["channel"])
    assert rig.control(fault="can.unplug") == {"ok": True}
    with pytest.raises(OSError, match="refused"):
        datagrams.send(SYNC)
    assert rig.control(heal="can.unplug") == {"ok": True}
    datagrams.connect(rig.links["can"]["channel"])
    datagrams.send(SYNC)
    assert FRAME.unpack(datagrams.recv(64))[0] == 0x181


def test_python_cans_parser_is_content_with_the_datagrams(served: Make, datagrams: socket.socket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from can.interfaces.socketcan.socketcan import capture_message  # noqa: PLC0415 (warns without AF_CAN)

    rig = served(can="unix")
    datagrams.connect(rig.links["can"]["channel"])
    datagrams.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    datagrams.send(SYNC)
    message = capture_message(datagrams)
    assert message is not None
    assert message.arbitration_id == 0x181
    assert len(message.data) == 8
