"""The door to MQTT for every program: a connection that keeps itself up, says why it is down, and hides no loss.

MQTT 5 is tried first; a broker that closes on it or never answers it is spoken to in 3.1.1. What was not sent is dropped and counted, never
queued for later: callers resend what matters. Retained topics are the exception: their last value is published again after
every connect, so that a broker that came back empty tells the truth.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from shared.broker import BrokerSettings
from shared.mqtt_connection import MAX_PACKET, WINDOW, Connection, Message, Opening, Outgoing
from shared.mqtt_version import Version

__all__ = ["MAX_PACKET", "WINDOW", "BrokerSettings", "Message", "Mqtt"]

log = logging.getLogger(__name__)

_RESERVED_FOR_RETAINED = 10
_OVERHEAD = 64
_DELAY_MIN_S, _DELAY_MAX_S = 0.2, 2.5
_STABLE_S = 5.0
_SUSPICIOUS = 3
"""So many short lives in a row look like two clients with one id."""
_GOODBYE_S = 1.0
_JOIN_S = 5.0


class Mqtt:
    """A connection to the broker that is kept up by a thread of its own.

    `on_message` and `on_state(connected, reason)` are called on that thread: they must only enqueue. An exception in them is
    counted and logged, and the thread goes on. `will` is (topic, payload), published retained with QoS 1 by the broker.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        will: tuple[str, bytes] | None = None,
        subscriptions: Sequence[tuple[str, int]] = (),
        on_message: Callable[[Message], None] | None = None,
        on_state: Callable[[bool, str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._will = will
        self._subscriptions = tuple(subscriptions)
        self._on_message = on_message or _ignore_message
        self._on_state = on_state or _ignore_state
        self._queue: deque[Outgoing] = deque()
        self._retained: dict[str, Outgoing] = {}
        self._dirty: dict[str, None] = {}
        self._connection: Connection | None = None
        self._counts: Counter[str] = Counter()
        self._said: tuple[bool, str] = (False, "")
        self._stop_at: float | None = None
        self._short_lives = 0
        self._idle = threading.Event()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.settimeout(0.0)
        self._wake_out.settimeout(0.0)
        self._thread: threading.Thread | None = None

    # ---- called from any thread -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin connecting, for ever, in the background; raises ConfigError on an unreadable password, CA or key."""
        opening = Opening(
            self._settings,
            self._settings.read_password(),
            self._settings.tls_context(),
            self._will,
            self._subscriptions,
        )
        name = f"mqtt-{self._settings.client_id}"
        self._thread = threading.Thread(target=self._run, args=(opening,), name=name, daemon=True)
        self._thread.start()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, correlation: bytes | None = None
    ) -> bool:
        """Hand one message to the connection of this moment; False (counted) when there is none, no room, or it is too large.

        True does not promise delivery: what a lost connection had not sent is dropped and counted as `lost`.
        """
        connection = self._connection
        if connection is None or not connection.accepted:
            self._counts["refused_disconnected"] += 1
        elif self._too_large(topic, payload, connection.max_packet):
            return False
        elif self.room() <= 0:
            self._counts["refused_window"] += 1
        else:
            self._queue.append(Outgoing(topic, payload, qos, retain, correlation=correlation))
            self._wake()
            return True
        return False

    def retain(self, topic: str, payload: bytes, *, qos: int = 1, urgent: bool = True) -> None:
        """Keep `topic` at `payload` on the broker: the last value is published now and again after every connect.

        What is not `urgent` waits while the link is slow, and only its newest value is sent then.
        """
        if self._too_large(topic, payload, MAX_PACKET):
            return
        self._retained[topic] = Outgoing(topic, payload, qos, retain=True, urgent=urgent)
        self._dirty[topic] = None
        self._wake()

    def room(self) -> int:
        """How many more messages `publish` would take at this moment; 0 while disconnected."""
        connection = self._connection
        if connection is None or not connection.accepted:
            return 0
        return max(0, WINDOW - _RESERVED_FOR_RETAINED - connection.in_flight - len(self._queue))

    def bulk_room(self, spare: int) -> int:
        """As `room`, for what is not urgent: leaves `spare` free, and no more under way than the link carries in about a second."""
        connection = self._connection
        if connection is None or not connection.accepted:
            return 0
        return min(self.room() - spare, connection.pace.room(connection.in_flight + len(self._queue)))

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and no loss has been noticed since."""
        connection = self._connection
        return connection is not None and connection.accepted

    def counters(self) -> dict[str, int]:
        """Everything that was sent, refused, lost or failed so far, by name."""
        return dict(self._counts)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything handed over is acknowledged by the broker; False when that takes longer."""
        return self._idle.wait(timeout_s)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send what is queued for at most `timeout_s`, disconnect cleanly (the will is not sent), end the thread."""
        self._stop_at = time.monotonic() + timeout_s
        if self._thread is None:
            self._close_wake()
            return
        self._wake()
        self._thread.join(timeout_s + _JOIN_S)

    def _too_large(self, topic: str, payload: bytes, limit: int) -> bool:
        size = len(topic) + len(payload) + _OVERHEAD
        if size > limit:
            self._counts["refused_size"] += 1
            log.warning("not sent: %s with %d bytes, allowed %d", topic, size, limit)
        return size > limit

    def _wake(self) -> None:
        self._idle.clear()
        try:
            self._wake_out.send(b"!")
        except OSError:  # a full pipe wakes as well; a closed one belongs to a connection that has ended
            return

    # ---- the network thread -----------------------------------------------------------------------------------------

    def _run(self, opening: Opening) -> None:
        delay_s, version = _DELAY_MIN_S, Version()
        try:
            while self._stop_at is None:
                connection = Connection(opening, version.next, on_message=self._on_message, counts=self._counts)
                self._live(connection)
                stable = self._end(connection)
                if connection.answered:
                    version.accepted()
                else:
                    version.refused(too_new=connection.too_new, mute=connection.mute)
                if stable:
                    delay_s = _DELAY_MIN_S
                elif not connection.too_new:  # a second try in 3.1.1 comes soon; a refusal must not become a storm
                    delay_s = min(delay_s * 2, _DELAY_MAX_S)
                self._pause(self._delay(connection, delay_s))
        finally:
            self._close_wake()

    @staticmethod
    def _delay(connection: Connection, delay_s: float) -> float:
        if connection.taken_over:
            return _DELAY_MAX_S
        # an attempt that waited for an answer has been a pause itself: a network that is whole again is to be seen within 3 s
        waited_s = 0.0 if connection.answered else time.monotonic() - connection.since
        return _DELAY_MIN_S if connection.too_new else max(_DELAY_MIN_S, delay_s - waited_s)

    def _live(self, connection: Connection) -> None:
        """One connection from its beginning to its end; whatever happens in it ends here."""
        self._connection = connection
        try:
            connection.open()
            while connection.alive and not self._leaving(connection):
                if connection.turn(self._wake_in):
                    self._drain_wake()
                if connection.accepted:
                    self._said_connected(connection)
                    self._send(connection)
        except Exception as error:  # the thread's edge: paho raises many kinds on malformed packets
            self._counts["connection_errors"] += 1
            connection.ended = f"the connection failed unexpectedly: {type(error).__name__}: {error}"
            log.exception("the connection to %s:%d failed unexpectedly", self._settings.host, self._settings.port)
        finally:
            self._connection = None
            connection.close()

    def _leaving(self, connection: Connection) -> bool:
        """While stopping: leave once all is sent or time is over."""
        if self._stop_at is None:
            return False
        now = time.monotonic()
        if connection.accepted and not self._settled(connection) and now < self._stop_at:
            return False
        connection.leave()
        while connection.alive and time.monotonic() < now + _GOODBYE_S:
            connection.turn(self._wake_in)
        return True

    def _send(self, connection: Connection) -> None:
        while self._queue and connection.has_room:
            self._send_one(connection, self._queue.popleft())
        for topic in list(self._dirty):
            if not connection.has_room:
                return
            if not self._retained[topic].urgent and connection.pace.is_slow(time.monotonic()):
                continue
            del self._dirty[topic]  # before the value is read: a newer one marks it again
            self._send_one(connection, self._retained[topic])
        if self._settled(connection):
            self._idle.set()

    def _send_one(self, connection: Connection, message: Outgoing) -> None:
        taken = connection.send(message)
        self._counts["published" if taken else "not_taken"] += 1

    def _settled(self, connection: Connection) -> bool:
        return not self._queue and not self._dirty and connection.settled

    def _end(self, connection: Connection) -> bool:
        """Account for a connection that is over; True when it had been up for a while."""
        was_up = self._said[0]
        self._counts["disconnects" if was_up else "connects_failed"] += 1
        self._counts["lost"] += len(self._queue) + connection.in_flight
        self._queue.clear()
        self._dirty.update(dict.fromkeys(list(self._retained)))
        stable = was_up and time.monotonic() - connection.since > _STABLE_S
        self._notice_twin(connection, short_lived=was_up and not stable)
        self._say(connected=False, reason=connection.ended or "disconnected")
        return stable

    def _notice_twin(self, connection: Connection, *, short_lived: bool) -> None:
        """A second program with our id is a fight for the session; Mosquitto 2.0.11 ends the loser without a word."""
        self._short_lives = self._short_lives + 1 if short_lived else 0
        if self._short_lives >= _SUSPICIOUS and not connection.taken_over:
            connection.taken_over = True
            connection.ended += (
                f" again and again: does another program use the client id {self._settings.client_id!r}?"
            )
        self._counts["taken_over"] += connection.taken_over

    def _said_connected(self, connection: Connection) -> None:
        if not self._said[0]:
            self._counts["connects"] += 1
            self._say(connected=True, reason=f"connected with MQTT {'5' if connection.version == 5 else '3.1.1'}")

    def _say(self, *, connected: bool, reason: str) -> None:
        if (connected, reason) == self._said:
            return
        self._said = (connected, reason)
        log.info("broker %s:%d: %s", self._settings.host, self._settings.port, reason)
        try:
            self._on_state(connected, reason)
        except Exception:  # the edge between the network thread and a caller's code
            self._counts["callback_errors"] += 1
            log.exception("on_state failed; the connection goes on")

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._stop_at is None and (left := deadline - time.monotonic()) > 0:
            if select.select([self._wake_in], [], [], left)[0]:
                self._drain_wake()

    def _drain_wake(self) -> None:
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            return

    def _close_wake(self) -> None:
        self._wake_in.close()
        self._wake_out.close()


def _ignore_message(_message: Message) -> None:
    """Publishers that receive nothing."""


def _ignore_state(_connected: bool, _reason: str) -> None:
    """Callers that ask `connected` instead."""
