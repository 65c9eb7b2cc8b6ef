"""An slcan adapter on a pty: the ASCII protocol of USB-CAN adapters, adapter side."""

from __future__ import annotations

import re
from pathlib import Path

from simulator.can_bus import Frame
from simulator.links import Pty

OK, BELL = b"\r", b"\a"
BITRATES = {
    b"S0": 10_000,
    b"S1": 20_000,
    b"S2": 50_000,
    b"S3": 100_000,
    b"S4": 125_000,
    b"S5": 250_000,
    b"S6": 500_000,
    b"S7": 750_000,
    b"S8": 1_000_000,
}
MOST_WAITING = 65_536
LONGEST_COMMAND = 64
_FRAME = re.compile(rb"(?:t([0-9A-Fa-f]{3})|T([01][0-9A-Fa-f]{7}))([0-8])((?:[0-9A-Fa-f]{2})*)")
_QUERIES = {b"V": b"V1013\r", b"v": b"v1013\r", b"N": b"NSIM1\r", b"F": b"F00\r"}


class SlcanLink:
    """The adapter. A closed channel carries nothing; a wrong bit rate neither."""

    def __init__(self, link: Path, bitrate: int) -> None:
        self._pty = Pty(link)
        self._bus_bitrate = bitrate
        self._bitrate = bitrate
        self._listening = False
        self._open = False
        self._command = bytearray()
        self._out = bytearray()
        self.dropped = 0
        self.refused = 0

    @property
    def described(self) -> dict[str, object]:
        """The link's description."""
        return {"interface": "slcan", "channel": str(self._pty.link), "bitrate": self._bus_bitrate}

    @property
    def fd(self) -> int:
        """The pty's number while the host has it open."""
        return self._pty.fd if self._pty.is_open else -1

    @property
    def waiting(self) -> bool:
        """Whether the host has not read everything yet."""
        return bool(self._out)

    def watch(self) -> bool:
        """Notice that the host opened the port: the adapter keeps its state, half a command is forgotten."""
        opened = self._pty.watch()
        if opened:
            self._command.clear()
            self._out.clear()
        return opened

    def plug(self) -> None:
        """Plug in: an adapter starts closed."""
        self._pty.plug()

    def unplug(self) -> None:
        """Pull the adapter."""
        self._pty.unplug()
        self._open = False
        self._bitrate = self._bus_bitrate
        self._command.clear()
        self._out.clear()

    def receive(self) -> list[Frame]:
        """Obey what the host wrote; the frames it sent."""
        frames = []
        for byte in self._pty.read():
            if byte != 0x0D:
                if len(self._command) < LONGEST_COMMAND:
                    self._command.append(byte)
                continue
            frame = self._obey(bytes(self._command))
            self._command.clear()
            if frame:
                frames.append(frame)
        self.flush()
        return frames

    def send(self, frames: list[Frame]) -> None:
        """Print frames as the host's channel is open; whole lines are dropped when it does not read."""
        if not self._open or self._bitrate != self._bus_bitrate:
            return
        for frame in frames:
            if len(self._out) > MOST_WAITING:
                self.dropped += 1
            else:
                self._out += self._text(frame)
        self.flush()

    def flush(self) -> None:
        """Write what the pty takes."""
        if not self._pty.is_open:
            self._out.clear()
        elif self._out:
            del self._out[: self._pty.write(bytes(self._out))]

    @staticmethod
    def _text(frame: Frame) -> bytes:
        head = f"T{frame.can_id:08X}" if frame.extended else f"t{frame.can_id:03X}"
        return f"{head}{len(frame.data)}{frame.data.hex().upper()}\r".encode("ascii")

    def _obey(self, command: bytes) -> Frame | None:
        found = _FRAME.fullmatch(command)
        if found:
            return self._transmit(found)
        answer = self._control(command)
        self.refused += answer == BELL
        self._out += answer
        return None

    def _transmit(self, found: re.Match[bytes]) -> Frame | None:
        standard, extended, length, data = found.groups()
        can = self._open and not self._listening and len(data) == 2 * int(length)
        if not can or self._bitrate != self._bus_bitrate:
            self.refused += 1
            self._out += BELL
            return None
        self._out += b"z\r" if standard else b"Z\r"
        return Frame(int(standard or extended, 16), bytes.fromhex(data.decode("ascii")), standard is None)

    def _control(self, command: bytes) -> bytes:
        if command in _QUERIES:
            return _QUERIES[command]
        if command in {b"O", b"L"}:
            self._open, self._listening = True, command == b"L"
            return OK
        if command == b"C":
            self._open = False
            return OK
        if command in BITRATES and not self._open:
            self._bitrate = BITRATES[command]
            return OK
        # acceptance filters, time stamps and auto-poll: taken, without effect; an empty line is answered
        return OK if command == b"" or command[:1] in b"MmZXsY" else BELL
