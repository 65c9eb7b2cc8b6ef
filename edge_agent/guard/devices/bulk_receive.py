"""Receives many CAN frames with their kernel stamps by one system call, recvmmsg(2), which the socket module lacks."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from itertools import islice
from socket import MSG_DONTWAIT, MSG_TRUNC

from edge_agent.guard.codecs.can_frame import FRAME_BYTES, LAYOUT

SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
"""Linux numbers that the socket module does not name."""
MOST = 64
WHOLE = (0, FRAME_BYTES)
"""The ordinary (flags, bytes received)."""

_WORD = struct.calcsize("@N")
_CONTROL = struct.Struct(f"@NiillNiiI{-4 % _WORD}x")
"""Two control messages (size, level, type, data), each aligned to a word: the stamp, then the count of lost datagrams."""

Packet = tuple[tuple[int, int, bytes], tuple[int, ...], tuple[int, int]]
"""(identifier, length, data), the two control messages, (flags, bytes received)."""


class _Vector(ctypes.Structure):
    """Struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """Struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """Struct mmsghdr."""

    _fields_ = (("message", _Message), ("received", ctypes.c_uint))


_BETWEEN = _Header.received.offset - _Message.flags.offset - 4
_RESULT = struct.Struct(
    f"={_Message.flags.offset}xi{_BETWEEN}xI{ctypes.sizeof(_Header) - _Header.received.offset - 4}x"
)
"""Flags and bytes received of a header."""


class BulkReceiver:
    """Buffers for MOST frames from one socket. Not for several threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._packets = ctypes.create_string_buffer(FRAME_BYTES * MOST)
        self._controls = ctypes.create_string_buffer(_CONTROL.size * MOST)
        self._vectors = (_Vector * MOST)()
        self._headers = (_Header * MOST)()
        for index, (vector, header) in enumerate(zip(self._vectors, self._headers, strict=True)):
            message = header.message
            vector.base, vector.size = ctypes.addressof(self._packets) + index * FRAME_BYTES, FRAME_BYTES
            message.vectors, message.vector_count = ctypes.pointer(vector), 1
            message.control = ctypes.addressof(self._controls) + index * _CONTROL.size
            message.control_size = _CONTROL.size
        self._pristine = bytes(self._headers)

    def receive(self) -> Iterator[Packet]:
        """What is there now, at most MOST; valid until the next call. Raises OSError, BlockingIOError when there is nothing."""
        # the kernel wrote over the sizes of the control buffers, and leaves old content where it has nothing to say
        ctypes.memmove(self._headers, self._pristine, len(self._pristine))
        ctypes.memset(self._controls, 0, _CONTROL.size * MOST)
        count = self._receive(self._fd, self._headers, MOST, MSG_DONTWAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        rows = zip(
            LAYOUT.iter_unpack(self._packets),
            _CONTROL.iter_unpack(self._controls),
            _RESULT.iter_unpack(self._headers),
            strict=True,
        )
        return islice(rows, count)


def is_whole(result: tuple[int, int]) -> bool:
    """Whether the datagram was exactly one frame."""
    flags, received = result
    return received == FRAME_BYTES and not flags & MSG_TRUNC
