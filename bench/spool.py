"""The figure `spool`: guard's packets made durable by the journal, against what a full bus needs; beside it a bare fdatasync loop."""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from random import Random

from bench.figure import Figure
from edge_agent.link.clock import Clock, Reading
from edge_agent.link.journal import Journal, RecordSettings
from edge_agent.link.spool import Spool
from shared import ipc
from shared.signals import ARDUINO, INVERTER

GOAL = 20.0
SECONDS = 40
ROUNDS = 3
_SYNC_HZ = 33
_SIGNALS = 38
"""Of a module with twelve cells and seven thermistors."""
_MODULES = {f"module-{number:02d}": tuple(f"signal_{index}" for index in range(_SIGNALS)) for number in range(1, 16)}
SOURCES = {
    **_MODULES,
    "inverter": tuple(one.name for one in INVERTER),
    "arduino": tuple(one.name for one in ARDUINO),
}
_RATES = {**dict.fromkeys(_MODULES, _SYNC_HZ), "inverter": 4, "arduino": 10}
NEED = sum(_RATES.values())
"""Rows a second of 15 modules at 33 Hz, the inverter and the Arduino."""


def seconds_of_packets(count: int) -> list[list[bytes]]:
    """What guard sends in each of so many seconds."""
    random, number, found = Random(1), 0, []
    for second in range(count):
        packets = []
        for source, (name, signals) in enumerate(SOURCES.items()):
            for index in range(_RATES[name]):
                number += 1
                values = tuple(round(random.uniform(3.6, 3.9), 2) for _ in signals)
                mono_us = second * 1_000_000 + index * 1_000_000 // _RATES[name]
                packets.append(ipc.pack_row(ipc.Row(number, mono_us, source, values, ())))
        found.append(packets)
    return found


def figures() -> list[Figure]:
    """Batches of one second, each durable before the next one."""
    batches = seconds_of_packets(SECONDS)
    ratios, against_bare, wear = [], [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            took_s, payload_bytes = _record(Path(folder) / "spool.sqlite", batches)
            bare_s = _bare(Path(folder) / "bare", payload_bytes // SECONDS)
        ratios.append(SECONDS / took_s)
        against_bare.append(bare_s / took_s)
        wear = payload_bytes
    text = (
        f"against a full bus of {NEED} rows/s, n={NEED * SECONDS} rows in {SECONDS} commits, SQLite {sqlite3.sqlite_version},"
        f" {statistics.median(against_bare):.2f} of a bare write + fdatasync loop of the same bytes,"
        f" {wear / SECONDS * 3600 / 1e6:.0f} MB of payload an hour"
    )
    return [Figure("spool", statistics.median(ratios), GOAL, text)]


def _record(path: Path, batches: list[list[bytes]]) -> tuple[float, int]:
    settings = RecordSettings(path, 2_000_000_000, 64_000_000, 1.0, ("pc-1",), "boot")
    with closing(Spool(path)) as spool:
        journal = Journal(spool, settings, Clock(Reading(0, 1_795_345_556_000_000, synced=True)))
        journal.hello("s", SOURCES)
        began = time.perf_counter()
        for packets in batches:
            journal.take(packets)
            journal.flush()
        took_s = time.perf_counter() - began
        if spool.books()["spooled"] != NEED * len(batches):
            raise SystemExit("the spool does not hold what was given")
    with closing(sqlite3.connect(path)) as db:
        return took_s, int(db.execute("SELECT sum(length(payload)) FROM messages").fetchone()[0])


def _bare(path: Path, size: int) -> float:
    block = b"x" * size
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(SECONDS):
            file.write(block)
            os.fdatasync(file.fileno())
    return time.perf_counter() - began
