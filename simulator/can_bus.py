"""The CAN bus in virtual time: one frame at a time, the lowest identifier first, each taking its bits."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

HOST_QUEUE = 64
MAILBOX_DEPTH = 2
STANDARD_OVERHEAD_BITS = 51  # 47 fixed ones and a few stuffed
EXTENDED_OVERHEAD_BITS = 73


class Frame(NamedTuple):
    """A classic CAN frame; an identifier above 0x7FF, or `extended`, is a 29-bit one."""

    can_id: int
    data: bytes
    extended: bool = False


Deliver = Callable[[list[Frame]], None]
Hear = Callable[[Frame, float], None]


class CanBus:
    """Senders submit, the bus arbitrates, `deliver` gets what the nodes sent, `hear` what the host sent."""

    def __init__(self, bitrate: int, deliver: Deliver, hear: Hear) -> None:
        self.bitrate = bitrate
        self._deliver = deliver
        self._hear = hear
        self._waiting: list[tuple[int, int, int, str]] = []
        self._mailboxes: dict[tuple[int, str], deque[Frame]] = {}
        self._host: dict[int, Frame] = {}
        self._numbers = 0
        self._free_at = 0.0
        self.sent: Counter[int] = Counter()
        self.heard: Counter[int] = Counter()
        self.overwritten = 0
        self.host_refused = 0

    def submit(self, sender: str, frame: Frame, now: float) -> None:
        """A node's transmit queue: behind one frame still waiting fits one more of that identifier, newer ones replace it."""
        mailbox = self._mailboxes.setdefault((frame.can_id, sender), deque())
        if len(mailbox) >= MAILBOX_DEPTH:
            mailbox[-1] = frame
            self.overwritten += 1
            return
        mailbox.append(frame)
        self._enqueue(frame, sender, now)

    def submit_host(self, frame: Frame, now: float) -> bool:
        """The host's transmit queue; False when it is full."""
        if len(self._host) >= HOST_QUEUE:
            self.host_refused += 1
            return False
        self._host[self._numbers + 1] = frame
        self._enqueue(frame, "", now)
        return True

    def _enqueue(self, frame: Frame, sender: str, now: float) -> None:
        if not self._waiting:
            self._free_at = max(self._free_at, now)
        self._numbers += 1
        priority = frame.can_id << 1 | 1 if frame.extended else frame.can_id << 19
        heapq.heappush(self._waiting, (priority, self._numbers, frame.can_id, sender))

    def duration_s(self, frame: Frame) -> float:
        """How long the frame holds the bus."""
        overhead = EXTENDED_OVERHEAD_BITS if frame.extended else STANDARD_OVERHEAD_BITS
        return (overhead + 8 * len(frame.data)) / self.bitrate

    @property
    def due(self) -> float:
        """When to call `advance` next: infinity while nothing waits."""
        return self._free_at if self._waiting else float("inf")

    def advance(self, now: float) -> None:
        """Carry the frames that fit until `now`; what the host sent is heard in its turn and may be answered at once."""
        carried: list[Frame] = []
        while self._waiting and self._free_at <= now:
            _, number, can_id, sender = heapq.heappop(self._waiting)
            if sender:
                frame = self._mailboxes[can_id, sender].popleft()
                self.sent[frame.can_id] += 1
                carried.append(frame)
            else:
                frame = self._host.pop(number)
                self.heard[frame.can_id] += 1
                self._hear(frame, self._free_at)
            self._free_at += self.duration_s(frame)
        if carried:
            self._deliver(carried)

    def clear(self) -> None:
        """Nobody is on the bus any more: forget what waits."""
        self._waiting.clear()
        self._mailboxes.clear()
        self._host.clear()
