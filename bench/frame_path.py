"""The figure `frame_path`: receive, decode and judge a frame, our direct path against python-can and cantools.

Both sides read from a datagram socket with kernel stamps, a handful of frames at a time, because such a queue holds no more;
only the CPU time of the reading side is counted, the best round of each: whatever else the machine does only adds. Values and
verdicts are compared before anything is timed.
"""

from __future__ import annotations

import math
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import cantools.database
from can.interfaces.socketcan.socketcan import capture_message

import dbc
from bench.figure import Figure
from edge_agent.config import EdgeConfig
from edge_agent.guard.codecs.can_frame import pack
from edge_agent.guard.codecs.canopen import SYNC_ID, Bmus
from edge_agent.guard.core_settings import core_settings, read_bus
from edge_agent.guard.devices.af_can import AfLink
from edge_agent.guard.devices.bulk_receive import SO_TIMESTAMPNS
from edge_agent.guard.model import Reading
from edge_agent.guard.safety.modules import PartJudge, Rows, part_checks
from edge_agent.guard.safety.rules import build
from edge_agent.guard.safety.trackers import Register
from shared.signals import module_source

GOAL = 2.5
MODULES, CELLS = 15, 12
BURST = 8
ROUNDS, CYCLES = 15, 20
LIMITS = {
    **{f"Cell_{cell}_Voltage": (2.80, 4.10) for cell in range(1, CELLS + 1)},
    **{f"CMA_Temp{sensor}": (5.0, 40.0) for sensor in range(1, 8)},
    "CMA_Voltage": (34.0, 48.0),
    "CMA_Min_Temp": (5.0, math.inf),
    "CMA_Max_Temp": (-math.inf, 40.0),
}
"""The rule of the other side: name → physical limits, touched is crossed."""
BASES = {1: 0x180, 2: 0x280, 3: 0x380, 4: 0x480, 5: 0x190, 6: 0x290, 7: 0x390, 8: 0x490}
EXACT = frozenset({60, 190})
QUIET = {
    1: bytes.fromhex("00002e12aeaf1719"),
    2: bytes.fromhex("0300006400000000"),
    3: bytes([174, 175, 173, 174, 175, 174, 174, 173]),
    4: bytes([174, 174, 175, 173, 0, 0, 0, 0]),
    5: bytes(8),
    6: bytes([23, 24, 25, 23, 24, 23, 24, 0]),
    7: bytes([120] * 8),
    8: bytes([120] * 4 + [0] * 4),
}


class Ours:
    """The direct receive path, the compiled decoders and the rule engine's screen."""

    def __init__(self, path: Path) -> None:
        config = EdgeConfig()
        bus = read_bus(config)
        settings = core_settings(config, bus)
        rows = Rows(settings, build(settings), Register())
        self.checks = {part: part_checks(rows, module_source(1), signals) for part, signals in bus.parts.items()}
        self._judges = {
            module_source(module): {part: PartJudge(checks, rows.register) for part, checks in self.checks.items()}
            for module in bus.groups
        }
        self._bmus = Bmus(bus.groups, CELLS)
        self._link = AfLink("unix", str(path), 500_000)
        self._link.open()
        self._link.send(SYNC_ID, b"\xff")

    def begin_cycle(self) -> None:
        """A SYNC: each PDO may come once more."""
        self._bmus.on_tick(time.monotonic())

    def judge_of(self, reading: Reading) -> PartJudge:
        """Who judges this reading."""
        return self._judges[reading.source][reading.part]

    def forget(self, reading: Reading) -> None:
        """Take back what the reading has moved in its judge."""
        self.judge_of(reading).busy = False
        for check in self.checks[reading.part]:
            for condition in check.conditions:
                condition.reset()

    def take(self) -> list[Reading]:
        """Receive, decode and judge what waits."""
        readings, judges = [], self._judges
        for arrival in self._bmus.on_frames(self._link.receive(0.0)):
            if type(arrival) is Reading:
                judges[arrival.source][arrival.part].judge(arrival)
                readings.append(arrival)
        return readings

    def close(self) -> None:
        """Give the socket back."""
        self._link.close()


