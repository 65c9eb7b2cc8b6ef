"""Receives many CAN frames with their kernel stamps by one system call, recvmmsg(2), which the socket module lacks."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import compress
from socket import MSG_DONTWAIT, MSG_TRUNC

from edge_agent.guard.codecs.can_frame import FRAME_BYTES

SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
"""Linux numbers that the socket module does not name."""
MOST = 64
WHOLE = (0, FRAME_BYTES)
"""The ordinary (flags, bytes received)."""

_WORD = struct.calcsize("@N")
_RECORD = struct.Struct(f"@IB3x8s{_WORD + 4}xill{_WORD + 4}xiI{-4 % _WORD}x")
"""A frame as codecs.can_frame lays it out, and behind it two control messages (size, level, type, data), each aligned to a word:
the stamp, then the count of lost datagrams. Sizes and levels are passed over."""

Packet = tuple[int, int, bytes, int, int, int, int, int]
"""Identifier, length, data; type, s and ns of the first control message; type and count of the second."""


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


_HEADER_BYTES = ctypes.sizeof(_Header)
_BETWEEN = _Header.received.offset - _Message.flags.offset - 4
_RESULT = struct.Struct(f"={_Message.flags.offset}xi{_BETWEEN}xI{_HEADER_BYTES - _Header.received.offset - 4}x")
"""Flags and bytes received of a header."""


class BulkReceiver:
    """Buffers for MOST frames from one socket. Not for several threads."""

    def __init__(self, fd: int) -> None:
        self._records = ctypes.create_string_buffer(_RECORD.size * MOST)
        self._view = memoryview(self._records).cast("B")
        self._vectors = (_Vector * MOST)()
        self._headers = (_Header * MOST)()
        for index, (vector, header) in enumerate(zip(self._vectors, self._headers, strict=True)):
            message = header.message
            record = ctypes.addressof(self._records) + index * _RECORD.size
            vector.base, vector.size = record, FRAME_BYTES
            message.vectors, message.vector_count = ctypes.pointer(vector), 1
            message.control, message.control_size = record + FRAME_BYTES, _RECORD.size - FRAME_BYTES
        receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._receive: Callable[[], int] = partial(receive, fd, self._headers, MOST, int(MSG_DONTWAIT), None)
        # slices of views cost a third of memmove, memset and string_at by ctypes
        self._head = memoryview(self._headers).cast("B")
        self._pristine, self._blank = bytes(self._headers), bytes(self._records)
        self._ordinary = b""
        self._used = MOST
        self.malformed = 0

    def receive(self) -> Iterator[Packet]:
        """What is there now, at most MOST frames; to be used up before the next call.

        Datagrams that are not exactly one frame are left out and counted. Raises OSError, BlockingIOError when there is nothing.
        """
        # the kernel wrote over the sizes of the control buffers, and leaves old content where it has nothing to say
        head, used = _HEADER_BYTES * self._used, _RECORD.size * self._used
        self._head[:head] = self._pristine[:head]
        self._view[:used] = self._blank[:used]
        self._used = MOST
        count = self._receive()
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self._used = count
        packets = _RECORD.iter_unpack(self._view[: _RECORD.size * count])
        results = self._head[: _HEADER_BYTES * count].tobytes()
        return packets if self._ordinary.startswith(results) else self._checked(packets, results)

    def _checked(self, packets: Iterator[Packet], results: bytes) -> Iterator[Packet]:
        """What the headers say, one by one. They are alike in each call that brought whole frames with nothing but their stamps."""
        verdicts = [result == WHOLE or _is_whole(result) for result in _RESULT.iter_unpack(results)]
        if all(verdicts):
            self._ordinary = max(self._ordinary, results, key=len)
            return packets
        self.malformed += verdicts.count(False)
        return compress(packets, verdicts)


def _is_whole(result: tuple[int, int]) -> bool:
    """Whether the datagram was exactly one frame."""
    flags, received = result
    return received == FRAME_BYTES and not flags & MSG_TRUNC
