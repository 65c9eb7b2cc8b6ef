"""The guard as a process of its own, against the simulated rig: judged by the simulator's truth and by what link gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.guard.durable import FILE_NAME, decode
from edge_agent.local_client import ask
from shared import ipc
from shared.errors import Unavailable

Connector = Callable[[Path], Any]
Soon = Callable[..., None]


class Rig:
    """A simulated rig and a guard on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth_file = folder / "truth"
        self.simulator = self._start(
            "simulate",
            "--can",
            "unix",
            "--directory",
            folder / "sim",
            "--control",
            folder / "control",
            "--truth",
            self.truth_file,
        )
        assert self.simulator.stdout is not None
        links = json.loads(self.simulator.stdout.readline())
        (folder / "edge.toml").write_text(
            f'[node]\nstate_dir = "state"\nruntime_dir = "run"\n'
            f'[can]\ninterface = "unix"\nchannel = "{links["can"]["channel"]}"\n'
            f'[inverter]\nport = "{links["inverter"]["port"]}"\n'
            f'[arduino]\nport = "{links["arduino"]["port"]}"\n'
        )
        self.guard = self.start_guard()

    def start_guard(self) -> subprocess.Popen[bytes]:
        self.guard = self._start("edge", "guard", "--config", self.folder / "edge.toml", stderr=self.folder / "log")
        return self.guard

    def _start(self, *words: object, stderr: Path | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cellguard", *map(str, words)]
        with Path(stderr or os.devnull).open("ab") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)

    def ask(self, **body: object) -> dict[str, Any]:
        return ask(self.folder / "run" / "local.sock", body, 30.0)

    def safety(self) -> dict[str, Any]:
        try:
            body: dict[str, Any] = self.ask(target="status")["states"]["state/safety"]
        except Unavailable:
            return {"state": None, "blocked": {"close": ["not started"]}}
        return body

    def truth(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.truth_file.read_text().splitlines()]

    def end(self) -> None:
        for process in (self.guard, self.simulator):
            process.terminate()
            process.wait(10.0)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def rig(runtime_dir: Path) -> Iterator[Rig]:
    made = Rig(runtime_dir)
    yield made
    made.end()


def connect_the_pack(rig: Rig, soon: Soon) -> None:
    soon(lambda: rig.safety()["state"] == "STANDBY", 20.0)
    assert rig.ask(target="commission")["status"] == "done"
    soon(lambda: rig.safety()["blocked"]["close"] == [], 20.0)
    assert rig.ask(target="contactor", action="close")["status"] == "done"


@pytest.mark.system
def test_the_guard_connects_runs_and_at_its_end_opens_without_load(rig: Rig, soon: Soon, link_peer: Connector) -> None:
    connect_the_pack(rig, soon)
    peer = link_peer(rig.folder / "run" / "guard.sock")
    names = [source["name"] for source in peer.json(ipc.HELLO)["sources"]]
    peer.greet()
    assert rig.ask(target="inverter", mode="current", setpoint=-20.0)["status"] == "done"
    assert rig.safety()["state"] == "RUN"
    seen: set[str] = set()
    peer.until(
        lambda packet: packet[:1] == ipc.ROW and not seen.add(names[ipc.unpack_row(packet).source]) and len(seen) == 10
    )
    assert decode((rig.folder / "state" / FILE_NAME).read_bytes()).armed
    rig.guard.send_signal(signal.SIGTERM)
    assert rig.guard.wait(10.0) == 0
    opened = [change for change in rig.truth() if change["what"] in {"relay.1", "relay.2"} and not change["value"]]
    assert {change["by"] for change in opened[-2:]} == {"command"}
    assert all(abs(change["circuit_current_a"]) < 2.0 for change in opened[-2:])
    assert not decode((rig.folder / "state" / FILE_NAME).read_bytes()).armed


@pytest.mark.system
def test_a_killed_guard_comes_back_latched_and_no_relay_breaks_load(rig: Rig, soon: Soon) -> None:
    connect_the_pack(rig, soon)
    assert rig.ask(target="inverter", mode="current", setpoint=-35.0)["status"] == "done"
    rig.guard.kill()
    rig.guard.wait(10.0)
    assert rig.guard.stdout is not None
    rig.guard.stdout.close()
    rig.start_guard()
    soon(lambda: rig.safety()["state"] == "LATCHED", 20.0)
    opened = [change for change in rig.truth() if change["what"] in {"relay.1", "relay.2"} and not change["value"]]
    assert opened
    assert all(abs(change["circuit_current_a"]) < 2.0 for change in opened)


@pytest.mark.system
def test_a_guard_at_rest_takes_over_a_limit_and_refuses_another_port(rig: Rig, soon: Soon) -> None:
    soon(lambda: rig.safety()["state"] == "STANDBY", 20.0)
    file, before = rig.folder / "edge.toml", rig.ask(target="status")["info"]["config"]
    text = file.read_text()
    file.write_text(text.replace("[can]", "[can]\nsync_period_s = 0.3"))
    refused = rig.ask(target="config", action="reload")
    assert (refused["status"], refused["code"]) == ("failed", "E_FILE")
    assert "[can] sync_period_s" in refused["reason"]
    file.write_text(text + "[limits.cell_voltage\n")
    assert "edge.toml" in rig.ask(target="config", action="reload")["reason"]
    assert rig.ask(target="status")["info"]["config"] == before
    file.write_text(text + "[limits.temperature]\nwarning = 10.0\n")
    taken = rig.ask(target="config", action="reload")
    assert taken["status"] == "done"
    soon(lambda: "alarm/module-01.temperature_high" in rig.ask(target="status")["states"], 10.0)
    assert rig.ask(target="status")["info"]["config"] == taken["readback"]["config"] != before


def test_only_one_guard_runs_with_one_runtime_dir(rig: Rig, soon: Soon) -> None:
    soon((rig.folder / "run" / "local.sock").exists, 10.0)
    second = [sys.executable, "-m", "cellguard", "edge", "guard", "--config", str(rig.folder / "edge.toml")]
    refused = subprocess.run(second, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 69
    assert "another guard runs here" in refused.stderr
    assert "Traceback" not in refused.stderr
