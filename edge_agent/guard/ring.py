"""Keeps numbered, packed records until link has them on disk: bounded in bytes, oldest rows go first, every loss named. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from shared.ipc import EVENT, MAX_PACKET, ROW, Event, Row, mono_of, number_of, pack_event, pack_row

DEFAULT_CAP_BYTES = 16 * 1024 * 1024
"""60 s of 15 modules at 33 Hz (about 420 bytes a row) is 13 MB."""
_SHRINK_TO = 0.95
_LANES = {ROW: "tele", EVENT: "event"}


@dataclass(slots=True)
class _Gap:
    """Numbers that were dropped, one lane, without a hole."""

    lane: str
    first: int
    last: int
    from_us: int
    to_us: int

    def body(self) -> dict[str, object]:
        return {
            "kind": "gap",
            "lane": self.lane,
            "from": self.first,
            "to": self.last,
            "t_from_mono_us": self.from_us,
            "t_to_mono_us": self.to_us,
            "reason": "ring full",
        }


class Ring:
    """Records in the order of their numbers: those sent but not yet released, then those not yet sent.

    A dropped record that was never sent becomes a gap event. One that was sent may be safe with link: it becomes a gap only
    when a later connection shows that link does not have it.
    """

    def __init__(self, cap_bytes: int = DEFAULT_CAP_BYTES) -> None:
        self._cap_bytes = cap_bytes
        self._sent: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        self._lost: list[_Gap] = []
        self._doubtful: list[_Gap] = []
        self._newest_us = 0
        self.next = 1
        self.bytes = 0
        self.dropped = {"tele": 0, "event": 0}

    def __len__(self) -> int:
        return len(self._sent) + len(self._unsent)

    @property
    def first(self) -> int:
        """The number of the oldest record held, or of the next one when none is."""
        oldest = self._sent or self._unsent
        return number_of(oldest[0]) if oldest else self.next

    def add_row(self, row: Row) -> None:
        """Number a row and keep it."""
        self._keep(pack_row(row._replace(number=self.next)), row.mono_us)

    def add_event(self, mono_us: int, body: Mapping[str, object]) -> bool:
        """Number an event and keep it; False, and nothing kept, when it is larger than a packet may be."""
        packet = pack_event(Event(self.next, mono_us, dict(body)))
        if len(packet) <= MAX_PACKET:
            self._keep(packet, mono_us)
        return len(packet) <= MAX_PACKET

    def peek(self) -> bytes | None:
        """The next packet to send, or None."""
        if self._lost:
            lost, self._lost = self._lost, []
            for gap in lost:
                self.add_event(self._newest_us, gap.body())
        return self._unsent[0] if self._unsent else None

    def sent(self) -> None:
        """What `peek` returned has been sent."""
        self._sent.append(self._unsent.popleft())

    def release(self, number: int) -> None:
        """Forget everything up to and including `number`: link has it on disk. Unsent records are never released."""
        while self._sent and number_of(self._sent[0]) <= number:
            self.bytes -= len(self._sent.popleft())
        self._doubtful = _above(self._doubtful, number)

    def reconnect(self, have: int) -> None:
        """A link came that has everything up to `have` on disk: the rest is to be sent (again)."""
        self.release(have)
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        while self._unsent and number_of(self._unsent[0]) <= have:
            self.bytes -= len(self._unsent.popleft())
        self._lost = _above([*self._doubtful, *self._lost], have)
        self._doubtful = []

    def _keep(self, packet: bytes, mono_us: int) -> None:
        self._unsent.append(packet)
        self._newest_us = max(self._newest_us, mono_us)
        self.next += 1
        self.bytes += len(packet)
        if self.bytes > self._cap_bytes:
            self._shrink()

    def _shrink(self) -> None:
        """Drop the oldest rows, and events only when there is no row left; some at once, so that it is seldom needed."""
        goal = int(self._cap_bytes * _SHRINK_TO)
        for kind in (ROW, EVENT):
            for records, gaps in ((self._sent, self._doubtful), (self._unsent, self._lost)):
                if self.bytes > goal:
                    self._drop(kind, records, gaps, goal)

    def _drop(self, kind: bytes, records: deque[bytes], gaps: list[_Gap], goal: int) -> None:
        kept: list[bytes] = []
        while records and self.bytes > goal:
            packet = records.popleft()
            if packet[:1] == kind:
                self.bytes -= len(packet)
                self.dropped[_LANES[kind]] += 1
                _note(gaps, packet)
            else:
                kept.append(packet)
        records.extendleft(reversed(kept))


def _note(gaps: list[_Gap], packet: bytes) -> None:
    number, mono_us, lane = number_of(packet), mono_of(packet), _LANES[packet[:1]]
    last = gaps[-1] if gaps else None
    if last is not None and last.lane == lane and last.last + 1 == number:
        last.last = number
        last.to_us = max(last.to_us, mono_us)
    else:
        gaps.append(_Gap(lane, number, number, mono_us, mono_us))


def _above(gaps: list[_Gap], number: int) -> list[_Gap]:
    for gap in gaps:
        gap.first = max(gap.first, number + 1)
    return [gap for gap in gaps if gap.first <= gap.last]
