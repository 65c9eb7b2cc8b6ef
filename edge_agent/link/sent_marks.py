"""Which messages were handed to the broker, in a small file of fixed slots, so that a link that is killed does not forget it.

What was sent may be stored although its receipt has not come: it must not be given up and told as a gap, and its receipt must be
believed. The file holds the spool's id and `WINDOW` numbers. A mark is written before its message is handed over and never taken
back: a message that is settled or gone never waits again, so its old mark says nothing until another one is written over it.

There is no fsync, for each would cost what a commit costs. What the kernel has taken survives kill -9 of every process; a power
cut may take the marks of the last seconds, or all of them, and then what was sent before it may be told as a gap and yet be
stored, if the spool was at its cap. A wrong mark costs only that its message is sent once more and kept until its receipt.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from edge_agent.link.spool import Lane
from edge_agent.link.uplink import WINDOW

log = logging.getLogger(__name__)

_SLOT = struct.Struct("<Q")
_LANES: tuple[Lane, Lane] = ("tele", "event")
"""By the lowest bit of a mark; above it is the number, and 0 is no mark."""
_SIZE = (1 + WINDOW) * _SLOT.size
"""Below a page: one write of the whole is not cut in two by a kill."""


class SentMarks:
    """The marks of one spool. `sent` names what is on its way at this moment: everything else may be written over.

    OSError never comes out: where a mark cannot be written link goes on without it, `sent_unmarked` counts it, and the next
    mark tries to write all of them again.
    """

    def __init__(self, path: Path, spool: str, sent: Callable[[Lane], list[int]]) -> None:
        self._path, self._sent = path, sent
        self._file: BinaryIO | None = None
        self.counts: Counter[str] = Counter()
        self._table = self._read(spool.encode())
        marks = (mark for (mark,) in _SLOT.iter_unpack(self._table[_SLOT.size :]))
        self._slots = {mark: slot for slot, mark in enumerate(marks, 1) if mark}
        self._free: list[int] = []

    def before(self) -> Iterator[tuple[Lane, int]]:
        """What a process before this one had marked: what of it still waits in the spool may be stored."""
        return ((_LANES[mark & 1], mark >> 1) for mark in self._slots)

    def note(self, lane: Lane, seq: int) -> None:
        """Mark a message that is handed over next."""
        mark = _mark(lane, seq)
        if mark not in self._slots:
            if not self._free:
                self._reclaim()
            slot = self._slots[mark] = self._free.pop()
            _SLOT.pack_into(self._table, slot * _SLOT.size, mark)
            self._write(slot * _SLOT.size, _SLOT.size)

    def close(self) -> None:
        """Give the file free; may be called twice."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # nothing is buffered here: what could fail has been counted
                file.close()

    def _reclaim(self) -> None:
        """Of at most `WINDOW` on their way one was not marked yet: at least its slot is found."""
        alive = {_mark(lane, seq) for lane in _LANES for seq in self._sent(lane)}
        self._slots = {mark: slot for mark, slot in self._slots.items() if mark in alive}
        self._free = sorted(set(range(1, 1 + WINDOW)) - set(self._slots.values()), reverse=True)

    def _read(self, spool: bytes) -> bytearray:
        empty = bytearray(spool + bytes(_SIZE - _SLOT.size))
        try:
            with self._path.open("rb") as file:
                found = file.read(_SIZE + 1)
        except FileNotFoundError:
            return empty
        except OSError as error:
            found = str(error).encode()
        if len(found) == _SIZE and found.startswith(spool):
            return bytearray(found)
        self.counts["sent_marks_void"] += 1
        log.warning(
            "%s has no marks of the spool %s: what was sent before is not known", self._path.name, spool.decode()
        )
        return empty

    def _write(self, first: int, size: int) -> None:
        try:
            if self._file is None:
                self._file, first, size = self._opened(), 0, _SIZE
            if os.pwrite(self._file.fileno(), self._table[first : first + size], first) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 the disk took a part of it
        except OSError as error:
            if not self.counts["sent_unmarked"]:
                log.warning("%s cannot be written (%s): a kill would forget what is sent now", self._path.name, error)
            self.counts["sent_unmarked"] += 1
            self.close()

    def _opened(self) -> BinaryIO:
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)
        file.truncate(_SIZE)
        return file


def _mark(lane: Lane, seq: int) -> int:
    return seq << 1 | _LANES.index(lane)
