"""The guard with pump, fan and emergency stop on the header, in a process of its own on gpiozero's mock pins."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.local_client import ask
from shared.errors import Unavailable

PUMP, FAN, ESTOP = 18, 17, 23
SETTINGS = """
[node]
state_dir = "state"
runtime_dir = "run"
[can]
interface = "unix"
channel = "{can[channel]}"
modules = 8
[inverter]
port = "{inverter[port]}"
[arduino]
port = "{arduino[port]}"
[gpio]
pump = 18
fan = 17
estop_in = 23
"""
Soon = Callable[..., None]


class HeaderRig:
    """A simulated rig and a guard whose header's pins can be pushed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth_file = folder / "truth"
        wanted = ("--can", "unix", "--directory", folder / "sim", "--control", folder / "control")
        self.simulator = self._start(["-m", "cellguard", "simulate", *wanted, "--truth", self.truth_file])
        assert self.simulator.stdout is not None
        links = json.loads(self.simulator.stdout.readline())
        settings = folder / "edge.toml"
        settings.write_text(SETTINGS.format(**links))
        self.guard = self._start([Path(__file__).with_name("mock_header.py"), settings, ESTOP, PUMP, FAN])

    def _start(self, words: list[Any]) -> subprocess.Popen[str]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "GPIOZERO_PIN_FACTORY": "mock"},
            )

    def pin(self, number: int, push: str = "") -> int:
        """Push a pin `low` or `high`, or only look; its level."""
        assert self.guard.stdin is not None
        assert self.guard.stdout is not None
        self.guard.stdin.write(f"{number} {push}\n")
        self.guard.stdin.flush()
        return int(self.guard.stdout.readline().rpartition(" = ")[2])

    def ask(self, **body: object) -> dict[str, Any]:
        return ask(self.folder / "run" / "local.sock", body, 30.0)

    def safety(self) -> dict[str, Any]:
        try:
            body: dict[str, Any] = self.ask(target="status")["states"]["state/safety"]
        except Unavailable:
            return {"state": None, "blocked": {"close": ["not started"]}}
        return body

    def simulator_says(self, **request: Any) -> Any:
        """One request to the simulator's control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "control"))
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                return json.loads(answers.readline())

    def truth(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.truth_file.read_text().splitlines()]

    def end(self) -> list[str]:
        """Ask the guard to end; what its pins are then."""
        self.guard.terminate()
        self.guard.wait(10.0)
        assert self.guard.stdout is not None
        return self.guard.stdout.read().splitlines()

    def close(self) -> None:
        for process in (self.guard, self.simulator):
            process.kill()
            process.wait(10.0)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def header(runtime_dir: Path) -> Iterator[HeaderRig]:
    pytest.importorskip("gpiozero")
    made = HeaderRig(runtime_dir)
    yield made
    made.close()


@pytest.mark.system
def test_an_opened_stop_loop_on_the_header_zeroes_then_opens_without_load_and_latches(
    header: HeaderRig, soon: Soon
) -> None:
    soon(lambda: header.safety()["blocked"]["close"] == [] and header.safety()["state"] == "STANDBY", 20.0)
    assert header.ask(target="contactor", action="close")["status"] == "done"
    assert header.ask(target="inverter", mode="current", setpoint=-35.0)["status"] == "done"
    soon(lambda: header.safety()["state"] == "RUN")
    assert (header.pin(PUMP), header.pin(FAN)) == (1, 1)  # cooling since the start, when no temperature was known
    assert header.ask(target="pump", on=False)["status"] == "done"
    soon(lambda: (header.pin(PUMP), header.pin(FAN)) == (0, 0))
    assert header.ask(target="pump", on=True)["status"] == "done"
    soon(lambda: (header.pin(PUMP), header.pin(FAN)) == (1, 0))

    before = len(header.truth())
    header.pin(ESTOP, "high")
    soon(lambda: header.safety()["state"] == "LATCHED", 8.0)
    assert header.safety()["latches"] == ["estop"]
    since = header.truth()[before:]
    zeroed = min(one["t_mono"] for one in since if one["what"] == "inverter.setpoint" and one["value"] == 0)
    opened = [one for one in since if one["what"] in {"relay.1", "relay.2"} and not one["value"]]
    assert {one["what"] for one in opened} == {"relay.1", "relay.2"}
    assert all(one["t_mono"] > zeroed and abs(one["circuit_current_a"]) < 2.0 for one in opened)
    assert max(one["t_mono"] for one in opened) - zeroed < 3.0
    refused = header.ask(target="safety", action="reset_latch", latch="estop")
    assert refused["status"] == "rejected"  # the loop is still open

    assert (header.pin(PUMP), header.pin(FAN)) == (1, 0)
    header.simulator_says(set={"module.3.temperature_c": 45})
    soon(lambda: (header.pin(PUMP), header.pin(FAN)) == (1, 1))  # heat is cooled, latched or not
    assert set(header.end()) == {f"{PUMP} input", f"{FAN} input"}  # given back: only the pull-down holds them now
