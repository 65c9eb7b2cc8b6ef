"""The Arduino as a device: the project's own protocol v2, and the lab's old sketch v1 as a way to migrate."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edge_agent.guard.codecs.arduino import (
    Status,
    board_reading,
    command,
    command_v1,
    line_reading,
    line_reading_v1,
    parse_status,
    parse_v1,
)
from edge_agent.guard.devices.arduino_port import FOREVER, SENSORS, Board
from edge_agent.guard.model import Output
from edge_agent.guard.ports import Arrival

if TYPE_CHECKING:
    import serial


class ArduinoV2(Board):
    """The project's own sketch: acknowledged, with read-back and dead-man."""

    baudrate = 115_200
    silent_s = 1.0
    resend_s = 0.3

    def __init__(self, port: str, sensors: Sequence[str] = SENSORS) -> None:
        super().__init__(port, sensors)
        self._session = secrets.token_hex(4)
        self._seq = 0
        self._sent: Output | None = None
        self._sent_at = 0.0
        self._boot = ""
        self._boot_number = 0

    def open(self) -> str:
        """As for every board; what was sent before does not count any more."""
        self._sent = None
        return super().open()

    def _send_due(self, port: serial.Serial, now: float) -> float:
        mask = self._wanted(now)
        if mask is None:
            return FOREVER
        if mask != self._sent or now >= self._sent_at + self.resend_s:
            self._seq += 1
            self.send(port, command(self._session, self._seq, mask))
            self._sent, self._sent_at = mask, now
        return self._sent_at + self.resend_s

    def _parsed(self, line: bytes, now: float) -> Sequence[Arrival]:
        status = parse_status(line)
        self._watch(status)
        return board_reading(status, self._boot_number, now), line_reading(status, self._sensors, now)

    def _watch(self, status: Status) -> None:
        if status.boot != self._boot:
            self._boot = status.boot
            self._boot_number += 1
            self._board_was_reset()
        if status.session == self._session and status.seq > self._seq:
            self._counted["strange_acknowledgements"] += 1


class ArduinoV1(Board):
    """The lab's old sketch, which glues commands that come together.

    Three of its lines must pass between two commands: the first may have been on the wire when the command was sent, the
    second is printed before the command is read, with the third it was obeyed. Lines still unread say nothing of that.
    """

    baudrate = 9600
    silent_s = 5.0
    repeats = 3
    refresh_s = 10.0
    lines_between = 3

    def __init__(self, port: str, sensors: Sequence[str] = SENSORS, *, pins: Mapping[str, int]) -> None:
        super().__init__(port, sensors)
        self._pins = dict(pins)
        self._lines_since_send = 0
        self._sent: Output | None = None
        self._sent_at = 0.0
        self._sends_left = 0

    def open(self) -> str:
        """As for every board: it was reset, so it is listened to first, and relays wait for a zero order."""
        identity = super().open()
        self._lines_since_send = 0
        self._sent = None
        self._board_was_reset()
        return identity

    def _send_due(self, port: serial.Serial, now: float) -> float:
        mask = self._wanted(now)
        if mask is None or self._lines_since_send < self.lines_between or port.in_waiting:
            return FOREVER
        if mask != self._sent:
            self._sends_left = self.repeats
        if self._sends_left or now >= self._sent_at + self.refresh_s:
            self.send(port, command_v1(mask, self._pins))
            self._sends_left = max(0, self._sends_left - 1)
            self._lines_since_send = 0
            self._sent, self._sent_at = mask, now
        return FOREVER

    def _parsed(self, line: bytes, now: float) -> Sequence[Arrival]:
        counts = parse_v1(line)
        self._lines_since_send += 1
        return (line_reading_v1(counts, self._sensors, now),)
