"""The pace of a serial line: bytes put on it come out one character time after the other."""

from __future__ import annotations

from collections import deque

BITS_PER_CHARACTER = 10  # 8N1
MOST_BYTES = 65_536


class Wire:
    """One direction of a UART in virtual time."""

    def __init__(self, baudrate: int) -> None:
        self.character_s = BITS_PER_CHARACTER / baudrate
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self._waiting = 0
        self.lost = 0

    def put(self, data: bytes, now: float) -> None:
        """Queue bytes from `now` on, behind what is still on the wire. An absurd backlog is lost and counted."""
        if not data:
            return
        if self._waiting + len(data) > MOST_BYTES:
            self.lost += len(data)
            return
        start = max(self._free_at, now)
        self._chunks.append((start, data))
        self._waiting += len(data)
        self._free_at = start + len(data) * self.character_s

    def take(self, now: float) -> bytes:
        """The bytes whose last bit has passed by `now`."""
        return b"".join(data for _, data in self.passed(now))

    def passed(self, now: float) -> list[tuple[float, bytes]]:
        """What `take` takes, as runs without a pause, each with the time at which its last bit passed."""
        runs = []
        while self._chunks:
            start, data = self._chunks[0]
            # a millionth of a character of tolerance: rounding must not hold the last byte back
            count = min(len(data), int((now - start) / self.character_s + 1e-6))
            if count <= 0:
                break
            ended = start + count * self.character_s
            runs.append((ended, data[:count]))
            self._waiting -= count
            if count < len(data):
                self._chunks[0] = (ended, data[count:])
                break
            self._chunks.popleft()
        return runs

    @property
    def due(self) -> float:
        """When the bytes queued first will have passed completely: infinity when nothing waits."""
        if not self._chunks:
            return float("inf")
        start, data = self._chunks[0]
        return start + len(data) * self.character_s

    def clear(self) -> None:
        """The line was cut: forget what was on it."""
        self._chunks.clear()
        self._waiting = 0
        self._free_at = 0.0
