"""`python -m tests.chaos.full_bus`: real minutes of a whole demo at a full bus; memory stays flat, every answer of the rig is stored."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cellguard.demo.closing import balanced
from collector.sinks.archive_reader import ArchiveReader, Selection
from edge_agent.guard.local import SOCKET_NAME as LOCAL_DOOR
from edge_agent.local_client import ask
from tests.chaos.memory import Readings
from tests.conftest import free_port

MODULES, SYNC_S = 15, 0.03
JUDGED = ("guard", "link", "collector")
ON_ITS_WAY = 2
"""Rows of a module that the readings at both ends may have cut: each asks the rig in the middle of a cycle."""
_EACH_S = 5.0
_END_S = 60.0
_STOPS = {"HOLD", "LATCHED"}


class Count(NamedTuple):
    """When (Unix µs) which module had answered how many SYNCs, by the rig's own count."""

    at_us: int
    answered: dict[str, int]


class Stored(NamedTuple):
    """What the archive holds: rows of each module between two moments, events by kind, states that are no work."""

    rows: Counter[str]
    events: Counter[str]
    stops: list[str]


def main() -> int:
    """A line for each program's memory, for the rows and for the books; 1 when anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.full_bus", description=__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the demo is ended too
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, counted from ready")
    with tempfile.TemporaryDirectory(prefix="full-bus-") as folder:
        return _run(Path(folder), parser.parse_args().minutes * 60)


def _run(folder: Path, seconds: float) -> int:
    command = [sys.executable, "-P", "-m", "cellguard", "demo", "--json", "--can=unix", f"--modules={MODULES}"]
    command += [f"--sync-period={SYNC_S}", f"--duration={seconds}", f"--data={folder}", f"--mqtt-port={free_port()}"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        ready = json.loads(demo.stdout.readline())
        readings = Readings(ready["pids"])
        counts = list(_watched(readings, Path(ready["simulator"]), seconds))
        health: Any = ask(Path(ready["simulator"]).with_name(LOCAL_DOOR), {"target": "status"}, 10.0)["health"]
        _say(f"guard's own count of rows {health['counters']['rows']}")
        books = json.loads(demo.stdout.readline())
        ended = demo.wait(_END_S)
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(_END_S)
    stored = _stored(folder / "archive", counts[0].at_us, counts[-1].at_us)
    return int(any([ended, _memory_moves(readings), _rows_differ(counts, stored), _stopped(stored, books)]))


def _watched(readings: Readings, control: Path, seconds: float) -> Iterator[Count]:
    """Memory and the rig's count every few seconds, until shortly before the demo ends by itself."""
    pause, end = threading.Event(), time.monotonic() + seconds - _EACH_S
    while time.monotonic() < end:
        readings.take()
        yield _answered(control)
        pause.wait(_EACH_S)


def _answered(control: Path) -> Count:
    names = [f"can.answered.module.{number}" for number in range(1, MODULES + 1)]
    with socket.socket(socket.AF_UNIX) as rig:
        rig.settimeout(10.0)
        rig.connect(str(control))
        rig.sendall(json.dumps({"get": names}).encode() + b"\n")
        with rig.makefile() as answers:
            values = json.loads(answers.readline())["get"]
    numbers = zip(range(1, MODULES + 1), names, strict=True)
    return Count(time.time_ns() // 1000, {f"module-{number:02d}": values[name] for number, name in numbers})


def _stored(archive: Path, since_us: int, until_us: int) -> Stored:
    found = Stored(Counter(), Counter(), [])
    for message in ArchiveReader(archive).messages(Selection()):
        body = orjson.loads(message.payload)
        if message.lane == "tele":
            found.rows[message.source] += sum(since_us < body["t0"] + offset <= until_us for offset in body["t"])
            continue
        found.events[message.source] += 1
        if message.source == "state" and body["to"] in _STOPS:
            found.stops.append(f"{body['from']} to {body['to']}: {body['why']}")
    return found


def _memory_moves(readings: Readings) -> bool:
    verdicts = readings.verdicts()
    for name, verdict in verdicts.items():
        _say(f"rss {name} {verdict}")
    return not all(verdicts[name].flat for name in JUDGED)


def _rows_differ(counts: list[Count], stored: Stored) -> bool:
    """Each module's rows between the first and the last reading, against what the rig has answered in between."""
    first, last = counts[0].answered, counts[-1].answered
    answered = {name: last[name] - first[name] for name in last}
    worst = max(abs(answered[name] - stored.rows[name]) for name in answered)
    rows = sum(stored.rows[name] for name in answered)
    _say(f"rows answered={sum(answered.values())} stored={rows} most_apart={worst} of a module")
    return worst > ON_ITS_WAY


def _stopped(stored: Stored, books: dict[str, Any]) -> bool:
    _say(f"events {dict(stored.events)} holds_and_trips={len(stored.stops)}")
    for sentence in stored.stops:
        _say(f"  {sentence}")
    _say(f"books {books}")
    return bool(stored.stops or books["gaps"] or books["unknown_gaps"] or not balanced(books))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