class Theirs:
    """python-can's parser of a raw CAN socket, cantools, and limits in a dict."""

    def __init__(self, path: Path) -> None:
        parsed = cantools.database.load_file(dbc.path(), encoding="utf-8")
        assert isinstance(parsed, cantools.database.Database)
        self._db = parsed
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind("")
        self._socket.connect(str(path))
        self._socket.send(pack(SYNC_ID, b"\xff"))

    def take(self, count: int = BURST) -> list[tuple[dict[str, float], bool]]:
        """Receive, decode and judge `count` frames: values by name, and whether a limit is touched."""
        found = []
        for _ in range(count):
            message = capture_message(self._socket)
            assert message is not None
            values: Any = self._db.decode_message(message.arbitration_id, bytes(message.data))
            violated = False
            for name, value in values.items():
                limits = LIMITS.get(name)
                if limits is not None and not limits[0] < value < limits[1]:
                    violated = True
            found.append((values, violated))
        return found

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class Sender:
    """The far end of both sockets."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def peer(self) -> bytes | str:
        """The address of whoever has just connected."""
        address: bytes | str = self._socket.recvfrom(64)[1]
        return address

    def send(self, frames: Iterable[tuple[int, bytes]], peer: bytes | str) -> None:
        """Put frames into the peer's queue."""
        for can_id, data in frames:
            self._socket.sendto(pack(can_id, data), peer)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def figures() -> list[Figure]:
    """Measure both paths over the same frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bus")
        sender = Sender(path)
        ours = Ours(path)
        our_peer = sender.peer()
        theirs = Theirs(path)
        their_peer = sender.peer()
        try:
            _check_equal(sender, (ours, our_peer), (theirs, their_peer))
            rounds = [
                (
                    _seconds(sender, their_peer, theirs.take, lambda: None),
                    _seconds(sender, our_peer, ours.take, ours.begin_cycle),
                )
                for _ in range(ROUNDS)
            ]
        finally:
            for one in (ours, theirs, sender):
                one.close()
    ratio = min(theirs_s for theirs_s, _ in rounds) / min(ours_s for _, ours_s in rounds)
    versions = f"python-can {version('python-can')} + cantools {version('cantools')}"
    return [Figure("frame_path", ratio, GOAL, f"against {versions}, n={ROUNDS * CYCLES * MODULES * BURST} frames")]


def _cycle(random: Random) -> list[list[tuple[int, bytes]]]:
    """The frames of one SYNC cycle under load, module by module.

    Current, voltages and counters differ from the cycle before; temperatures, charge and status rarely do.
    """
    burst = {
        **QUIET,
        1: QUIET[1][:1] + random.randbytes(1) + bytes([random.randrange(40, 50)]) + QUIET[1][3:],
        3: bytes(random.randrange(170, 178) for _ in range(8)),
        4: bytes(random.randrange(170, 178) for _ in range(4)) + bytes(4),
        5: random.randbytes(8),
    }
    return [[(base + module, burst[pdo]) for pdo, base in BASES.items()] for module in range(1, MODULES + 1)]


def _seconds(sender: Sender, peer: bytes | str, take: Callable[[], object], begin: Callable[[], None]) -> float:
    spent = 0.0
    random = Random(2)
    for _ in range(CYCLES):
        begin()
        for burst in _cycle(random):
            sender.send(burst, peer)
            start = time.thread_time()
            take()
            spent += time.thread_time() - start
    return spent


def _check_equal(sender: Sender, ours: tuple[Ours, bytes | str], theirs: tuple[Theirs, bytes | str]) -> None:
    """Same values, same verdicts, on frames that touch limits and on quiet ones; exits saying where they differ."""
    random = Random(1)
    names = {part: [one.name for one in signals] for part, signals in read_bus(EdgeConfig()).parts.items()}
    for _ in range(200):
        module = random.randrange(1, MODULES + 1)
        burst = [(BASES[pdo] + module, _varied(pdo, random)) for pdo in (1, 3, 4, 6)]
        sender.send(burst, ours[1])
        sender.send(burst, theirs[1])
        ours[0].begin_cycle()
        for reading, (values, violated) in zip(ours[0].take(), theirs[0].take(len(burst)), strict=True):
            mine = dict(zip(names[reading.part], reading.values, strict=True))
            same = all(abs(float(mine[name] or 0.0) - value) <= 1e-9 for name, value in values.items())
            if not same or ours[0].judge_of(reading).busy != violated:
                raise SystemExit(f"frame_path: {reading} is not {values}, violated={violated}")
            ours[0].forget(reading)


def _varied(pdo: int, random: Random) -> bytes:
    """A quiet frame with one judged byte that may touch a limit.

    Not exactly: there the floats of the other side miss 2.80 V, which decodes to 2.8000000000000003.
    """
    data = bytearray(QUIET[pdo])
    place = random.choice(range(*{1: (6, 8), 3: (0, 8), 4: (0, 4), 6: (0, 7)}[pdo]))
    counts = (1, 60) if pdo in {1, 6} else (40, 250)
    data[place] = random.choice([count for count in range(*counts) if count not in EXACT])
    return bytes(data)
