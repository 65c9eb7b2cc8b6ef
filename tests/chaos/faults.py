"""The faults of the chaos runner: one function each, which does it, waits, and heals it again before it returns."""

from __future__ import annotations

import contextlib
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from bench.influx_front import Fault as StoreFault
from tests.chaos.rig import Rig

if TYPE_CHECKING:
    from bench.influx_front import Front

KILLED = ("link", "link", "link", "collector", "collector", "collector", "broker", "broker", "broker", "guard")
"""How often each is chosen; guard at most `GUARD_KILLS` times a round, for what it had not sent is gone with it."""
GUARD_KILLS = 2
_pause = threading.Event()


class Scene(NamedTuple):
    """What a fault acts on. `guard_kills`: CLOCK_MONOTONIC of each kill of the guard; `front` stands before InfluxDB."""

    rig: Rig
    random: Random
    guard_kills: list[float]
    front: Front | None


def kill(scene: Scene) -> str:
    """kill -9 of one program; sometimes of a second one right after it."""
    name = scene.random.choice(KILLED)
    if name == "guard" and len(scene.guard_kills) >= GUARD_KILLS:
        name = "link"
    when = scene.rig.signal(name, signal.SIGKILL)
    if name == "guard":
        scene.guard_kills.append(when)
    _pause.wait(scene.random.choice((0.0, 0.02, 0.3, 0.8, 1.5)))
    return f"kill {name}"


def freeze(scene: Scene) -> str:
    """SIGSTOP for a while."""
    name = scene.random.choice(("link", "collector", "broker"))
    scene.rig.signal(name, signal.SIGSTOP)
    _pause.wait(scene.random.uniform(0.3, 2.5))
    scene.rig.signal(name, signal.SIGCONT)
    return f"freeze {name}"


def cut(scene: Scene) -> str:
    """Reset the connections of one side and refuse new ones for a while."""
    name = scene.random.choice(("link", "collector"))
    scene.rig.wires[name].cut()
    _pause.wait(scene.random.uniform(0.2, 2.0))
    scene.rig.wires[name].open()
    return f"cut {name}"


def half_open(scene: Scene) -> str:
    """Nothing passes and nothing ends; afterwards what was under way comes late, or not at all."""
    name = scene.random.choice(("link", "collector"))
    scene.rig.wires[name].hole()
    _pause.wait(scene.random.uniform(0.5, 4.0))
    scene.rig.wires[name].open(reset=scene.random.random() < 0.5)
    return f"half-open {name}"


def slow(scene: Scene) -> str:
    """16 kbit/s for a while: less than is produced."""
    name = scene.random.choice(("link", "collector"))
    scene.rig.wires[name].slow(2000)
    _pause.wait(scene.random.uniform(1.0, 5.0))
    scene.rig.wires[name].slow(0)
    return f"slow {name}"


def disk_full(scene: Scene) -> str:
    """Writes of one program fail, as on a full disk."""
    name = scene.random.choice(("link", "collector"))
    with _quota(scene.rig.pid(name)):
        _pause.wait(scene.random.uniform(0.5, 2.0))
    return f"disk full {name}"


@contextmanager
def _quota(pid: int) -> Iterator[None]:
    unlimited = resource.RLIM_INFINITY
    with contextlib.suppress(ProcessLookupError):  # it may be dead at this moment
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, unlimited))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


def store_trouble(scene: Scene) -> str:
    """The store refuses: the archive's file is locked, or InfluxDB answers errors, slowly, or not at all after storing."""
    if scene.front is not None:
        kinds = (
            StoreFault(503),
            StoreFault(429, {"Retry-After": "1"}),
            StoreFault(reset=True),
            StoreFault(delay_s=1.5),
        )
        scene.front.faults.extend(scene.random.choices(kinds, k=3))
        return "store errors"
    path = scene.rig.folders.archive / "archive.sqlite"
    deadline = time.monotonic() + scene.random.uniform(0.5, 6.5)
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=2.0)) as db,
        contextlib.suppress(sqlite3.OperationalError),
    ):
        db.execute("BEGIN EXCLUSIVE")
        _pause.wait(deadline - time.monotonic())
        db.execute("ROLLBACK")
    return "store locked"


OTHERS: tuple[Callable[[Scene], str], ...] = (freeze, cut, half_open, slow, disk_full, store_trouble)


def programme(random: Random, kills: int, others: int) -> list[Callable[[Scene], str]]:
    """So many kills and other faults in an order drawn from the seed; every kind of fault occurs when there is room."""
    drawn = [*random.sample(OTHERS, k=min(others, len(OTHERS)))]
    drawn += random.choices(OTHERS, k=others - len(drawn))
    found = [*[kill] * kills, *drawn]
    random.shuffle(found)
    return found
