"""A real broker with the shipped settings, its keys from `cellguard certs`, and clients that do one thing at a time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

import mosquitto
from cellguard.credentials import acl
from cellguard.credentials.folder import Folder, write_private
from cellguard.credentials.office import Office
from tests.conftest import free_port, wait_for

HOST = "127.0.0.1"
SHIPPED = "/etc/mosquitto/cellguard"
AUDITOR = "auditor"
"""A user that only the tests have: may read and write everything."""


class LockedBroker:
    """mosquitto with the project's own mosquitto.conf: only the folder and the ports are put in."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path / "keys")
        self.office = Office(self.folder)
        self.office.start([HOST, "localhost"], now())
        self.machines, self.people = free_port(), free_port()
        self._log = path / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_settings()

    def _write_settings(self) -> None:
        text = mosquitto.read("mosquitto.conf").replace(SHIPPED, str(self.folder.broker))
        for port, own in ((8883, self.machines), (8884, self.people)):
            assert text.count(f"listener {port}\n") == 1
            text = text.replace(f"listener {port}\n", f"listener {own} {HOST}\n")
        if os.geteuid() == 0:  # as a service it would become `mosquitto`, who does not own these files
            text += "user root\n"
        write_private(self.folder.broker / "mosquitto.conf", text.encode())

    def add_setting(self, lines: str) -> None:
        """Settings that the shipped file only recommends."""
        path = self.folder.broker / "mosquitto.conf"
        write_private(path, lines.encode() + path.read_bytes())

    def add_auditor(self) -> None:
        """Give the tests somebody who sees all."""
        self.office.password("viewer", AUDITOR)
        path = self.folder.broker / "acl"
        text = acl.without_user(path.read_text(), AUDITOR)
        write_private(path, f"{text}\nuser {AUDITOR}\ntopic readwrite #\ntopic read $SYS/#\n".encode())

    def start(self) -> None:
        """Start, and wait until both doors are open."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        with self._log.open("ab") as log:
            command = [program, "-c", str(self.folder.broker / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: all(map(_listens, (self.machines, self.people))), 5.0, self.said)

    def reload(self) -> None:
        """SIGHUP, as the commands say; wait until it has read everything again."""
        assert self._process is not None
        before = self.said().count("Reloading config.")
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.said().count("Reloading config.") > before, 5.0, "the broker to reload")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(5.0)
            self._process = None

    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def tls(self, name: str | None = None) -> ssl.SSLContext:
        """Trust in the broker, and the certificate of `name`."""
        context = ssl.create_default_context(cafile=str(self.folder.broker / "ca.crt"))
        if name is not None:
            stem = self.folder.client(name) / name.rpartition("/")[2]
            context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
        return context

    def password_of(self, name: str) -> str:
        """What `broker password` wrote for a name."""
        return (self.folder.client(name) / f"{name.rpartition('/')[2]}.password").read_text().strip()


class Client:
    """One MQTT client, watched: what it was told, what it received, how it ended."""

    def __init__(
        self,
        port: int,
        tls: ssl.SSLContext,
        *,
        client_id: str = "",
        login: tuple[str, str] | None = None,
        will: tuple[str, bytes, bool] | None = None,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        host: str = HOST,
    ) -> None:
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, reconnect_on_failure=False
        )
        self._client.tls_set_context(tls)
        if login is not None:
            self._client.username_pw_set(*login)
        if will is not None:
            topic, payload, retain = will
            self._client.will_set(topic, payload, qos=1, retain=retain)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._gone
        self._client.on_message = self._received
        self._client.on_publish = self._acknowledged
        self._client.on_subscribe = self._subscribed
        self.answer: bool | None = None
        self.ended = ""
        self.received: list[paho.MQTTMessage] = []
        self.accepted: dict[int, bool] = {}
        self.subscriptions = 0
        self._open(host, port)
        wait_for(lambda: self.answer is not None or self.ended, 5.0, "an answer of the broker")

    def _open(self, host: str, port: int) -> None:
        try:
            self._client.connect(host, port, keepalive=20)
        except OSError as error:
            self.ended = str(error) or "failed"
        else:
            self._client.loop_start()

    def _connected(self, _client: object, _data: object, _flags: object, reason: Any, _more: object) -> None:
        self.answer = not reason.is_failure

    def _gone(self, _client: object, _data: object, _flags: object, reason: Any, _more: object) -> None:
        self.ended = str(reason)

    def _received(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.received.append(message)

    def _acknowledged(self, _client: object, _data: object, number: int, reason: Any, _more: object) -> None:
        self.accepted[number] = not reason.is_failure

    def _subscribed(self, *_: object) -> None:
        self.subscriptions += 1

    @property
    def up(self) -> bool:
        """Let in, and still there."""
        return self.answer is True and not self.ended

    def publish(self, topics: Iterable[str], payload: bytes, *, retain: bool = False) -> None:
        """Publish the same to each topic and wait for the broker's acknowledgements."""
        sent = [self._client.publish(topic, payload, qos=1, retain=retain).mid for topic in topics]
        wait_for(lambda: all(number in self.accepted for number in sent), 5.0, "the broker's acknowledgements")

    def fire(self, topic: str, payload: bytes) -> None:
        """Publish without waiting for anything."""
        self._client.publish(topic, payload, qos=1)

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to all of them and wait until the broker has taken it."""
        before = self.subscriptions
        self._client.subscribe([(topic, 1) for topic in topics])
        wait_for(lambda: self.subscriptions > before, 5.0, "the broker's answer to a subscription")

    def grab(self, topics: Iterable[str]) -> None:
        """Subscribe without waiting for anything."""
        self._client.subscribe([(topic, 1) for topic in topics])

    def topics(self, payload: bytes) -> set[str]:
        """Where a payload was received."""
        return {message.topic for message in list(self.received) if message.payload == payload}

    def cut(self) -> None:
        """Tear the connection like a pulled cable that the broker notices at once: it publishes the will."""
        sock = self._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)  # of the TCP connection, without a goodbye of MQTT
        self._client.loop_stop()

    def leave(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()


def now() -> datetime:
    """The time that certificates are made with."""
    return datetime.now(UTC)


def login(broker: LockedBroker, name: str) -> tuple[str, str]:
    """User name and password of somebody with a password."""
    return name, broker.password_of(name)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
