"""A Modbus RTU slave: frames by length and silence, CRC, and the faults of its line, in virtual time."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable

from simulator.faults import Faults
from simulator.profiles import Profile

BAUDRATE = 19_200
CHARACTER_S = 10 / BAUDRATE  # 8N1
REQUEST_LENGTH = 8  # functions 1..6
LONGEST_FRAME = 256
SILENCE_CHARACTERS = 3.5
TURNAROUND_S = 0.002
BROADCAST = 0

Serve = Callable[[bytes, float], bytes]


def _crc_row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC_TABLE = [_crc_row(byte) for byte in range(256)]


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS, low byte first as on the wire."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


class RtuSlave:
    """`feed` takes what came over the line, `take` gives what is to go out now."""

    def __init__(self, unit: int, serve: Serve, faults: Faults, profile: Profile, chance: random.Random) -> None:
        self._unit = unit
        self._serve = serve
        self._faults = faults
        self._profile = profile
        self._chance = chance
        self._buffer = bytearray()
        self._last_byte = -math.inf
        self._replies: deque[tuple[float, bytes]] = deque()
        self._late_allowed_from = -math.inf
        self.silence_s = 0.005
        self.counted: Counter[str] = Counter()

    def feed(self, data: bytes, now: float) -> None:
        """Bytes of the line, the last of which ended at `now`; complete requests are served at once."""
        if self._faults.has("inverter.silence"):
            self.counted["unheard_bytes"] += len(data)
            return
        if now - len(data) * CHARACTER_S - self._last_byte > self.silence_s:
            self._end_of_frame(now)
        self._buffer += data
        self._last_byte = now
        while len(self._buffer) >= REQUEST_LENGTH and self._is_whole(REQUEST_LENGTH):
            frame = bytes(self._buffer[:REQUEST_LENGTH])
            del self._buffer[:REQUEST_LENGTH]
            self._hear(frame, now)
        if len(self._buffer) > LONGEST_FRAME:
            self._buffer.clear()
            self.counted["bad_frames"] += 1

    def take(self, now: float) -> bytes:
        """Replies that are due."""
        if self._buffer and now - self._last_byte > self.silence_s:
            self._end_of_frame(now)
        out = b""
        while self._replies and self._replies[0][0] <= now:
            out += self._replies.popleft()[1]
        return b"" if self._faults.has("inverter.silence") else out

    @property
    def due(self) -> float:
        """When `take` should be called next."""
        reply = self._replies[0][0] if self._replies else math.inf
        return min(reply, self._last_byte + self.silence_s + 1e-4 if self._buffer else math.inf)

    def _is_whole(self, length: int) -> bool:
        frame = bytes(self._buffer[:length])
        return crc16(frame[:-2]) == frame[-2:]

    def _end_of_frame(self, now: float) -> None:
        """Silence ends a frame of any length: serve it when its CRC is right, else forget it."""
        frame = bytes(self._buffer)
        self._buffer.clear()
        if not frame:
            return
        if len(frame) >= 4 and crc16(frame[:-2]) == frame[-2:]:
            self._hear(frame, now)
        else:
            self.counted["bad_frames"] += 1

    def _hear(self, frame: bytes, now: float) -> None:
        if frame[0] not in {self._unit, BROADCAST}:
            self.counted["other_units"] += 1
            return
        self.counted["requests"] += 1
        pdu = self._serve(frame[1:-2], now)
        if frame[0] == BROADCAST:
            return
        reply = bytes([self._unit]) + pdu
        self._answer(self._corrupted(reply + crc16(reply)), now)

    def _answer(self, reply: bytes, now: float) -> None:
        due = now + TURNAROUND_S + self._delay_s(now)
        if self._replies:
            due = max(due, self._replies[-1][0])
        self._replies.append((due, reply))
        self.counted["replies"] += 1

    def _corrupted(self, reply: bytes) -> bytes:
        for fault in self._faults.active("inverter.corrupt"):
            if self._chance.random() < fault["probability"]:
                place = self._chance.randrange(len(reply))
                flipped = reply[place] ^ self._chance.randrange(1, 256)
                self.counted["corrupted"] += 1
                return reply[:place] + bytes([flipped]) + reply[place + 1 :]
        return reply

    def _delay_s(self, now: float) -> float:
        for fault in self._faults.active("inverter.delay"):
            if self._chance.random() < fault["probability"]:
                self.counted["late"] += 1
                return self._chance.uniform(fault["min_s"], fault["max_s"])
        profile = self._profile
        if now >= self._late_allowed_from and self._chance.random() < profile.late_reply_probability:
            self._late_allowed_from = now + profile.late_reply_spacing_s
            self.counted["late"] += 1
            return self._chance.uniform(*profile.late_reply_s)
        return 0.0
