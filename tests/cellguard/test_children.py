"""The demo's processes: no wrappers, restarted, stopped in order, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from cellguard.demo.children import RESTART_MIN_S, Children

SLEEPER = [sys.executable, "-c", "import signal; signal.sigwait([signal.SIGTERM])"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()",
]


class Stage:
    """Children with what they said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.pids = folder / "pids.json"
        self.children = Children(folder, self.pids, self.said.append)

    def turn(self) -> bool:
        self.children.supervise(time.monotonic())
        return True


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    running = Stage(tmp_path)
    yield running
    running.children.kill_all()


def test_the_process_is_the_program_itself_and_stands_in_pids_json(stage: Stage, wait_until: Any) -> None:
    stage.children.start("link", SLEEPER)
    pid = orjson.loads(stage.pids.read_bytes())["link"]

    assert pid == stage.children.pids()["link"]
    wait_until(lambda: psutil.Process(pid).cmdline() == SLEEPER, 5.0, "the tether to become the program")
    assert psutil.Process(pid).children() == []


def test_a_child_that_ends_is_started_again_after_half_a_second_and_that_is_said(stage: Stage, wait_until: Any) -> None:
    stage.children.start("link", SLEEPER)
    first = stage.children.pids()["link"]
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()

    wait_until(lambda: stage.turn() and stage.children.pids()["link"] != first, 5.0, "a new process")

    assert time.monotonic() - killed >= RESTART_MIN_S
    assert stage.said[0].startswith("link ended (SIGKILL), starting again in 0.5 s")
    assert orjson.loads(stage.pids.read_bytes()) == stage.children.pids()


def test_a_child_that_keeps_ending_waits_longer_each_time_up_to_five_seconds(stage: Stage) -> None:
    stage.children.start("link", [sys.executable, "-c", "raise SystemExit('no broker')"])
    link, deadline = stage.children._children["link"], time.monotonic() + 30
    while len(stage.said) < 6 and time.monotonic() < deadline:
        stage.children.supervise(link.due or link.started)  # no pause is really waited for

    delays = [float(sentence.partition("again in ")[2].partition(" s")[0]) for sentence in stage.said]

    assert delays[:6] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert "its last words: no broker" in stage.said[0]


def test_stop_insists_when_asking_does_not_help(stage: Stage, wait_until: Any) -> None:
    stage.children.start("stubborn", STUBBORN)
    pid = stage.children.pids()["stubborn"]
    wait_until(lambda: stage.children.output("stubborn").read_bytes(), 5.0, "it to be up")

    stage.children.stop("stubborn", 0.2)

    assert not psutil.pid_exists(pid)
    assert "was killed" in stage.said[0]
    assert stage.turn()
    assert stage.children.pids() == {}


def test_the_exit_code_of_a_refused_configuration_is_remembered(stage: Stage, wait_until: Any) -> None:
    stage.children.start("guard", [sys.executable, "-c", "raise SystemExit(78)"])

    wait_until(lambda: stage.turn() and stage.children.ended_with(78) == "guard", 5.0, "the exit code")
    assert stage.children.ended_with(1) is None


PARENT = """
import pathlib, sys, time
from cellguard.demo.children import Children
folder = pathlib.Path(sys.argv[1])
children = Children(folder, folder / "pids.json", print)
children.start("a", [sys.executable, "-c", "import signal; signal.pause()"])
print("up", flush=True)
time.sleep(60)
"""


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path, wait_until: Any) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    pid = orjson.loads((tmp_path / "pids.json").read_bytes())["a"]
    wait_until(lambda: "tether.py" not in " ".join(psutil.Process(pid).cmdline()), 5.0, "the child to be itself")

    parent.kill()
    parent.wait(5)
    parent.stdout.close()

    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 5.0, "the child to die")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
