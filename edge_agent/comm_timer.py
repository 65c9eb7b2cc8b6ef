"""The record of how the inverter's communication timer behaved when it was measured, in the state folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

FILE_NAME = "comm_timer.json"
REFRESHED_BY = ("write41025", "any_write", "any_frame")
"""What keeps the timer from tripping, from the strictest rule to the laxest; with any of them a dead agent gets its zero."""


class Measured(NamedTuple):
    """One measurement: what refreshes the timer (or `never_trips`, `nothing`), its setting then, and the date."""

    refreshed_by: str
    timer_s: float
    when: str

    def trusted(self, timer_s: float) -> bool:
        """Whether a dead agent gets its zero from a timer set to `timer_s`."""
        return self.refreshed_by in REFRESHED_BY and self.timer_s == timer_s


def load(state_dir: Path) -> Measured | None:
    """The measurement on record; None when there is none that can be read."""
    try:
        body: dict[str, Any] = json.loads((state_dir / FILE_NAME).read_bytes())
        return Measured(str(body["refreshed_by"]), float(body["timer_s"]), str(body["when"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(state_dir: Path, measured: Measured) -> None:
    """Replace the record; raises OSError. Readable for the guard whoever measured."""
    fresh = state_dir / f"{FILE_NAME}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(measured._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o644)
    fresh.replace(state_dir / FILE_NAME)
