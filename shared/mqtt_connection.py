"""One connection to the broker from CONNECT to its end: the only module that imports paho.

A connection is one paho client, used by one thread and thrown away: nothing half-sent survives it. Measured reasons: paho's
own thread dies silently when a callback raises; its queue resends an oversize message for ever; a late acknowledgement after
a reconnect may hit another message.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared import connection_reasons
from shared.broker import BrokerSettings
from shared.mqtt_pace import Pace

log = logging.getLogger(__name__)

MAX_PACKET = 256 * 1024
"""Nothing larger is published: topic, payload and overhead."""
WINDOW = 100
_CONNECT_TIMEOUT_S = 3.0
_CONNACK_TIMEOUT_S = 5.0
_TURN_S = 0.5
_READS_A_TURN = 200
_FORGET = struct.pack("ii", 1, 0)
_UNSUPPORTED_VERSION, _KEEPALIVE = 132, 141
_MUTE = "the broker takes the connection but does not answer"


class Message(NamedTuple):
    """One received message. `retain` is True only for one the broker had kept from before."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    response_topic: str | None = None
    correlation: bytes | None = None


class Outgoing(NamedTuple):
    """One message to send. `correlation` is MQTT 5 only and left out otherwise. `urgent`: does not wait for a slow link."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    urgent: bool = True
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """All that a new connection needs to know, the same for each of them."""

    settings: BrokerSettings
    password: str | None
    tls: ssl.SSLContext | None
    will: tuple[str, bytes] | None
    subscriptions: Sequence[tuple[str, int]]


class Connection:
    """One attempt and what came of it. Only its own thread may call it; other threads may read the attributes.

    Attributes:
        accepted: the broker has said yes.
        ended: why it is over, "" while it is not or when the broker just closed.
        answered: the broker has ever said yes.
        too_new: the broker closed on MQTT 5 before answering: try 3.1.1.
        mute: it took the connection and said nothing.
        taken_over: another client with our id was let in: do not fight for the session.
    """

    def __init__(
        self, opening: Opening, version: int, *, on_message: Callable[[Message], None], counts: Counter[str]
    ) -> None:
        self._opening = opening
        self._on_message = on_message
        self._counts = counts
        self.version = version
        self.accepted = False
        self.ended = ""
        self.answered = self.mute = False
        self.too_new = False
        self.taken_over = False
        self._leaving = False
        self.in_flight = 0
        self.window = WINDOW
        self.pace = Pace(WINDOW)
        self.max_packet = MAX_PACKET
        self.since = time.monotonic()
        self._client = self._build()

    def _build(self) -> paho.Client:
        protocol = MQTTProtocolVersion.MQTTv5 if self.version == 5 else MQTTProtocolVersion.MQTTv311
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._opening.settings.client_id,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_inflight_messages = WINDOW
        if self._opening.settings.username is not None:
            client.username_pw_set(self._opening.settings.username, self._opening.password)
        if self._opening.tls is not None:
            client.tls_set_context(self._opening.tls)
        if self._opening.will is not None:
            client.will_set(*self._opening.will, qos=1, retain=True)
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._suback
        client.on_publish = self._puback
        client.on_message = self._received
        client.on_socket_close = self._closing
        return client

    def open(self) -> None:
        """Connect the socket and send CONNECT; never raises, a failure is in `ended`."""
        settings = self._opening.settings
        try:
            self._client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
        except (OSError, ValueError) as error:
            self.ended = connection_reasons.of_error(error, settings.host, settings.port)

    @property
    def alive(self) -> bool:
        """Whether another `turn` makes sense."""
        if not self.accepted and not self.ended and time.monotonic() - self.since > _CONNACK_TIMEOUT_S:
            self.ended, self.mute = _MUTE, True
        return self._client.socket() is not None and not self.ended

    @property
    def has_room(self) -> bool:
        """Whether one more message fits into the window."""
        return self.accepted and self.in_flight < self.window

    @property
    def settled(self) -> bool:
        """Whether everything sent has been acknowledged."""
        return self.in_flight == 0 and not self._client.want_write()

    def turn(self, wake: socket.socket) -> bool:
        """Wait for the socket or for `wake`, at most half a second, and do the I/O; True when `wake` is readable."""
        sock = self._client.socket()
        if sock is None:
            return False
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, wake], writers, [], 0.0 if _decrypted(sock) else _TURN_S)
        if _decrypted(sock) or sock in readable:
            self._read()
        if writable and self._client.socket() is sock:
            self._client.loop_write()
        self._client.loop_misc()
        return wake in readable

    def _read(self) -> None:
        """What is there, up to a bound: acknowledgements may stand behind a flood of messages, and nothing is sent meanwhile."""
        for _ in range(_READS_A_TURN):
            self._client.loop_read()
            sock = self._client.socket()
            if sock is None or not (_decrypted(sock) or select.select([sock], [], [], 0.0)[0]):
                return

    def send(self, message: Outgoing) -> bool:
        """Give one message to the socket; False when the connection did not take it."""
        properties = None
        if message.correlation is not None and self.version == 5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho publishes no type for it
            properties.CorrelationData = message.correlation
        self.in_flight += 1
        now = time.monotonic()
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if message.qos:
            self.pace.sent(info.mid, now)
        return info.rc == paho.MQTT_ERR_SUCCESS

    def leave(self) -> None:
        """Say goodbye, so that the broker does not publish the will."""
        self._leaving = True
        self._client.disconnect()

    def close(self) -> None:
        """Give the socket back, whatever state it is in."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            self._closing(self._client, None, sock)
            sock.close()
        self.accepted = False

    # ---- paho's callbacks -------------------------------------------------------------------------------------------

    def _connack(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.too_new = self.version == 5 and reason.value == _UNSUPPORTED_VERSION
            self.ended = connection_reasons.of_broker(reason.value, str(reason))
            return
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.max_packet = min(MAX_PACKET, getattr(properties, "MaximumPacketSize", MAX_PACKET))
        if self._opening.subscriptions:
            client.subscribe(list(self._opening.subscriptions))
        self.since = time.monotonic()
        self.accepted = self.answered = True

    def _disconnected(
        self, _client: paho.Client, _data: object, flags: paho.DisconnectFlags, reason: ReasonCode, _more: object
    ) -> None:
        if self._leaving:
            self.ended = "disconnected"
        if self.ended:  # paho calls this up to twice for one loss: the first reason stands
            return
        if flags.is_disconnect_packet_from_server:
            self.taken_over = connection_reasons.is_taken_over(reason.value)
            self.ended = connection_reasons.of_broker(reason.value, str(reason))
        elif reason.value == _KEEPALIVE:
            self.mute = not self.accepted
            self.ended = _MUTE if self.mute else "the broker does not answer any more"
        elif self.accepted:
            self.ended = "the connection was lost"
        else:
            self.too_new = self.version == 5
            self.ended = "the broker closed the connection before answering"

    def _closing(self, _client: paho.Client, _data: object, sock: object) -> None:
        """Unless we say goodbye, what was not sent is forgotten with the connection.

        Otherwise the kernel delivers it when the network is whole again: an old CONNECT takes the session from its successor,
        and its end publishes our will.
        """
        if isinstance(sock, socket.socket) and not self._leaving:
            with contextlib.suppress(OSError):  # it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)

    def _suback(self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _more: object) -> None:
        refused = sum(reason.is_failure for reason in reasons)
        if refused:
            self._counts["subscriptions_refused"] += refused
            log.warning("the broker refused %d of %d subscriptions", refused, len(reasons))

    def _puback(self, _client: paho.Client, _data: object, mid: int, reason: ReasonCode, _more: object) -> None:
        self.in_flight -= 1
        self.pace.acknowledged(mid, time.monotonic())
        if reason.is_failure:
            self._counts["refused_by_broker"] += 1
            log.warning("the broker refused a message: %s", reason)

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self._counts["received"] += 1
        try:
            self._on_message(_as_message(message))
        except Exception:  # the edge between the network thread and a caller's code
            self._counts["callback_errors"] += 1
            log.exception("on_message failed; the connection goes on")


def _decrypted(sock: object) -> bool:
    """Whether TLS has read more from the socket than was asked for: select does not see that."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _as_message(message: paho.MQTTMessage) -> Message:
    properties = message.properties
    return Message(
        message.topic,
        bytes(message.payload),
        bool(message.retain),
        message.qos,
        getattr(properties, "ResponseTopic", None),
        getattr(properties, "CorrelationData", None),
    )
