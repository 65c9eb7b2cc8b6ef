"""`python -m tests.chaos.day`: a day of records through link, mosquitto and collector in minutes; their memory must stay flat."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from cellguard import toml
from cellguard.demo.broker import broker_command, find_mosquitto
from cellguard.demo.plan import Options, collector_settings, edge_settings, make_folders
from collector.sinks.archive_file import FILE_NAME
from collector.sinks.archive_reader import count_rows
from edge_agent.link.books import books
from tests.chaos.memory import Readings
from tests.conftest import free_port, wait_for
from tests.edge_agent.link.conftest import Guard

DAY_S, SYNC_HZ, MODULES, SIGNALS = 86_400, 5, 8, 38
_READY = 5000
"""Rows drawn once and sent again and again."""


def main() -> int:
    """One line on the memory of each program, and the books; 1 when it is not flat (`memory`) or they do not balance."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.day", description=__doc__)
    parser.add_argument("--speed", type=float, default=120.0, help="how many times as fast as it happens")
    parser.add_argument("--seconds", type=int, default=DAY_S, help="how much of a day")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), given.speed, given.seconds)


def _run(folder: Path, speed: float, seconds: int) -> int:
    folders = make_folders(folder)
    options = Options(modules=MODULES, port=free_port())
    links = {"can": {"interface": "unix", "channel": "none"}, "inverter": {"port": "none"}, "arduino": {"port": "none"}}
    edge, store = edge_settings(options, folders, links), collector_settings(options, folders)
    store["archive"]["max_mb"], edge["spool"] = 100, {"max_mb": 64, "reserved_mb": 8}  # both caps are reached
    folders.edge_toml.write_text(toml.dumps(edge))
    folders.collector_toml.write_text(toml.dumps(store))
    guard = Guard(folders.run / "guard.sock")
    guard.sources = [{"name": f"module-{n:02d}", "signals": [f"s{k}" for k in range(SIGNALS)]} for n in range(1, 9)]
    cellguard = [sys.executable, "-P", "-m", "cellguard"]
    processes = {
        "broker": subprocess.Popen(broker_command(options.port, folders.data, find_mosquitto()), stderr=-3),
        "collector": subprocess.Popen([*cellguard, "collector", "run", "--config", folders.collector_toml], stderr=-3),
        "link": subprocess.Popen([*cellguard, "edge", "link", "--config", folders.edge_toml], stderr=-3),
    }
    try:
        wait_for(lambda: guard.connections > 0, 30, "link")
        readings = Readings({name: process.pid for name, process in processes.items()})
        _feed(guard, speed, seconds, readings)
        wrong = _told(readings)
        spool = folders.data / "state" / "spool.sqlite"
        wait_for(
            lambda: guard.released == guard.next - 1,
            60,
            lambda: f"{guard.next - 1 - guard.released} rows to be durable",
        )
        wait_for(lambda: books(spool)["spooled"] == 0, 120, "the drain")
        return int(wrong | _unbalanced(books(spool), folders.archive))
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
        guard.close()


def _feed(guard: Guard, speed: float, seconds: int, readings: Readings) -> None:
    """Rows and an alarm a minute at that speed; the memory of each program is read 200 times."""
    random = Random(1)
    rows = [tuple(round(random.uniform(3.6, 3.9), 2) for _ in range(SIGNALS)) for _ in range(_READY)]
    began = time.monotonic()
    for second in range(seconds):
        for number in range(MODULES * SYNC_HZ):
            guard.row(number % MODULES, rows[(second * 41 + number) % _READY])
        if second % 60 == 0:
            guard.event("alarm", alarm=f"test.alarm-{second % 7}", level="WARNING", state="active")
        if second % max(1, seconds // 200) == 0:
            readings.take()
        while (ahead := began + (second + 1) / speed - time.monotonic()) > 0 or len(guard.ring) > 60_000:
            signal.sigtimedwait([], max(ahead, 0.01))


def _told(readings: Readings) -> bool:
    """Print how flat each was; whether one was not."""
    verdicts = readings.verdicts()
    for name, verdict in verdicts.items():
        sys.stdout.write(f"rss {name} {verdict}\n")
    sys.stdout.flush()
    return not all(verdict.flat for verdict in verdicts.values())


def _unbalanced(own: dict[str, int], archive: Path) -> bool:
    """Print the books; whether a record is missing: produced = released by link = in the archive, and what its cap took."""
    with contextlib.closing(sqlite3.connect(archive / FILE_NAME)) as db:
        (taken,) = db.execute("SELECT COALESCE(SUM(rows), 0) FROM dropped").fetchone()
    kept = sum(count_rows(archive).values())
    sys.stdout.write(f"books {own} archive holds {kept}, its cap took {taken}\n")
    return own["gaps"] > 0 or own["produced"] != own["released"] or own["produced"] != kept + taken


if __name__ == "__main__":
    sys.exit(main())
