"""The demo's processes: started without wrappers, restarted when they end, stopped in order; never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from shared.errors import Unavailable

RESTART_MIN_S, RESTART_MAX_S = 0.5, 5.0
STABLE_S = 10.0
_TETHER = Path(__file__).with_name("tether.py")
_TAIL_BYTES = 4096


@dataclass(slots=True)
class Child:
    """One program of the demo and its present process."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay_s: float = RESTART_MIN_S
    due: float | None = None
    """When to start it again, monotonic; None while it runs or is stopped for good."""
    restarts: int = 0
    last_code: int | None = None


class Children:
    """All processes of one demo. Only the thread that made it may call it: a child dies with the thread that started it."""

    def __init__(self, logs: Path, pids: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._pids = pids
        self._say = say
        self._children: dict[str, Child] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program now and keep it running."""
        child = Child(name, command)
        self._children[name] = child
        self._launch(child, time.monotonic())

    def pids(self) -> dict[str, int]:
        """Name → process id of the newest process of each program."""
        return {name: child.process.pid for name, child in self._children.items() if child.process is not None}

    def restarts(self) -> int:
        """How many times any program had to be started again."""
        return sum(child.restarts for child in self._children.values())

    def output(self, name: str) -> Path:
        """The file with what the program printed on standard output since it was started last."""
        return self._logs / f"{name}.out"

    def supervise(self, now: float) -> None:
        """Notice programs that ended and start those again whose pause is over; call it often."""
        for child in self._children.values():
            if child.process is not None and child.due is None and child.process.poll() is not None:
                self._schedule_restart(child, now)
            elif child.due is not None and now >= child.due:
                child.restarts += 1
                self._launch(child, now)

    def running(self, name: str) -> bool:
        """Whether the program is there at this moment."""
        child = self._children.get(name)
        return child is not None and child.process is not None and child.process.poll() is None

    def ended_with(self, code: int) -> str | None:
        """The name of a program whose last process ended with this exit code, if any."""
        return next((child.name for child in self._children.values() if child.last_code == code), None)

    def stop(self, name: str, timeout_s: float) -> None:
        """Ask the program to end (SIGTERM), insist after `timeout_s` (SIGKILL); it is not started again."""
        child = self._children.pop(name, None)
        if child is None or child.process is None:
            return
        process = child.process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._say(f"{name} did not end within {timeout_s:g} s and was killed")
            process.kill()
            process.wait()

    def kill_all(self) -> None:
        """End whatever is still there, at once."""
        for child in self._children.values():
            if child.process is not None:
                child.process.kill()
                child.process.wait()
        self._children.clear()

    def last_words(self, name: str) -> str:
        """The last line the program wrote to its log."""
        path = self._logs / f"{name}.log"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _schedule_restart(self, child: Child, now: float) -> None:
        assert child.process is not None
        if now - child.started > STABLE_S:
            child.delay_s = RESTART_MIN_S
        child.due = now + child.delay_s
        child.last_code = child.process.returncode
        ending = _ending(child.process.returncode)
        words = self.last_words(child.name)
        self._say(f"{child.name} ended ({ending}), starting again in {child.delay_s:g} s; its last words: {words}")
        child.delay_s = min(child.delay_s * 2, RESTART_MAX_S)

    def _launch(self, child: Child, now: float) -> None:
        command = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *child.command]
        with self.output(child.name).open("wb") as out, (self._logs / f"{child.name}.log").open("ab") as log:
            try:
                child.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                    env={**os.environ, "CELLGUARD_LOG_LEVEL": "debug"},  # its log file holds tracebacks
                    process_group=0,  # Ctrl-C is for the demo, which ends its children in order
                )
            except OSError as error:
                raise Unavailable(f"{child.name} cannot be started: {error}") from error
        child.started, child.due = now, None
        self._write_pids()

    def _write_pids(self) -> None:
        new = self._pids.with_suffix(".new")
        new.write_bytes(orjson.dumps(self.pids()))
        new.replace(self._pids)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    return signal.Signals(-code).name
