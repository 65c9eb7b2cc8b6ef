"""Linux `struct can_frame` as bytes: packing, flags of the identifier, error frames in words."""

from __future__ import annotations

import struct

EXTENDED, REMOTE, ERROR = 0x8000_0000, 0x4000_0000, 0x2000_0000
FRAME_BYTES = 16
BUS_OFF = 0x40
ALL_ERRORS = 0x1FFF_FFFF
Frame = tuple[int, bytes, float]
"""A frame as received: identifier with its flags, data, s of CLOCK_MONOTONIC. Plain, because 4 000 a second are made."""
LAYOUT = struct.Struct("<IB3x8s")
"""Identifier with flags, length, data filled up with zeros; every machine this runs on is little-endian."""

_ERROR_WORDS = {
    0x001: "transmit time-out",
    0x002: "arbitration lost",
    0x004: "controller problem",
    0x008: "protocol violation",
    0x010: "transceiver status",
    0x020: "no acknowledge: nobody else on the bus, wrong bitrate or no termination",
    BUS_OFF: "bus off",
    0x080: "bus error",
    0x100: "controller restarted",
}


def pack(can_id: int, data: bytes) -> bytes:
    """The 16 bytes of a frame; `can_id` with its flags."""
    return LAYOUT.pack(can_id, len(data), data)


def error_text(can_id: int) -> str:
    """What an error frame reports."""
    words = [word for bit, word in _ERROR_WORDS.items() if can_id & bit]
    return ", ".join(words) or f"error class 0x{can_id & ALL_ERRORS:X}"
