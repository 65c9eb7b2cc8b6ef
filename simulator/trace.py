"""A bounded record of the bytes on the serial lines with their times, to measure latencies from outside."""

from __future__ import annotations

from collections import deque

KEPT = 20_000


class Trace:
    """(time, line, direction, bytes), newest last; direction names who sent: `host` or `device`."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, str, str, bytes]] = deque(maxlen=KEPT)

    def add(self, now: float, line: str, sender: str, data: bytes) -> None:
        """Remember a chunk of bytes."""
        self._rows.append((now, line, sender, data))

    def since(self, t_mono: float) -> list[dict[str, object]]:
        """The kept rows at or after this time, oldest first; bytes as hex."""
        newest = []
        for now, line, sender, data in reversed(self._rows):
            if now < t_mono:
                break
            newest.append({"t_mono": now, "line": line, "from": sender, "data": data.hex()})
        newest.reverse()
        return newest
