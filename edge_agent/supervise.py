"""Runs guard and link as two processes, starts again the one that ends, and ends both in order: guard first."""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.errors import EXIT_CONFIG

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 5.0
STEADY_S = 10.0
END_S = 8.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Child:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due: float = 0.0
    delay_s: float = FIRST_DELAY_S


def run(commands: Mapping[str, Sequence[str]]) -> int:
    """Keep the processes of `commands` (name → command, the first is the one that counts) running until SIGTERM or SIGINT.

    Returns 78 when the first one ends with that code: its settings are wrong, and will be so again.
    """
    children = [_Child(name, command) for name, command in commands.items()]
    with _signals() as bell:
        try:
            code = _keep(children, bell)
        finally:
            for child in children:
                _end(child)
    return code


def _keep(children: Sequence[_Child], bell: socket.socket) -> int:
    while True:
        now = time.monotonic()  # noqa: TID251 - not the guard: this only paces restarts
        for child in children:
            if _reap(child, now) == EXIT_CONFIG and child is children[0]:
                return EXIT_CONFIG
            if child.process is None and now >= child.due:
                child.process = subprocess.Popen(child.command)
                child.started_at = now
        waiting = [child.due - now for child in children if child.process is None]
        if select.select([bell], [], [], max(0.0, min(waiting)) if waiting else None)[0] and _told_to_stop(bell):
            return 0


def _reap(child: _Child, now: float) -> int | None:
    code = None if child.process is None else child.process.poll()
    if code is not None:
        child.process = None
        if now - child.started_at > STEADY_S:
            child.delay_s = FIRST_DELAY_S
        log.warning("%s ended with %d, started again in %.1f s", child.name, code, child.delay_s)
        child.due = now + child.delay_s
        child.delay_s = min(child.delay_s * 2.0, LONGEST_DELAY_S)
    return code


def _told_to_stop(bell: socket.socket) -> bool:
    return any(number != signal.SIGCHLD for number in bell.recv(256))


def _end(child: _Child) -> None:
    if child.process is None:
        return
    child.process.terminate()
    try:
        child.process.wait(END_S)
    except subprocess.TimeoutExpired:
        log.warning("%s did not end within %s s", child.name, END_S)
        child.process.kill()
        child.process.wait()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that receives the number of each signal as one byte."""
    bell, rope = socket.socketpair()
    for end in (bell, rope):
        end.settimeout(0.0)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    old = signal.set_wakeup_fd(rope.fileno())
    try:
        yield bell
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        bell.close()
        rope.close()
