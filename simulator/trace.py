"""A bounded record of what went over the links and when, to measure latencies from outside."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.can_bus import Frame

KEPT = 20_000


class Trace:
    """Chunks of bytes of the serial lines (who sent: `host` or `device`) and frames handed to the host."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[float, str, str, bytes]] = deque(maxlen=KEPT)
        self._frames: deque[tuple[float, Frame]] = deque(maxlen=KEPT)

    def add(self, now: float, line: str, sender: str, data: bytes) -> None:
        """Remember a chunk of bytes."""
        self._chunks.append((now, line, sender, data))

    def add_frames(self, now: float, frames: list[Frame]) -> None:
        """Remember frames the host was given."""
        self._frames.extend((now, frame) for frame in frames)

    def since(self, t_mono: float) -> list[dict[str, object]]:
        """What the serial lines carried at or after this time, oldest first; bytes as hex."""
        recent = list(takewhile(lambda row: row[0] >= t_mono, reversed(self._chunks)))
        return [
            {"t_mono": now, "line": line, "from": sender, "data": data.hex()}
            for now, line, sender, data in reversed(recent)
        ]

    def frames_since(self, t_mono: float) -> list[dict[str, object]]:
        """The frames given to the host at or after this time, oldest first."""
        recent = list(takewhile(lambda row: row[0] >= t_mono, reversed(self._frames)))
        return [{"t_mono": now, "id": frame.can_id, "data": frame.data.hex()} for now, frame in reversed(recent)]
