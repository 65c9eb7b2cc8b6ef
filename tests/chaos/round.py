"""One round of chaos: start everything, hurt it as the seed says, heal, drain, and compare what was sent with what is stored."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.influx_front import Front
from bench.influxd import PROGRAM, Influxd
from cellguard.demo.closing import SPOOL_NAME
from edge_agent.link.books import books
from shared.errors import Unavailable
from tests.chaos import faults, ledger, minutes, store
from tests.chaos.rig import CELLS, MODULES, Rig, until

BUCKET = "chaos"
DRAIN_S = 40.0
_SETTLE_S, _WIGGLE_S, _CURRENT_S = 2.0, 0.15, 2.5


class Result(NamedTuple):
    """What one seed did and found; `wrong` are sentences, none when all is well."""

    seed: int
    kills: int
    faults: int
    lost: int
    double: int
    found: ledger.Verdict
    seconds: float
    wrong: list[str]

    def __str__(self) -> str:
        return (
            f"seed={self.seed} kills={self.kills} faults={self.faults} rows={self.found.rows}"
            f" cells={self.found.cells} lost={self.lost} double={self.double} unknown={self.found.unknown}"
            f" bunched={self.found.bunched} seconds={self.seconds:.0f}"
        )


def play(
    seed: int, kills: int = 11, others: int = 6, *, influx: bool = False, say: Callable[[str], None] = str
) -> Result:
    """Play the round of a seed. `influx`: store in a real InfluxDB engine instead of the archive."""
    began = time.monotonic()
    random = Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        with _engine(folder, wanted=influx) as front:
            settings = None
            if front is not None:
                front.engine.create(BUCKET)
                settings = {
                    "url": front.url,
                    "org": front.org,
                    "bucket": BUCKET,
                    "token": front.token,
                    "read_token": front.read_token,
                    "timeout_s": 1.0,
                }
            rig = Rig(folder, seed, settings)
            try:
                scene = faults.Scene(rig, random, [], front)
                hurt = _hurt(scene, faults.programme(random, kills, others), say)
                found = _judged(scene)
            finally:
                rig.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found._replace(
        seed=seed, kills=hurt.count("kill"), faults=len(hurt) - hurt.count("kill"), seconds=time.monotonic() - began
    )


def to_stderr(line: str) -> None:
    """For `say`."""
    sys.stderr.write(f"{line}\n")


@contextlib.contextmanager
def _engine(folder: Path, *, wanted: bool) -> Iterator[Front | None]:
    if not wanted or PROGRAM is None:
        yield None
        return
    (folder / "influxd").mkdir()
    with Influxd(folder / "influxd") as engine, Front(engine) as front:
        yield front


def _hurt(scene: faults.Scene, programme: list[Callable[[faults.Scene], str]], say: Callable[[str], None]) -> list[str]:
    """Carry out the faults while the cells move; the first word of each."""
    done = []
    spool = scene.rig.folders.data / "state" / SPOOL_NAME
    until(lambda: _released(spool) > 0, "the first receipt")
    with _wiggling(scene.rig, scene.random.random()):
        for fault in programme:
            words = fault(scene)
            say(f"{time.monotonic():.2f} {words}")
            done.append(words.split()[0])
            threading.Event().wait(scene.random.uniform(0.05, 0.5))
        threading.Event().wait(_SETTLE_S)
    return done


@contextlib.contextmanager
def _wiggling(rig: Rig, start: float) -> Iterator[None]:
    """Pin another cell to another voltage all the time, so that no two rows are alike."""
    ended = threading.Event()

    def wiggle() -> None:
        random = Random(start)
        while not ended.wait(_WIGGLE_S):
            module, cell = random.randint(1, MODULES), random.randint(1, CELLS)
            rig.ask(set={f"module.{module}.cell.{cell}.voltage_v": round(random.uniform(3.6, 3.9), 2)})

    thread = threading.Thread(target=wiggle, name="wiggle")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _judged(scene: faults.Scene) -> Result:
    """Drain and compare."""
    rig, state = scene.rig, scene.rig.folders.data / "state" / SPOOL_NAME
    if scene.front is not None:
        scene.front.faults.clear()
    wrong = []
    # what only a guard's memory holds ends with it: link must have caught up before
    until(
        _lasting(lambda: time.time() - _newest(state) < _CURRENT_S, _CURRENT_S + 1.0),
        "link to catch up with guard",
        DRAIN_S,
    )
    ended = time.monotonic()
    rig.end("guard")
    trace = rig.ask(trace="can", since=0.0)["trace"]
    try:
        # link commits in batches: the spool may look empty too early
        until(_lasting(lambda: _spooled(state) == 0, _SETTLE_S), "the spool to empty", DRAIN_S)
    except TimeoutError as error:
        wrong.append(f"{error}: {_spooled(state)} are left")
    if scene.front is not None:
        wrong += minutes.wrong(scene.front.engine, BUCKET)
    wrong += [f"{name} did not end by itself with 0" for name in ("link", "collector") if rig.end(name) != 0]
    stored = (
        store.of_archive(rig.folders.archive) if scene.front is None else store.of_influx(scene.front.engine, BUCKET)
    )
    wrong += _unbalanced(books(state), stored, scene)
    verdict = ledger.judge(trace, stored.rows, ledger.Ends(scene.guard_kills, ended, _offset_us()))
    wrong += [*verdict.lost[:5], *verdict.wrong[:5], *stored.double[:5]]
    lost = len(verdict.lost) + len(verdict.wrong)
    return Result(0, 0, 0, lost, len(stored.double), verdict, 0.0, wrong)


def _unbalanced(own: dict[str, int], stored: store.Stored, scene: faults.Scene) -> list[str]:
    """What is wrong with the books. Numbers known to be lost (`gaps`) can only come from a guard that was killed."""
    wrong = []
    if own["produced"] != stored.units + own["gaps"] + own["quarantined"] + own["spooled"] and scene.front is None:
        wrong.append(f"the books do not balance: {own}, stored {stored.units}")
    if own["quarantined"] or (own["gaps"] and not scene.guard_kills):
        wrong.append(f"gaps or quarantine without a reason: {own}")
    if own["unknown_gaps"] > len(scene.guard_kills):
        wrong.append(f"{own['unknown_gaps']} unknown gaps, guard was killed {len(scene.guard_kills)} times")
    return wrong


def _lasting(condition: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Whether the condition has held for a while without a break."""
    since = time.monotonic()

    def look() -> bool:
        nonlocal since
        if not condition():
            since = time.monotonic()
        return time.monotonic() - since > seconds

    return look


def _offset_us() -> int:
    """From CLOCK_MONOTONIC to Unix time; of a few readings the one that was interrupted least."""
    tries = []
    for _ in range(5):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after - before, real - (before + after) // 2))
    return min(tries)[1] // 1000


def _newest(spool: Path) -> float:
    """Unix time of the newest row in the spool."""
    try:
        with contextlib.closing(sqlite3.connect(f"{spool.as_uri()}?mode=ro", uri=True, timeout=2.0)) as db:
            return float(db.execute("SELECT max(t_to) FROM messages WHERE lane = 'tele'").fetchone()[0] or 0) / 1e6
    except sqlite3.Error:
        return 0.0


def _spooled(path: Path) -> int:
    return _books(path).get("spooled", -1)


def _released(path: Path) -> int:
    return _books(path).get("released", 0)


def _books(path: Path) -> dict[str, int]:
    try:
        return books(path) if path.is_file() else {}
    except Unavailable:
        return {}  # it is being made, or locked at this moment
