"""The Arduino with the lab's old sketch, protocol version 1 of firmware/PROTOCOL.md, with all its traps, in virtual time."""

from __future__ import annotations

import random
import re
from collections import Counter

from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_v2 import BOOT_S, SetOutput

BAUDRATE = 9600
DELAY_S = 1.0
READ_TIMEOUT_S = 1.0
LOW = False
LONGEST_READ = 30
UART_BUFFER = 64
PIN_OUTPUTS = {6: "pump", 7: "fan", 5: "relay1", 3: "relay2", 4: "relay3"}
"""What is wired to which pin of the Uno."""


def _atoi(text: bytes) -> int:
    """C's atoi: leading blanks, a sign, digits, and 0 for anything else."""
    found = re.match(rb"\s*([+-]?\d+)", text)
    return int(found[1]) if found else 0


class BoardV1:
    """The sketch's loop: print, read what has come until a second of silence or 30 characters, obey it, delay."""

    baudrate = BAUDRATE

    def __init__(self, inputs: ArduinoInputs, set_output: SetOutput, chance: random.Random, now: float) -> None:
        self._inputs = inputs
        self._set_output = set_output
        self._chance = chance
        self.counted: Counter[str] = Counter()
        self._on: set[str] = set()
        self._start(now)

    @property
    def pins(self) -> int:
        """The outputs as a mask, in the order of version 2."""
        return sum((name in self._on) << bit for bit, name in enumerate(("pump", "fan", "relay1", "relay2", "relay3")))

    def reset(self, now: float, by: str) -> str:
        """All pins low; mute while the boot loader waits. The new boot id (never printed by this sketch)."""
        for name in sorted(self._on):
            self._set_output(name, LOW, by)
        self._start(now + BOOT_S)
        return self.boot

    def _start(self, runs_from: float) -> None:
        self.boot = f"{self._chance.getrandbits(32):08x}"
        self.runs_from = runs_from
        self._on = set()
        self._uart = bytearray()
        self._read = bytearray()
        self._reading_until: float | None = None
        self.due = runs_from
        """When the sketch's loop goes on."""

    def feed(self, data: bytes, now: float) -> None:
        """Bytes reach the UART's buffer of 64; the rest is lost, as are those the boot loader swallows."""
        if now < self.runs_from:
            self.counted["swallowed"] += len(data)
            return
        room = UART_BUFFER - len(self._uart)
        self._uart += data[:room]
        self.counted["overrun"] += max(0, len(data) - room)
        if self._reading_until is not None:
            self._continue_reading(now)

    def take(self, now: float) -> bytes:
        """What the sketch has printed by now."""
        out = b""
        while self.due <= now:
            if self._reading_until is None:
                out += self._print_line(self.due)
                self._begin_reading(self.due)
            else:
                self._obey(self.due)
        return out

    def _print_line(self, now: float) -> bytes:
        temp1, temp2, press = (self._inputs.adc(name, now) for name in ("temp1", "temp2", "press"))
        self.counted["lines"] += 1
        return f"Ardu_Temp1:{temp1},Ardu_Temp2:{temp2},Ardu_Press:{press}\r\n".encode("ascii")

    def _begin_reading(self, now: float) -> None:
        if not self._uart:
            self.due = now + DELAY_S
            return
        self._continue_reading(now)

    def _continue_reading(self, now: float) -> None:
        room = LONGEST_READ - len(self._read)
        self._read += self._uart[:room]
        del self._uart[:room]
        full = len(self._read) >= LONGEST_READ
        self._reading_until = self.due = now if full else now + READ_TIMEOUT_S

    def _obey(self, now: float) -> None:
        """`pin:value` pairs joined by `&`; two commands without a gap have become one wrong one."""
        for pair in bytes(self._read).split(b"&"):
            pin, colon, value = pair.partition(b":")
            if colon:
                self._write_pin(_atoi(pin), bool(_atoi(value)))
        self._read.clear()
        self._reading_until = None
        self.counted["obeyed"] += 1
        self.due = now + DELAY_S

    def _write_pin(self, pin: int, high: bool) -> None:
        name = PIN_OUTPUTS.get(pin)
        if name is None or (name in self._on) == high:
            return
        (self._on.add if high else self._on.discard)(name)
        self._set_output(name, high, "command")
