"""Linux's `struct can_frame`, 16 bytes, to and from frames."""

from __future__ import annotations

import struct

from simulator.can_bus import Frame

EXTENDED_FLAG = 0x80000000
REMOTE_FLAG = 0x40000000
ERROR_FLAG = 0x20000000
SIZE = 16
_FRAME = struct.Struct("=IB3x8s")


def packed(frame: Frame) -> bytes:
    """The frame as 16 bytes."""
    can_id = frame.can_id | EXTENDED_FLAG if frame.extended else frame.can_id
    return _FRAME.pack(can_id, len(frame.data), frame.data)


def unpacked(raw: bytes) -> Frame | None:
    """The frame, or None when it is not a data frame of a right size and length."""
    if len(raw) != SIZE:
        return None
    can_id, length, data = _FRAME.unpack(raw)
    if length > 8 or can_id & (REMOTE_FLAG | ERROR_FLAG):
        return None
    extended = bool(can_id & EXTENDED_FLAG)
    return Frame(can_id & (0x1FFFFFFF if extended else 0x7FF), data[:length], extended)
