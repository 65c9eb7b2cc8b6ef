"""The Arduino with this project's sketch, protocol version 2 of firmware/PROTOCOL.md, board side, in virtual time."""

from __future__ import annotations

import binascii
import math
import random
import re
from collections import Counter
from collections.abc import Callable

from simulator.arduino_inputs import ArduinoInputs

BAUDRATE = 115_200
STATUS_PERIOD_S = 0.1
DEADMAN_S = 3.5
BOOT_S = 1.6
LONGEST_LINE = 96
OUTPUTS = ("pump", "fan", "relay1", "relay2", "relay3")
COOLING_BITS, RELAY_BITS, ALL_BITS = 0x03, 0x1C, 0x1F
DEADMAN_FLAG, WATCHDOG_FLAG, UNARMED_FLAG = 1, 2, 4
NO_SESSION = "00000000"

SetOutput = Callable[[str, bool, str], None]
"""(output, on, by): called when an output pin changes."""

_LINE = re.compile(rb"#([ -)+-~]*)\*([0-9A-F]{4})\r?")
_COMMAND = re.compile(r"C,([0-9a-f]{8}),([1-9][0-9]{0,9}),([0-9A-Fa-f]{2})")


def framed(body: str) -> bytes:
    """The body as one line with its CRC-16/CCITT-FALSE."""
    raw = body.encode("ascii")
    return b"#%s*%04X\n" % (raw, binascii.crc_hqx(raw, 0xFFFF))


class BoardV2:
    """`feed` takes bytes of the line, `take` gives bytes to print; `reset` is the DTR pulse of an opened port."""

    baudrate = BAUDRATE

    def __init__(self, inputs: ArduinoInputs, set_output: SetOutput, chance: random.Random, now: float) -> None:
        self._inputs = inputs
        self._set_output = set_output
        self._chance = chance
        self._out = bytearray()
        self.pins = 0
        self.counted: Counter[str] = Counter()
        self._start(now)

    def reset(self, now: float, by: str) -> str:
        """Everything off and forgotten; mute while the boot loader waits. The new boot id."""
        self._put_pins(0, by)
        self._out.clear()
        self._start(now + BOOT_S)
        return self.boot

    def _start(self, runs_from: float) -> None:
        self.boot = f"{self._chance.getrandbits(32):08x}"
        self.runs_from = runs_from
        self._line = bytearray()
        self._session, self._seq = NO_SESSION, 0
        self._bad = 0
        self._armed = False
        self._deadman = False
        self._fed_at = runs_from
        self._next_status = runs_from
        self.mask = 0

    # ---- host → board ----

    def feed(self, data: bytes, now: float) -> None:
        """Bytes from the host; the boot loader swallows what comes while it runs."""
        if now < self.runs_from:
            self.counted["swallowed"] += len(data)
            return
        for part in _lines(data):
            self._line += part
            if self._line.endswith(b"\n"):
                line = bytes(self._line[:-1])
                self._line.clear()
                self._hear(line, now)
            elif len(self._line) > 4 * LONGEST_LINE:
                del self._line[LONGEST_LINE + 1 :]

    def _hear(self, line: bytes, now: float) -> None:
        self.counted["heard"] += 1
        found = _LINE.fullmatch(line) if len(line) < LONGEST_LINE else None
        whole = found is not None and int(found[2], 16) == binascii.crc_hqx(found[1], 0xFFFF)
        command = _COMMAND.fullmatch(found[1].decode("ascii")) if found and whole else None
        if command is None or not self._obey(command[1], int(command[2]), int(command[3], 16), now):
            self._bad += 1
            self.counted["refused"] += 1

    def _obey(self, session: str, seq: int, mask: int, now: float) -> bool:
        if mask & ~ALL_BITS or seq > 0xFFFFFFFF or (session == self._session and seq <= self._seq):
            return False
        if session != self._session:
            self._armed = False
        if not mask & RELAY_BITS:
            self._armed = True
        self._session, self._seq = session, seq
        self._deadman = False
        self._fed_at = now
        self.mask = mask if self._armed else mask & COOLING_BITS
        self._put_pins(self.mask, "command")
        self.counted["obeyed"] += 1
        self._print_status(now)
        return True

    # ---- board → host ----

    def take(self, now: float) -> bytes:
        """What the sketch has printed by now."""
        self._watch(now)
        while self._next_status <= now and now >= self.runs_from:
            self._print_status(now)
            self._next_status += STATUS_PERIOD_S * max(1, math.ceil((now - self._next_status) / STATUS_PERIOD_S))
        out = bytes(self._out)
        self._out.clear()
        return out

    @property
    def due(self) -> float:
        """When `take` should be called next."""
        return self._next_status if self._deadman else min(self._next_status, self._fed_at + DEADMAN_S)

    def _watch(self, now: float) -> None:
        if self._deadman or now < self._fed_at + DEADMAN_S or now < self.runs_from:
            return
        self._deadman, self._armed = True, False
        self.mask = COOLING_BITS
        self._put_pins(self.mask, "deadman")
        self.counted["deadman"] += 1

    def _print_status(self, now: float) -> None:
        flags = DEADMAN_FLAG * self._deadman | UNARMED_FLAG * (not self._armed)
        counts = [self._inputs.adc(name, now) for name in ("temp1", "temp2", "press", "current")]
        uptime_ms = int((now - self.runs_from) * 1000) & 0xFFFFFFFF
        body = (
            f"S,{self.boot},{uptime_ms},{self._session},{self._seq},{self.mask:02X},{self.pins:02X},{flags:02X},"
            f"{','.join(map(str, counts))},{self._inputs.ground_fault},{self._bad & 0xFFFF}"
        )
        self._out += framed(body)
        self.counted["lines"] += 1

    def _put_pins(self, pins: int, by: str) -> None:
        changed = self.pins ^ pins
        self.pins = pins
        for bit, name in enumerate(OUTPUTS):
            if changed >> bit & 1:
                self._set_output(name, bool(pins >> bit & 1), by)


def _lines(data: bytes) -> list[bytes]:
    """Split after each line feed only."""
    parts = [part + b"\n" for part in data.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]
