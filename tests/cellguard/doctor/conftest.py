"""A running demo for the doctor to look at, and a simulated rig without a guard."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from edge_agent.local_client import ask


class Examined(NamedTuple):
    """What the doctor said: exit code, check → row, standard error."""

    code: int
    rows: dict[str, dict[str, Any]]
    stderr: str

    def with_verdict(self, *verdicts: str) -> set[str]:
        return {name for name, row in self.rows.items() if row["verdict"] in verdicts}


class Simulated:
    """A simulator's control socket, and the doctor for the edge.toml beside it."""

    def __init__(self, settings: Path, control: str) -> None:
        self.settings = settings
        self._control = control

    def simulator(self, **request: Any) -> Any:
        """One request to the simulator."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5.0)
            control.connect(self._control)
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                return json.loads(answers.readline())

    def doctor(self, *options: str) -> Examined:
        """`cellguard doctor` as a process of its own."""
        words = ["doctor", "--config", str(self.settings), "--json", *options]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cellguard", *words], capture_output=True, text=True, timeout=60, check=False
        )
        rows = {row["check"]: row for row in map(orjson.loads, done.stdout.splitlines())}
        return Examined(done.returncode, rows, done.stderr)


class Demo(Simulated):
    """`cellguard demo`, ready."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-P", "-m", "cellguard", "demo", "--json", "--data", str(data)]
        with (data / "stderr").open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--mqtt-port", str(port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        super().__init__(data / "edge.toml", ready["simulator"])

    def flows(self) -> bool:
        """A current flows."""
        got = self.simulator(get=["circuit.current_a"])["get"]["circuit.current_a"]
        return abs(float(got)) >= 20.0

    def guard(self) -> dict[str, Any]:
        """The guard's own words."""
        states: dict[str, Any] = ask(self.settings.parent / "run" / "local.sock", {"target": "status"}, 10.0)["states"]
        return states

    def whole(self) -> bool:
        """The guard misses nothing."""
        return not self.guard()["degraded"]["why"]

    def close(self) -> None:
        """End it, orderly where that is possible."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(25.0)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """One for all tests of a module: each has to heal what it broke."""
    with tempfile.TemporaryDirectory(prefix="cg-") as folder:
        made = Demo(Path(folder))
        yield made
        made.close()


@pytest.fixture
def rig_without_guard() -> Iterator[Simulated]:
    """A simulated rig, its edge.toml, no guard and no broker."""
    with tempfile.TemporaryDirectory(prefix="cg-") as name:
        folder = Path(name)
        wanted = ["--can", "unix", "--directory", str(folder / "sim"), "--control", str(folder / "control")]
        with Path(os.devnull).open("w") as log:
            simulator = subprocess.Popen(
                [sys.executable, "-m", "cellguard", "simulate", *wanted], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert simulator.stdout is not None
        links = json.loads(simulator.stdout.readline())
        (folder / "state").mkdir()
        settings = folder / "edge.toml"
        settings.write_text(
            f'[node]\nstate_dir = "state"\nruntime_dir = "run"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = 9\n'
            f'[can]\ninterface = "unix"\nchannel = "{links["can"]["channel"]}"\n'
            f'[inverter]\nport = "{links["inverter"]["port"]}"\ncomm_timer_s = 1.0\n'
            f'[arduino]\nport = "{links["arduino"]["port"]}"\n'
        )
        yield Simulated(settings, str(folder / "control"))
        simulator.terminate()
        simulator.wait(10.0)
        simulator.stdout.close()
