"""What a stage says while it runs: what it proved, what it lacked, what was wrong; and waiting for a condition."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_TURN_S = 0.1


class Skipped(Exception):
    """The stage cannot run on this machine; the text says what is missing."""


class Failed(Exception):
    """The product did not do what the stage expects; the text says what."""


def fresh_folder(cache: Path, name: str) -> Path:
    """An empty folder for one run of a stage."""
    folder = cache / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


class Proof:
    """The voice of one stage."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self.count = 0

    @property
    def seconds(self) -> float:
        """How long the stage runs already."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One line about what happens now."""
        sys.stdout.write(f"{self._stage} {self.seconds:6.1f} s  {text}\n")
        sys.stdout.flush()

    def proved(self, text: str) -> None:
        """One more thing that was seen to be so."""
        self.count += 1
        self.say(f"proved: {text}")

    def require(self, holds: object, text: str) -> None:
        """Fail the stage with `text` unless it holds."""
        if not holds:
            raise Failed(text)

    def wait(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        """The first true value of `condition`; fails the stage when none came in time."""
        pause = threading.Event()
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise Failed(f"waited {seconds:g} s for {what}")
            pause.wait(_TURN_S)
        return value


def program(name: str) -> str:
    """Where a program is, also where only root has it on PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise Skipped(f"{name} is not installed (tests/stages/apt-packages.txt)")
    return found


def last_lines(text: str, count: int = 15) -> Sequence[str]:
    """The end of a log, to be shown with a failure."""
    return text.rstrip().splitlines()[-count:]
