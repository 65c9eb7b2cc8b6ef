"""Modbus RTU frames, byte by byte: what the reply to a request must look like, and what is wrong with one that does not."""

from __future__ import annotations

from typing import NamedTuple

READ_INPUT, WRITE_SINGLE, IS_REFUSAL = 4, 6, 0x80
ECHO_LENGTH, REFUSAL_LENGTH = 8, 5


class Expected(NamedTuple):
    """The reply that belongs to a request: it begins with `start` and has `length` bytes, or it is a refusal."""

    start: bytes
    length: int

    def complaint(self, data: bytes) -> str:
        """What is wrong with the bytes so far; empty while they may still become the reply."""
        unit, function = self.start[:2]
        if self.start.startswith(data[: len(self.start)]):
            length = self.length
        elif data[:2] == bytes([unit, function | IS_REFUSAL]):
            length = REFUSAL_LENGTH
        else:
            return f"expected {self.start.hex()}…, got {data[:8].hex()}"
        if len(data) < length:
            return ""
        if len(data) > length:
            return f"{len(data)} bytes instead of {length}"
        return "" if crc16(data) == 0 else f"wrong CRC of {data.hex()}"


def registers(unit: int, count: int) -> Expected:
    """The reply to a read of input registers."""
    return Expected(bytes([unit, READ_INPUT, 2 * count]), 5 + 2 * count)


def echo(unit: int, address: int, word: int) -> Expected:
    """The reply to the write of one register."""
    return Expected(bytes([unit, WRITE_SINGLE]) + address.to_bytes(2, "big") + word.to_bytes(2, "big"), ECHO_LENGTH)


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; 0 over a frame with its own CRC."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_TABLE = tuple(map(_row, range(256)))
