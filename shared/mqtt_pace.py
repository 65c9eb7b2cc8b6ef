"""PURE: how much may be under way on a link of unknown speed, so that something urgent never waits long behind bulk."""

from __future__ import annotations

FIRST, LEAST = 10, 3
QUICK_S, SLOW_S = 0.5, 1.0
"""The broker's acknowledgement within this time: more may be under way; after that time: less."""


class Pace:
    """Grows by one with each quick acknowledgement, shrinks with slow ones; on a loopback it is at `most` within milliseconds.

    `now` is monotonic seconds. What is sent without acknowledgement (QoS 0) may be left out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pace = float(min(FIRST, most))
        self._sent: dict[int, float] = {}
        self._shrunk_at = 0.0

    def sent(self, number: int, now: float) -> None:
        """A message was given to the socket."""
        self._sent[number] = now

    def acknowledged(self, number: int, now: float) -> None:
        """The broker has it."""
        sent_at = self._sent.pop(number, None)
        if sent_at is None:
            return
        took_s = now - sent_at
        if took_s < QUICK_S:
            self._pace = min(self._pace + 1.0, float(self._most))
        elif took_s > SLOW_S and sent_at >= self._shrunk_at:  # once for all that were sent at the pace of before
            self._pace = max(self._pace * SLOW_S / took_s, float(LEAST))
            self._shrunk_at = now

    def is_slow(self, now: float) -> bool:
        """Whether the oldest message under way has been so for longer than it should: send only what is urgent."""
        oldest = next(iter(self._sent.values()), now)
        return now - oldest > QUICK_S

    def room(self, under_way: int) -> int:
        """How many more messages of bulk may follow."""
        return max(0, int(self._pace) - under_way)
