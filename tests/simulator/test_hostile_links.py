from __future__ import annotations

import os
import random
import socket
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Make = Callable[..., Any]


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A serial port without any settings of its own."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def pour(fd: int, chunk: bytes) -> None:
    try:
        os.write(fd, chunk)
    except BlockingIOError:
        return


def test_no_bytes_on_any_link_stop_the_simulator_or_move_an_output(served: Make, eventually: Make) -> None:
    rig = served(can="slcan")
    chance = random.Random(11)
    paths = [rig.links["can"]["channel"], rig.links["inverter"]["port"], rig.links["arduino"]["port"]]
    inverter_port = rig.simulation.inverter.pty
    with opened(paths[2]) as arduino:
        eventually(lambda: rig.control.get("arduino.lines") > 0)  # its bootloader would swallow the bytes
        for _ in range(10):
            with opened(paths[0]) as can, opened(paths[1]) as inverter:
                eventually(lambda: inverter_port.is_open)  # what opens and closes in one turn is never seen
                heard = {name: rig.control.get(name) for name in ("inverter.bad_frames", "arduino.bad")}
                for fd in (can, inverter, arduino):
                    pour(fd, chance.randbytes(2000))
                    pour(fd, b"#C,0badcafe,1,1C*0000\nt0808FF\r\x02\x06\xa0\x43\xff\xff\r\n")
                assert rig.control.get("circuit.closed") == 0
                for name, before in heard.items():
                    eventually(lambda name=name, before=before: rig.control.get(name) > before)
            eventually(lambda: not inverter_port.is_open)
    rows = rig.control(truth=True, since=0)["truth"]
    assert {row["what"] for row in rows} <= {"arduino.boot", "pump", "fan"}


def test_no_datagrams_stop_the_simulator(served: Make) -> None:
    rig = served(can="unix")
    chance = random.Random(12)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind("")
        host.settimeout(2)
        host.connect(rig.links["can"]["channel"])
        for size in (0, 1, 8, 15, 16, 17, 60, 64, 65, 5000) * 20:
            host.send(chance.randbytes(size))
    assert rig.control.get("circuit.closed") == 0


def test_what_the_host_writes_stays_raw_after_an_earlier_host_has_closed(served: Make, eventually: Make) -> None:
    rig = served()
    for _ in range(3):
        with opened(rig.links["inverter"]["port"]) as fd:
            assert not termios.tcgetattr(fd)[3] & (termios.ECHO | termios.ICANON)
            eventually(lambda: rig.simulation.inverter.pty.is_open)
        eventually(lambda: not rig.simulation.inverter.pty.is_open)
