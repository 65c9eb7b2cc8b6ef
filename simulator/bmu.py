"""What a BMU says: its readings of a module packed into the eight PDOs, and its answers to SDO requests."""

from __future__ import annotations

import struct
from typing import NamedTuple

PDO_BASES = (0x180, 0x280, 0x380, 0x480, 0x190, 0x290, 0x390, 0x490)
"""Identifier of PDO 1..8 without the module's number."""

SDO_REQUEST_BASE = 0x600
SDO_ANSWER_BASE = 0x580
SYNC_ID = 0x080

_PDO1 = struct.Struct("<hHBBbb")
_PDO2 = struct.Struct("<HBBI")
_PDO5 = struct.Struct("<II")
_ENABLE_INDEX = 0x1805
_NO_SUCH_OBJECT = 0x06020000
_BAD_COMMAND = 0x05040001
# expedited download: command byte → how many data bytes count
_DOWNLOADS = {0x2F: 1, 0x2B: 2, 0x27: 3, 0x23: 4, 0x22: 4}
_UPLOAD = 0x40


class ModuleReading(NamedTuple):
    """One module as its BMU measures it, in physical units, before quantisation."""

    current_a: float
    voltage_v: float
    min_cell_v: float
    max_cell_v: float
    status: int
    soc_pct: float
    soh_pct: float
    cells_v: tuple[float, ...]
    cells_soc_pct: tuple[float, ...]
    sensors_c: tuple[float, ...]
    charged_as: float
    discharged_as: float


def _count(value: float, resolution: float, low: int, high: int) -> int:
    return min(high, max(low, round(value / resolution)))


def _cell(voltage_v: float) -> int:
    return _count(voltage_v - 2.2, 0.01, 0, 255)


def _half_per_cent(soc_pct: float) -> int:
    return _count(soc_pct, 0.5, 0, 255)


def pack_pdos(reading: ModuleReading) -> tuple[bytes, ...]:
    """The payloads of PDO 1..8; cells that are not populated stay raw 0."""
    sensors = [_count(sensor, 1.0, -128, 127) for sensor in reading.sensors_c]
    cells = bytes(map(_cell, reading.cells_v)).ljust(16, b"\0")
    charges = bytes(map(_half_per_cent, reading.cells_soc_pct)).ljust(16, b"\0")
    return (
        _PDO1.pack(
            _count(reading.current_a, 0.1, -32768, 32767),
            _count(reading.voltage_v, 0.01, 0, 65535),
            _cell(reading.min_cell_v),
            _cell(reading.max_cell_v),
            min(sensors),
            max(sensors),
        ),
        _PDO2.pack(reading.status & 0xFFFF, _half_per_cent(reading.soc_pct), _count(reading.soh_pct, 1.0, 0, 255), 0),
        cells[:8],
        cells[8:],
        _PDO5.pack(int(reading.charged_as) & 0xFFFFFFFF, int(reading.discharged_as) & 0xFFFFFFFF),
        struct.pack("7bx", *sensors),
        charges[:8],
        charges[8:],
    )


def answer_sdo(request: bytes) -> tuple[bytes, bool]:
    """The answer to an SDO request of 8 bytes, and whether it switched the extra PDOs on."""
    command, index, sub = struct.unpack_from("<BHB", request)
    multiplexer = request[1:4]
    if command not in _DOWNLOADS and command != _UPLOAD:
        return b"\x80" + multiplexer + struct.pack("<I", _BAD_COMMAND), False
    if (index, sub) != (_ENABLE_INDEX, 1):
        return b"\x80" + multiplexer + struct.pack("<I", _NO_SUCH_OBJECT), False
    if command == _UPLOAD:
        return b"\x4f" + multiplexer + bytes(4), False
    return b"\x60" + multiplexer + bytes(4), True
