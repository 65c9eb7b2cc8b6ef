"""The Arduino as its line shows it: the board's words through the faults of silence, raw lines and noise."""

from __future__ import annotations

import random

from simulator.arduino_v1 import BoardV1
from simulator.arduino_v2 import BoardV2
from simulator.faults import Faults


class ArduinoLine:
    """A line device: the board, with what the faults do to its output. The board always hears."""

    def __init__(self, board: BoardV1 | BoardV2, faults: Faults, chance: random.Random, now: float) -> None:
        self._board = board
        self._faults = faults
        self._chance = chance
        self._noise_at = now
        self._raw_printed = 0

    @property
    def due(self) -> float:
        """The board's own time."""
        return self._board.due

    def feed(self, data: bytes, now: float) -> None:
        """Hand bytes to the board."""
        self._board.feed(data, now)

    def take(self, now: float) -> bytes:
        """What reaches the line."""
        printed = self._board.take(now)
        if self._faults.has("arduino.silence"):
            return b""
        if self._faults.has("arduino.raw"):
            printed = b"".join(map(self._raw, printed.splitlines(keepends=True)))
        else:
            self._raw_printed = 0
        return self._noisy(printed, now)

    def _raw(self, line: bytes) -> bytes:
        """The fault's line instead of each of the board's, at most `times` of them (0 = until healed)."""
        fault = self._faults.active("arduino.raw")[-1]
        if 0 < fault["times"] <= self._raw_printed:
            return line
        self._raw_printed += 1
        raw: bytes = fault["line"].encode("utf-8", "surrogateescape")
        return raw if raw.endswith(b"\n") else raw + b"\n"

    def _noisy(self, printed: bytes, now: float) -> bytes:
        """Stray bytes, `rate` a second on average, anywhere in or between the lines."""
        since, self._noise_at = now - self._noise_at, now
        active = self._faults.active("arduino.noise")
        if not active:
            return printed
        expected = active[-1]["rate"] * since
        stray = int(expected) + (self._chance.random() < expected % 1.0)
        out = bytearray(printed)
        for _ in range(stray):
            out.insert(self._chance.randrange(len(out) + 1), self._chance.randrange(256))
        return bytes(out)
