"""`cellguard edge` and `cellguard local` as people type them: exit codes, every violation said, processes kept running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.local_client import NoAnswer

WaitUntil = Callable[..., object]

SUPERVISED = """
import sys
from edge_agent.supervise import run
sys.exit(run({name: [sys.executable, "-c", code] for name, code in zip(("guard", "link"), sys.argv[1:])}))
"""
NOTE = "import os, pathlib; pathlib.Path({path!r}).open('a').write(f'{{os.getpid()}}\\n')"
FOR_EVER = "\nimport signal; signal.pause()"


def cellguard(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cellguard", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **(env or {})}
    )


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "edge.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_check_prints_what_is_in_force_and_says_what_is_absent(written: Callable[[str], Path]) -> None:
    done = cellguard("edge", "check", "--config", written('[inverter]\nport = "/dev/none"\n[pack]\nseries = 4\n'))
    assert done.returncode == 0
    assert "series = 4" in done.stdout
    assert "note: [inverter] port: /dev/none is absent now" in done.stderr
    assert "warning: [schedule] folder" in done.stderr


def test_check_warns_of_a_port_that_is_only_a_number(written: Callable[[str], Path]) -> None:
    done = cellguard("edge", "check", "--json", "--config", written('[inverter]\nport = "/dev/ttyUSB0"\n'))
    named = [line for line in json.loads(done.stdout)["warnings"] if "/dev/serial/by-id" in line]
    assert (done.returncode, [line.split(":")[0] for line in named]) == (0, ["[inverter] port"])


def test_check_with_json_prints_one_object(written: Callable[[str], Path]) -> None:
    done = cellguard("edge", "check", "--json", "--config", written("[pack]\nseries = 4\n"))
    body = json.loads(done.stdout)
    assert body["ok"]
    assert body["config"]["pack"]["series"] == 4


def test_check_names_every_violation_and_exits_78(written: Callable[[str], Path]) -> None:
    path = written("[pack]\nseries = 99\n[can]\nbitrat = 5\n[safety]\nhold_s = 0\n")
    done = cellguard("edge", "check", "--config", path)
    assert done.returncode == 78
    for sentence in ("[pack] series: given 99", "did you mean bitrate", "[safety] hold_s"):
        assert sentence in done.stderr
    assert len(json.loads(cellguard("edge", "check", "--json", "--config", path).stdout)["errors"]) == 3


def test_limits_that_contradict_each_other_exit_78_at_check_and_at_start(written: Callable[[str], Path]) -> None:
    path = written("[limits.cell_voltage]\nwarning = [2.8, 4.1]\ndanger = [2.7, 4.0]\n")
    for words in (("edge", "check"), ("edge", "guard")):
        done = cellguard(*words, "--config", path)
        assert done.returncode == 78
        assert "[limits.cell_voltage] danger" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_absent_dbc_passes_the_check_and_stops_the_start(written: Callable[[str], Path]) -> None:
    path = written("[can]\ndbc = 'none.dbc'\n")
    assert cellguard("edge", "check", "--config", path).returncode == 0
    started = cellguard("edge", "guard", "--config", path)
    assert started.returncode == 78
    assert "none.dbc" in started.stderr


def test_overlays_and_environment_are_taken(written: Callable[[str], Path], tmp_path: Path) -> None:
    overlay = tmp_path / "over.toml"
    overlay.write_text("[pack]\nseries = 3\n")
    env = {"CELLGUARD_PACK__CELLS": "10"}
    done = cellguard("edge", "check", "--json", "--config", written(""), "--overlay", overlay, env=env)
    assert json.loads(done.stdout)["config"]["pack"] == {"series": 3, "cells": 10}


def test_a_file_that_is_not_there_exits_78(tmp_path: Path) -> None:
    done = cellguard("edge", "check", "--config", tmp_path / "none.toml")
    assert done.returncode == 78
    assert "none.toml" in done.stderr


def test_local_without_a_guard_exits_69(tmp_path: Path) -> None:
    done = cellguard("local", "estop", "--socket", tmp_path / "none.sock")
    assert done.returncode == 69
    assert "is it running" in done.stderr


def test_local_send_refuses_what_is_no_object(tmp_path: Path) -> None:
    done = cellguard("local", "send", "pump", "[1]", "--socket", tmp_path / "none.sock")
    assert done.returncode == 2
    assert "no JSON object" in done.stderr


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("rejected", 3), ("failed", 1), ("expired", 1)])
def test_the_exit_of_local_tells_how_it_ended(tmp_path: Path, status: str, code: int) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as lines:
                asked = json.loads(lines.readline())
                body = {"id": "1", "target": asked["target"], "status": status, "code": "E_X", "reason": "why"}
                lines.write(
                    json.dumps({**body, "status": "accepted"}).encode() + b"\n" + json.dumps(body).encode() + b"\n"
                )

        thread = threading.Thread(target=answer)
        thread.start()
        done = cellguard("local", "reset-latch", "module-01.stale", "--socket", path)
        thread.join()
    assert done.returncode == code
    assert "accepted" in done.stdout
    assert status in done.stdout + done.stderr


def test_no_answer_is_an_exit_of_its_own() -> None:
    assert NoAnswer.exit_code == 4


def test_edge_run_starts_again_what_ends_and_ends_both(tmp_path: Path, wait_until: WaitUntil) -> None:
    guard, link = tmp_path / "guard", tmp_path / "link"
    dies, lives = NOTE.format(path=str(guard)), NOTE.format(path=str(link)) + FOR_EVER
    with subprocess.Popen([sys.executable, "-c", SUPERVISED, dies, lives], stderr=subprocess.PIPE) as supervisor:
        wait_until(lambda: guard.exists() and len(guard.read_text().split()) >= 2, 10, "the second start")
        wait_until(link.exists, 10, "the start of link")
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(10) == 0
        assert supervisor.stderr is not None
        said = supervisor.stderr.read()
    assert b"guard ended with 0, started again in 0.5 s" in said
    assert len(link.read_text().split()) == 1
    assert not Path(f"/proc/{link.read_text().strip()}").exists()


def test_edge_run_ends_with_78_when_the_guard_does(tmp_path: Path) -> None:
    lives = NOTE.format(path=str(tmp_path / "link")) + FOR_EVER
    with subprocess.Popen([sys.executable, "-c", SUPERVISED, "raise SystemExit(78)", lives]) as supervisor:
        assert supervisor.wait(10) == 78
