"""An inverter that falls silent, on the whole rig: it delays nobody else, and comes back without energy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import read_bus
from edge_agent.guard.model import InverterOrder, Mode, NoData, Output, OutputOrder, Reading
from edge_agent.guard.ports import Arrival
from edge_agent.guard.rigging import rig as rigging
from edge_agent.local_client import ask
from shared.errors import Unavailable

WaitUntil = Callable[..., Any]
LONGEST_GAP_S = 0.5
"""A reply that does not come is waited for longer than this: one thread for all would show it."""


class Rig:
    """A simulated rig in a process of its own, and its control socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth_file = folder / "truth"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.links = json.loads(self._start("simulate", "--can", "unix", "--directory", folder / "sim",
                                            "--truth", self.truth_file).stdout.readline())  # fmt: skip
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(self.links["control"])
        self.answers = self.control.makefile("rb")
        self.config = folder / "edge.toml"
        self.config.write_text(
            '[node]\nstate_dir = "state"\nruntime_dir = "run"\n[schedule]\nautonomous = true\n'
            f'[can]\ninterface = "unix"\nchannel = "{self.links["can"]["channel"]}"\n'
            f'[inverter]\nport = "{self.links["inverter"]["port"]}"\n'
            f'[arduino]\nport = "{self.links["arduino"]["port"]}"\n'
        )

    def _start(self, *words: object) -> Any:
        command = [sys.executable, "-m", "cellguard", *map(str, words)]
        with Path(os.devnull).open("ab") as nothing:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=nothing)
        self.processes.append(process)
        return process

    def start_guard(self) -> None:
        (self.folder / "schedules").mkdir()
        (self.folder / "schedules" / "long.csv").write_text("Interval [s],Current [A]\n600,-20\n")
        self._start("edge", "guard", "--config", self.config)

    def say(self, **request: object) -> dict[str, Any]:
        self.control.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer

    def get(self, name: str) -> Any:
        return self.say(get=[name])["get"][name]

    def ask(self, **body: object) -> dict[str, Any]:
        return dict(ask(self.folder / "run" / "local.sock", body, 30.0))

    def safety(self) -> dict[str, Any]:
        try:
            states: Any = self.ask(target="status")["states"]
        except Unavailable:
            return {"state": None, "blocked": {"close": ["not started"]}}
        return dict(states["state/safety"])

    def truth(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.truth_file.read_text().splitlines()]

    def end(self) -> None:
        self.answers.close()
        self.control.close()
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10.0)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="cg-") as folder:
        made = Rig(Path(folder))
        yield made
        made.end()


class Box:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []

    def put(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals += arrivals

    def unanswered(self, since: float) -> int:
        return sum(isinstance(one, NoData) and one.source == "inverter" and one.t_mono > since for one in self.arrivals)

    def gaps(self, source: str, part: str, since: float) -> list[float]:
        stamps = [
            one.t_mono
            for one in list(self.arrivals)
            if isinstance(one, Reading) and (one.source, one.part) == (source, part) and one.t_mono >= since
        ]
        return [later - sooner for sooner, later in pairwise(stamps)]


def test_a_dead_inverter_delays_neither_the_modules_nor_the_board(rig: Rig, wait_until: WaitUntil) -> None:
    config = EdgeConfig.model_validate(
        {
            "can": {"interface": "unix", "channel": rig.links["can"]["channel"]},
            "inverter": {"port": rig.links["inverter"]["port"]},
            "arduino": {"port": rig.links["arduino"]["port"]},
        }
    )
    devices = rigging(config, read_bus(config))
    assert devices.permit_board is not None
    assert devices.inverter is not None
    devices.permit_board()
    box = Box()
    devices.start(box)
    try:

        def renewed(done: Callable[[], object]) -> bool:
            valid_until = time.monotonic() + 0.5
            devices.outputs[0].order_outputs(OutputOrder(Output.PUMP, valid_until))
            devices.inverter.order_inverter(InverterOrder(Mode.OFF, 0.0, valid_until, 1))
            return bool(done())

        names = [
            ("can", "sync"),
            ("module-01", "pdo1"),
            ("module-08", "pdo4"),
            ("arduino", "line"),
            ("inverter", "poll"),
        ]
        wait_until(lambda: renewed(lambda: all(len(box.gaps(*name, 0.0)) > 5 for name in names)), 15.0, "every source")
        rig.say(fault="inverter.silence")
        since = time.monotonic()
        wait_until(lambda: renewed(lambda: box.unanswered(since) >= 5), 15.0, "five unanswered requests")
        assert sum(box.gaps("inverter", "poll", since + 0.3)) == 0.0
        for source, part in names[:-1]:
            gaps = box.gaps(source, part, since)
            assert len(gaps) >= 8, source
            assert max(gaps) < LONGEST_GAP_S, f"{source} {part}: {sorted(gaps)[-3:]}"
    finally:
        devices.stop()


@pytest.mark.system
def test_after_four_silent_seconds_the_rig_is_ready_without_energy_and_runs_only_a_new_schedule(
    rig: Rig, wait_until: WaitUntil
) -> None:
    rig.start_guard()
    wait_until(lambda: rig.safety()["state"] == "STANDBY", 25.0, "STANDBY")
    assert "alarm/arduino.stale" not in rig.ask(target="status")["states"], (
        "a board that is only waited for is no alarm"
    )
    assert rig.ask(target="commission")["status"] == "done"
    wait_until(lambda: rig.safety()["blocked"]["close"] == [], 25.0, "nothing to be against closing")
    assert rig.ask(target="contactor", action="close")["status"] == "done"
    assert rig.ask(target="schedule", action="start", file="long.csv")["status"] == "done"
    wait_until(lambda: rig.get("inverter.setpoint") == pytest.approx(-20.0, abs=0.1), 10.0, "the schedule's current")
    rig.say(fault="inverter.silence")
    silent = time.monotonic()
    wait_until(lambda: rig.safety()["state"] == "HOLD", 3.5, "HOLD")
    wait_until(lambda: time.monotonic() > silent + 4.0, 5.0, "four seconds")
    assert rig.get("inverter.comm_trips") == 1
    rig.say(heal="inverter.silence")
    healed = time.monotonic()
    wait_until(lambda: rig.safety()["state"] == "READY", 6.0, lambda: str(rig.safety()))
    wait_until(lambda: time.monotonic() > healed + 5.0, 6.0, "five more seconds")
    safety = rig.safety()
    assert (safety["state"], safety["latches"]) == ("READY", [])
    again = [
        row for row in rig.truth() if row["t_mono"] > silent and row["what"] == "inverter.setpoint" and row["value"]
    ]
    assert again == [], "no energy by itself"
    assert rig.ask(target="schedule", action="start", file="long.csv")["status"] == "done"
    wait_until(lambda: rig.get("inverter.setpoint") == pytest.approx(-20.0, abs=0.1), 10.0, "the schedule's current")
    assert rig.safety()["state"] == "RUN"
