"""One connection of a command to the broker, its callbacks turned into a queue that the command reads at its own pace."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from shared.errors import Unavailable
from shared.mqtt import BrokerSettings, Message, Mqtt

CONNECT_S = 5.0
KEPT_S = 3.0
_SECOND_TRY_S = 0.8
_QUIET_S = 0.3


class Connection(NamedTuple):
    """The connection to the broker came up or went away, and why."""

    up: bool
    reason: str


class Listener:
    """A connection that is up when `with` is entered; raises Unavailable there when the broker cannot be reached."""

    def __init__(self, broker: BrokerSettings, topics: Sequence[str]) -> None:
        self.broker = broker
        self.connection = Connection(up=False, reason="not connected yet")
        self._inbox: queue.SimpleQueue[Message | Connection] = queue.SimpleQueue()
        self._mqtt = Mqtt(
            broker,
            subscriptions=[(topic, 0) for topic in topics],  # QoS 0 keeps their order
            on_message=self._inbox.put,
            on_state=lambda up, reason: self._inbox.put(Connection(up, reason)),
        )

    def __enter__(self) -> Self:
        self._mqtt.start()
        try:
            self._wait_connected()
        except BaseException:
            self._mqtt.stop(0.0)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._mqtt.stop(1.0)

    def next(self, timeout_s: float) -> Message | None:
        """The next message, or None when none arrived in time; changes of the connection only show in `connection`."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) >= 0:
            try:
                arrival = self._inbox.get(timeout=max(left, 0.001))
            except queue.Empty:
                return None
            if isinstance(arrival, Message):
                return arrival
            self.connection = arrival
        return None

    def kept(self, timeout_s: float = KEPT_S) -> list[Message]:
        """What the broker had kept (and the first live message): read once, right after connecting.

        A broker sends what it kept before anything live, so the first live message or a silence after the last one ends it.
        """
        found: list[Message] = []
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            message = self.next(min(left, _QUIET_S) if found else left)
            if message is None:
                break
            found.append(message)
            if not message.retain:
                break
        return found

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message with QoS 1, not retained; raises Unavailable when the connection is down at this moment."""
        if not self._mqtt.publish(topic, payload, qos=1):
            raise Unavailable(f"{self._place()}: {self.connection.reason}; nothing was sent")

    def _wait_connected(self) -> None:
        deadline = time.monotonic() + CONNECT_S
        while not self._mqtt.connected and (left := deadline - time.monotonic()) > 0:
            try:
                arrival = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(arrival, Connection):
                self.connection = arrival
                # a broker that knows no MQTT 5 closes on the first try and takes the second
                deadline = min(deadline, time.monotonic() + _SECOND_TRY_S)
        if not self._mqtt.connected:
            raise Unavailable(f"{self._place()}: {self.connection.reason}; name another broker with --mqtt HOST:PORT")

    def _place(self) -> str:
        return f"broker {self.broker.host}:{self.broker.port}"
