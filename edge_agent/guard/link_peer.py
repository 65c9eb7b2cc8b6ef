"""One connected link: what waits to be sent to it and what it has sent, never waiting for it."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Sequence

from edge_agent.guard.ring import Ring
from shared.ipc import MAX_PACKET

_ANSWERS_KEPT = 1000
_PACKETS_A_TURN = 256


class Peer:
    """A link's connection. HELLO and all states go first, answers before records; records only once it is `welcomed`.

    An answer that finds 1 000 others waiting drops the oldest: it is also an event, which is not dropped.
    """

    def __init__(self, connection: socket.socket, first: Sequence[bytes]) -> None:
        connection.settimeout(0.0)
        self.socket = connection
        self.first = deque(first)
        self.answers: deque[bytes] = deque(maxlen=_ANSWERS_KEPT)
        self.states: dict[str, bytes] = {}
        self.welcomed = False
        self.blocked = False
        self.closed = False

    def receive(self) -> Iterator[bytes]:
        """The packets that have come, at most some at once; sets `closed` when the other end is gone."""
        for _ in range(_PACKETS_A_TURN):
            try:
                packet = self.socket.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.closed = True
                return
            yield packet

    def send(self, ring: Ring) -> None:
        """Send what can be sent without waiting; sets `blocked` when more could be sent later."""
        self.blocked = not (self._send_queued() and self._send_records(ring))

    def _send_queued(self) -> bool:
        for queue in (self.first, self.answers):
            while queue:
                if not self._put(queue[0]):
                    return False
                queue.popleft()
        while self.states:
            name = next(iter(self.states))
            if not self._put(self.states[name]):
                return False
            del self.states[name]
        return True

    def _send_records(self, ring: Ring) -> bool:
        while self.welcomed and (packet := ring.peek()) is not None:
            if not self._put(packet):
                return False
            ring.sent()
        return True

    def _put(self, packet: bytes) -> bool:
        try:
            self.socket.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            self.closed = True
            return False
        return True
