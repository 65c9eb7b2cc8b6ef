"""What really happened at the outputs and in the circuit, in order: kept for the control socket and written to a file."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

KEPT = 200_000


class Change(NamedTuple):
    """One change; `circuit_current_a` is the current that flowed just before it (+ discharge)."""

    t_mono: float
    what: str
    value: float | str
    circuit_current_a: float
    by: str


class Truth:
    """The record of changes. One owner: the rig."""

    def __init__(self, path: Path | None = None) -> None:
        self._changes: deque[Change] = deque(maxlen=KEPT)
        # line buffered: each change is on its way to the reader as it happens; appended, so that a restart forgets nothing
        self._file = path.open("a", buffering=1, encoding="utf-8") if path else None
        self.recorded = 0
        self.unwritten = 0

    def record(self, change: Change) -> None:
        """Add a change. A file that can no longer be written is given up and counted, the rig goes on."""
        self._changes.append(change)
        self.recorded += 1
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(change._asdict()) + "\n")
        except OSError:
            self.unwritten += 1

    def since(self, t_mono: float) -> list[dict[str, float | str]]:
        """The kept changes at or after this time, oldest first."""
        newest = []
        for change in reversed(self._changes):
            if change.t_mono < t_mono:
                break
            newest.append(change._asdict())
        newest.reverse()
        return newest

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
