"""The whole system as processes of one test: broker, simulator, guard, link, collector; each comes back when it was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cellguard import toml
from cellguard.demo.broker import broker_command, find_mosquitto
from cellguard.demo.plan import Options, collector_settings, edge_settings, make_folders
from tests.chaos.wire import Wire

MODULES, CELLS, SYNC_S = 4, 12, 0.2
_RESTART_S = 0.2
_TURN_S = 0.02
_WAIT_S = 30.0


class Rig:
    """Everything in one folder. `kill`, `pause` and the rest may be called from one thread; another brings back what ended."""

    def __init__(self, folder: Path, seed: int, influx: dict[str, Any] | None = None) -> None:
        self.folders = make_folders(folder)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._stopped: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.restarts = 0
        port = _free_port()
        self.wires = {"link": Wire(port), "collector": Wire(port)}
        options = Options(modules=MODULES, cells=CELLS, sync_period_s=SYNC_S, can="unix", port=port)
        try:
            self._start(options, seed, influx)
        except BaseException:
            self.close()
            raise
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    def _start(self, options: Options, seed: int, influx: dict[str, Any] | None) -> None:
        folders = self.folders
        self.start("broker", broker_command(options.port, folders.data, find_mosquitto()))
        arguments = [f"--modules={MODULES}", f"--cells={CELLS}", "--can=unix", f"--seed={seed}", "--profile=lab-2021"]
        arguments += [f"--control={folders.control}", f"--directory={folders.run / 'rig'}"]
        self.start("simulator", _cellguard("simulate", *arguments))
        settings = collector_settings(options, folders)
        settings["mqtt"] = {"host": "127.0.0.1", "port": self.wires["collector"].port}
        if influx is not None:
            for token in ("token", "read_token"):
                (folders.data / token).write_text(influx.pop(token))
                influx[f"{token}_file"] = folders.data / token
            settings |= {"store": {"kind": "influx"}, "influx": influx}
        folders.collector_toml.write_text(toml.dumps(settings), encoding="utf-8")
        self.start("collector", _cellguard("collector", "run", "--config", str(folders.collector_toml)))
        output = folders.logs / "simulator.out"
        until(lambda: output.read_bytes().endswith(b"\n"), "the simulator to print its links")
        edge = edge_settings(options, folders, json.loads(output.read_bytes()))
        edge["mqtt"]["port"] = self.wires["link"].port
        folders.edge_toml.write_text(toml.dumps(edge), encoding="utf-8")
        for name in ("guard", "link"):
            self.start(name, _cellguard("edge", name, "--config", str(folders.edge_toml)))

    def start(self, name: str, command: list[str]) -> None:
        """Start a program now and whenever it has ended."""
        self._commands[name] = command
        log, out = self.folders.logs / f"{name}.log", self.folders.logs / f"{name}.out"
        with log.open("ab") as errors, out.open("wb") as output:
            self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)

    def pid(self, name: str) -> int:
        """The process of this moment."""
        return self._processes[name].pid

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send a signal to the process of this moment; returns when (CLOCK_MONOTONIC)."""
        with self._lock:
            process = self._processes[name]
            if process.poll() is None:
                process.send_signal(number)
        return time.monotonic()

    def end(self, name: str, seconds: float = 20.0) -> int | None:
        """SIGTERM, and not started again; its exit code, None when it had to be killed."""
        with self._lock:
            self._stopped.add(name)
            process = self._processes.get(name)
        if process is None:
            return None
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the simulator."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10.0)
            control.connect(str(self.folders.control))
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                body: dict[str, Any] = json.loads(answers.readline())
        return body

    def close(self) -> None:
        """End everything that is left."""
        self._ending.set()
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        for wire in self.wires.values():
            wire.close()
        for folder in self.folders.temporary:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self) -> None:
        due: dict[str, float] = {}
        while not self._ending.wait(_TURN_S):
            now = time.monotonic()
            with self._lock:
                for name, process in self._processes.items():
                    if name in self._stopped or process.poll() is None:
                        due.pop(name, None)
                    elif now >= due.setdefault(name, now + _RESTART_S):
                        del due[name]
                        self.restarts += 1
                        self.start(name, self._commands[name])


def until(condition: Any, what: str, seconds: float = _WAIT_S) -> None:
    """Wait for a condition; raises TimeoutError naming what did not come."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {seconds:g} s for {what}"
            raise TimeoutError(message)
        pause.wait(_TURN_S)


def _cellguard(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cellguard", *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


os.environ.setdefault("CELLGUARD_LOG_LEVEL", "debug")
