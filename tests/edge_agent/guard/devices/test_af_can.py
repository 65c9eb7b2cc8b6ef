from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import can
import pytest

import dbc
from edge_agent.guard.codecs.can_frame import Frame, pack
from edge_agent.guard.codecs.dbc import groups, load
from edge_agent.guard.devices import af_can
from edge_agent.guard.devices.af_can import AfLink
from edge_agent.guard.devices.can_bus import CanBus
from edge_agent.guard.devices.python_can import PythonCanLink
from edge_agent.guard.model import Reading
from edge_agent.guard.ports import Arrival
from shared.errors import DeviceError

PDO1 = bytes.fromhex("00002e12aeaf1719")
Turn = Callable[..., list[Arrival]]


class FarEnd:
    """A bound datagram socket that knows who has connected."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(2.0)
        self.peer: str | bytes = b""

    def hear(self) -> bytes:
        data, self.peer = self.socket.recvfrom(64)
        return data

    def say(self, *packets: bytes) -> None:
        for packet in packets:
            self.socket.sendto(packet, self.peer)


@pytest.fixture
def far_end(tmp_path: Path) -> Iterator[FarEnd]:
    made = FarEnd(tmp_path / "bus")
    yield made
    made.socket.close()


@pytest.fixture
def link(far_end: FarEnd) -> Iterator[AfLink]:
    made = AfLink("unix", far_end.path, 500_000)
    made.open()
    made.send(0x080, b"\xff")
    far_end.hear()
    yield made
    made.close()
    made.close()


@pytest.fixture
def bus(far_end: FarEnd) -> Iterator[CanBus]:
    made = CanBus(
        groups(load(dbc.path()), r"BMU(?P<module>\d\d)_"),
        12,
        interface="unix",
        channel=far_end.path,
        sync_period_s=0.05,
    )
    made.open()
    yield made
    made.close()


def test_frames_come_with_their_length_and_flags(link: AfLink, far_end: FarEnd) -> None:
    far_end.say(pack(0x181, PDO1), pack(0x8A10_0101, b"\x01\x02"), pack(0x09C, b""))
    assert [frame[:2] for frame in link.receive(0.1)] == [(0x181, PDO1), (0x8A10_0101, b"\x01\x02"), (0x09C, b"")]


def test_a_sent_frame_is_a_linux_can_frame(link: AfLink, far_end: FarEnd) -> None:
    link.send(0x601, bytes(range(8)))
    assert far_end.hear() == bytes.fromhex("0106000008000000") + bytes(range(8))


def test_frames_are_stamped_when_the_kernel_got_them_not_when_they_are_read(link: AfLink, far_end: FarEnd) -> None:
    before = time.monotonic()
    far_end.say(pack(0x181, PDO1))
    after = time.monotonic()
    while time.monotonic() < after + 0.15:
        pass
    (frame,) = link.receive(0.0)
    assert before - 0.005 < frame[2] < after + 0.005


def test_a_stamp_of_a_stepped_clock_is_clamped_and_counted(
    link: AfLink, far_end: FarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(af_can.time, "time", lambda: now + 3600.0)
    far_end.say(pack(0x181, PDO1))
    (frame,) = link.receive(0.1)
    assert time.monotonic() - 1.1 < frame[2] <= time.monotonic()
    assert link.counted["stepped_stamps"] == 1


@pytest.mark.parametrize("jump_s", [90.0, -90.0, 25 * 365 * 86_400.0])
def test_a_frame_that_waits_while_the_clock_is_set_is_as_old_as_it_is(
    link: AfLink, far_end: FarEnd, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    far_end.say(pack(0x181, PDO1))
    link.receive(0.1)
    far_end.say(pack(0x182, PDO1))
    sent = time.monotonic()
    real = time.time
    monkeypatch.setattr(af_can.time, "time", lambda: real() + jump_s)
    (frame,) = link.receive(0.1)
    assert abs(frame[2] - sent) < 0.01
    assert link.counted["stepped_stamps"] == 1


def test_datagrams_that_are_no_frames_are_counted_and_the_rest_is_read(link: AfLink, far_end: FarEnd) -> None:
    far_end.say(b"", b"short", pack(0x181, PDO1), bytes(72))
    assert [frame[:2] for frame in link.receive(0.1)] == [(0x181, PDO1)]
    assert link.counted["malformed_frames"] == 3


def test_more_frames_than_one_call_takes_are_all_read(link: AfLink, far_end: FarEnd) -> None:
    found: list[Frame] = []
    for number in range(200):
        far_end.say(pack(0x181, number.to_bytes(8, "little")))
        if number % 10 == 9:
            found += link.receive(0.0)
    assert [int.from_bytes(data, "little") for _, data, _ in found] == list(range(200))


def test_a_silent_bus_costs_no_more_than_the_time_asked_for(link: AfLink) -> None:
    began = time.monotonic()
    assert link.receive(0.05) == []
    assert 0.04 < time.monotonic() - began < 0.2


def test_a_far_end_that_is_gone_is_noticed_when_sending(link: AfLink, far_end: FarEnd) -> None:
    far_end.socket.close()
    with pytest.raises(DeviceError, match="nobody listens"):
        link.send(0x080, b"\xff")


def test_frames_that_the_kernel_dropped_are_counted_since_the_start_and_over_a_new_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "can7" / "statistics" / "rx_dropped"
    said.parent.mkdir(parents=True)
    said.write_text("5\n")
    monkeypatch.setattr(af_can, "INTERFACES", tmp_path)
    link = AfLink("socketcan", "can7", 500_000)
    assert "dropped_frames" not in link.counters()
    for kernel, counted in (("12", 7), ("12", 7), ("0", 7), ("3", 10)):
        said.write_text(f"{kernel}\n")
        assert link.counters()["dropped_frames"] == counted
    said.unlink()
    assert link.counters()["dropped_frames"] == 10


def test_a_full_queue_of_the_far_end_is_counted_not_fatal(link: AfLink) -> None:
    for _ in range(1000):
        link.send(0x080, b"\xff")
    assert link.counted["send_failures"] > 0


def test_the_receive_buffer_is_enlarged(link: AfLink) -> None:
    link.close()
    assert int(link.open().rpartition("buffer ")[2].split()[0]) > 212_992


@pytest.mark.parametrize("interface", ["socketcan", "unix"])
def test_an_absent_bus_is_a_sentence(interface: str) -> None:
    with pytest.raises(DeviceError, match=r"is the adapter plugged in|has no SocketCAN|is the simulator running"):
        AfLink(interface, "nothing9", 500_000).open()


def test_a_closed_link_receives_nothing_and_refuses_to_send() -> None:
    closed = AfLink("unix", "nowhere", 500_000)
    assert closed.receive(0.0) == []
    with pytest.raises(DeviceError, match="closed"):
        closed.send(1, b"")


def test_sync_keeps_its_grid_however_long_the_turns_take(bus: CanBus, turn: Turn) -> None:
    arrivals = turn(bus, lambda found: len([one for one in found if one.source == "can"]) >= 12)
    stamps = [one.t_mono for one in arrivals if one.source == "can"]
    drift = [stamp - stamps[0] - round((stamp - stamps[0]) / 0.05) * 0.05 for stamp in stamps]
    assert abs(median(drift[:6]) - median(drift[6:])) < 0.02
    assert bus.counters()["cycles"] == len(stamps)


def test_frames_of_a_burst_are_handed_over_in_bundles(bus: CanBus, far_end: FarEnd, turn: Turn) -> None:
    turn(bus, bool)
    far_end.hear()
    far_end.say(*(pack(0x180 + module, PDO1) for module in range(1, 10)))
    arrivals = bus.read()
    assert [one.source for one in arrivals if type(one) is Reading] == [
        f"module-{number:02d}" for number in range(1, 10)
    ]


def test_a_line_of_an_slcan_adapter_that_is_no_frame_is_counted_and_the_next_is_read(cable: object) -> None:
    port: str = cable.port  # type: ignore[attr-defined]  # the fixture's class is not importable
    link = PythonCanLink("slcan", port, 500_000)
    link.open()
    cable.write(b"tZZZ8\rt1811\xff\xfe\rt1812AABB\r")  # type: ignore[attr-defined]  # as above
    found: list[Frame] = []
    deadline = time.monotonic() + 3.0
    try:
        while not found and time.monotonic() < deadline:
            found += link.receive(0.1)
    finally:
        link.close()
    assert [frame[:2] for frame in found] == [(0x181, b"\xaa\xbb")]
    assert link.counted["malformed_frames"] == 2


def test_extended_remote_and_error_frames_keep_their_flags_through_python_can() -> None:
    far_end = can.Bus(interface="virtual", channel="flags", ignore_config=True)
    link = PythonCanLink("virtual", "flags", 500_000)
    link.open()
    for message in (
        can.Message(arbitration_id=0x0A10_0101, is_extended_id=True, data=b"\x01"),
        can.Message(arbitration_id=0x181, is_extended_id=False, is_remote_frame=True),
        can.Message(arbitration_id=0x40, is_extended_id=False, is_error_frame=True),
    ):
        far_end.send(message)
    assert [frame[0] for frame in link.receive(0.5)] == [0x8A10_0101, 0x4000_0181, 0x2000_0040]
    link.send(0x8A10_0100, b"\x02")
    sent = far_end.recv(0.5)
    assert sent is not None
    assert (sent.arbitration_id, sent.is_extended_id, bytes(sent.data)) == (0x0A10_0100, True, b"\x02")
    link.close()
    far_end.shutdown()
