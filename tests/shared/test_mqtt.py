"""The connection to a real broker: what it promises when the broker, the caller or the payload misbehaves."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError
from shared.mqtt import MAX_PACKET, BrokerSettings, Message, Mqtt


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        signal.sigtimedwait([], 0.01)


class Peer:
    """One client with everything it received and was told."""

    def __init__(self, settings: BrokerSettings, **more: Any) -> None:
        self.messages: list[Message] = []
        self.states: list[tuple[bool, str]] = []
        more.setdefault("on_message", self.messages.append)
        self.mqtt = Mqtt(settings, on_state=lambda *state: self.states.append(state), **more)
        self.mqtt.start()

    def up(self) -> None:
        wait_for(lambda: self.mqtt.connected, 8, "connecting")

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.topic == topic]

    def last_reason(self) -> str:
        return self.states[-1][1] if self.states else ""


@pytest.fixture
def peer(broker: Any) -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(name: str, **more: Any) -> Peer:
        settings = more.pop("settings", None) or BrokerSettings(broker.host, broker.port, name)
        made.append(Peer(settings, **more))
        return made[-1]

    yield make
    for one in made:
        one.mqtt.stop(0.5)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("mqtt-")]


def test_a_message_arrives_with_its_correlation(peer: Callable[..., Peer]) -> None:
    listener = peer("listener", subscriptions=[("a/#", 1)])
    listener.up()
    sender = peer("sender")
    sender.up()
    assert sender.mqtt.publish("a/b", b"hello", correlation=b"42")
    wait_for(lambda: listener.payloads("a/b") == [b"hello"], 3, "the message")
    assert listener.messages[0].correlation == b"42"
    assert not listener.messages[0].retain
    assert sender.mqtt.drain(2)


def test_starting_never_blocks_and_says_why_there_is_no_connection(peer: Callable[..., Peer]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        one = peer("nobody", settings=BrokerSettings("127.0.0.1", unused.getsockname()[1], "nobody"))
        wait_for(lambda: "connection refused" in one.last_reason(), 3, "the reason")
    assert not one.mqtt.publish("a", b"b")
    assert one.mqtt.counters()["refused_disconnected"] == 1
    assert one.mqtt.room() == 0


def test_a_name_that_does_not_exist_is_named(peer: Callable[..., Peer]) -> None:
    one = peer("lost", settings=BrokerSettings("no-such-host.invalid", 1883, "lost"))
    wait_for(lambda: "'no-such-host.invalid' cannot be resolved" in one.last_reason(), 20, "the reason")
    assert not one.mqtt.connected


def test_refused_credentials_are_said_in_words(peer: Callable[..., Peer], new_broker: Any, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("")
    strict = new_broker(f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n")
    (tmp_path / "password").write_text("wrong\n")
    settings = BrokerSettings(strict.host, strict.port, "x", username="u", password_file=tmp_path / "password")
    one = peer("x", settings=settings)
    wait_for(lambda: one.last_reason() != "", 3, "a reason")
    assert "not authorised" in one.last_reason() or "password is wrong" in one.last_reason()


def test_an_unreadable_password_is_a_configuration_error(tmp_path: Path) -> None:
    mqtt = Mqtt(BrokerSettings("127.0.0.1", 1, "x", username="u", password_file=tmp_path / "absent"))
    with pytest.raises(ConfigError, match="absent"):
        mqtt.start()
    mqtt.stop(0.1)


def test_a_file_that_is_no_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    mqtt = Mqtt(BrokerSettings("127.0.0.1", 1, "x", ca=tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match=r"ca\.pem.*PEM"):
        mqtt.start()
    mqtt.stop(0.1)


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_an_unknown_certificate_is_named_and_the_right_one_connects(
    peer: Callable[..., Peer], new_broker: Any, tmp_path: Path
) -> None:
    cert, key = _certificate(tmp_path, "broker")
    other, _ = _certificate(tmp_path, "other")
    tls = new_broker(f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}\n")
    stranger = peer("stranger", settings=BrokerSettings(tls.host, tls.port, "stranger", ca=other))
    wait_for(lambda: "not by the authority in tls.ca" in stranger.last_reason(), 3, "the reason")
    friend = peer("friend", settings=BrokerSettings(tls.host, tls.port, "friend", ca=cert), subscriptions=[("t", 1)])
    friend.up()
    wait_for(lambda: friend.mqtt.publish("t", b"x" * 100_000), 2, "sending over TLS")
    wait_for(lambda: friend.payloads("t") == [b"x" * 100_000], 3, "the echo")


def test_retained_topics_are_right_again_on_a_broker_that_came_back_empty(
    peer: Callable[..., Peer], broker: Any
) -> None:
    one = peer("keeper")
    one.up()
    one.mqtt.retain("k/status", b"old")
    one.mqtt.retain("k/status", b"new")
    one.mqtt.retain("k/info", b"info")
    assert one.mqtt.drain(2)
    broker.kill()
    wait_for(lambda: not one.mqtt.connected, 3, "noticing the loss")
    broker.start()
    one.up()
    reader = peer("reader", subscriptions=[("k/#", 1)])
    wait_for(lambda: len(reader.messages) >= 2, 5, "the retained topics")
    assert {message.topic: message.payload for message in reader.messages} == {"k/status": b"new", "k/info": b"info"}


def test_reconnects_within_three_seconds_and_subscribes_again(peer: Callable[..., Peer], broker: Any) -> None:
    one = peer("again", subscriptions=[("x", 1)])
    one.up()
    broker.kill()
    wait_for(lambda: not one.mqtt.connected, 3, "noticing the loss")
    broker.start()
    began = time.monotonic()
    one.up()
    assert time.monotonic() - began < 3.0
    assert one.mqtt.publish("x", b"1")
    wait_for(lambda: one.payloads("x") == [b"1"], 2, "the echo")
    assert one.mqtt.counters()["connects"] == 2


def test_an_oversize_message_is_refused_and_costs_only_itself(peer: Callable[..., Peer]) -> None:
    one = peer("large", subscriptions=[("x", 1)])
    one.up()
    assert not one.mqtt.publish("x", b"x" * MAX_PACKET)
    one.mqtt.retain("x", b"x" * MAX_PACKET)
    assert one.mqtt.publish("x", b"small")
    wait_for(lambda: one.payloads("x") == [b"small"], 2, "the echo")
    assert one.mqtt.counters()["refused_size"] == 2
    assert "disconnects" not in one.mqtt.counters()


def test_the_broker_s_own_packet_limit_is_kept(peer: Callable[..., Peer], new_broker: Any) -> None:
    tight = new_broker("allow_anonymous true\nmax_packet_size 2000\n")
    one = peer("tight", settings=BrokerSettings(tight.host, tight.port, "tight"))
    one.up()
    assert not one.mqtt.publish("x", b"x" * 3000)
    assert one.mqtt.publish("x", b"x" * 1000)
    assert one.mqtt.drain(2)
    assert one.mqtt.counters()["refused_size"] == 1


def test_no_more_than_the_window_is_taken_while_the_broker_hangs(peer: Callable[..., Peer], broker: Any) -> None:
    one = peer("window")
    one.up()
    broker.send(signal.SIGSTOP)
    taken = sum(one.mqtt.publish("x", b"x") for _ in range(500))
    broker.send(signal.SIGCONT)
    assert 0 < taken <= 100
    assert one.mqtt.counters()["refused_window"] == 500 - taken
    assert one.mqtt.drain(5)


def test_an_exception_in_a_callback_is_counted_and_the_connection_goes_on(peer: Callable[..., Peer]) -> None:
    seen: list[bytes] = []

    def fail(message: Message) -> None:
        seen.append(message.payload)
        raise ZeroDivisionError

    one = peer("clumsy", subscriptions=[("x", 1)], on_message=fail)
    one.up()
    for payload in (b"1", b"2"):
        assert one.mqtt.publish("x", payload)
    wait_for(lambda: seen == [b"1", b"2"], 3, "both messages")
    wait_for(lambda: one.mqtt.counters()["callback_errors"] == 2, 1, "the count")
    assert one.mqtt.connected


def test_a_second_client_of_the_same_name_is_said_and_counted(peer: Callable[..., Peer]) -> None:
    first = peer("twin")
    first.up()
    second = peer("twin")
    wait_for(lambda: any(one.mqtt.counters().get("taken_over") for one in (first, second)), 15, "noticing")
    assert any("another program use the client id 'twin'" in reason for _, reason in first.states + second.states)


def test_a_clean_stop_sends_what_is_queued_and_not_the_will(peer: Callable[..., Peer]) -> None:
    reader = peer("reader", subscriptions=[("s/#", 1)])
    reader.up()
    one = peer("leaver", will=("s/will", b"gone"))
    one.up()
    for number in range(50):
        assert one.mqtt.publish("s/data", b"%d" % number)
    one.mqtt.retain("s/status", b"offline")
    one.mqtt.stop(2)
    wait_for(lambda: len(reader.payloads("s/data")) == 50, 2, "the queued messages")
    wait_for(lambda: reader.payloads("s/status") == [b"offline"], 2, "the last word")
    assert reader.payloads("s/will") == []


def test_a_stop_while_nothing_answers_is_short(peer: Callable[..., Peer], broker: Any) -> None:
    one = peer("stuck")
    one.up()
    broker.send(signal.SIGSTOP)
    one.mqtt.publish("x", b"x")
    began = time.monotonic()
    one.mqtt.stop(0.5)
    assert time.monotonic() - began < 3
    broker.send(signal.SIGCONT)


def test_a_broker_that_takes_connections_and_says_nothing_is_noticed(peer: Callable[..., Peer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = peer("patient", settings=BrokerSettings("127.0.0.1", mute.getsockname()[1], "patient"))
        wait_for(lambda: "does not answer" in one.last_reason(), 8, "the reason")


def test_a_server_that_speaks_something_else_kills_no_thread(peer: Callable[..., Peer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:
        one = peer("brave", settings=BrokerSettings("127.0.0.1", rude.getsockname()[1], "brave"))
        for _ in range(2):
            connection, _ = rude.accept()
            connection.recv(1000)
            connection.sendall(b"\x20\x02\x00\xf1HTTP/1.0 400 no\r\n\r\n\xff\xff\xff\xff\xff")
            connection.close()
        assert any(thread.name == "mqtt-brave" for thread in threading.enumerate())
        assert not one.mqtt.connected


def test_a_silent_network_sends_the_will_within_eight_seconds(peer: Callable[..., Peer], broker: Any) -> None:
    reader = peer("watcher", subscriptions=[("w", 1)])
    reader.up()
    script = (
        "import sys;from shared.mqtt import *;import threading;"
        "m=Mqtt(BrokerSettings(sys.argv[1],int(sys.argv[2]),'frozen'),will=('w',b'offline'));m.start();"
        "m.retain('w', b'online');threading.Event().wait(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, broker.host, str(broker.port)]) as frozen:
        try:
            wait_for(lambda: reader.payloads("w") == [b"online"], 8, "online")
            frozen.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            wait_for(lambda: reader.payloads("w")[-1] == b"offline", 14, "the will")
            assert time.monotonic() - began <= 8.0
        finally:
            frozen.kill()


EMBEDDED = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}}
    await Broker({"listeners": listeners, "plugins": plugins}).start()
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_broker_that_knows_only_the_older_protocol_is_spoken_to_in_that(peer: Callable[..., Peer]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", EMBEDDED, str(port)], stderr=subprocess.DEVNULL) as embedded:
        try:
            one = peer("old", settings=BrokerSettings("127.0.0.1", port, "old"), subscriptions=[("x", 1)])
            wait_for(lambda: one.mqtt.connected, 20, "connecting")
            assert one.last_reason() == "connected with MQTT 3.1.1"
            assert one.mqtt.publish("x", b"1", correlation=b"left out")
            wait_for(lambda: one.payloads("x") == [b"1"], 3, "the echo")
            one.mqtt.stop(0.5)
        finally:
            embedded.kill()
