"""Who gets in at which door, whose session nobody can take, and what is too large: on a real broker with the shipped settings."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from cellguard.credentials import authority
from cellguard.credentials.folder import write_private
from tests.broker.locked import AUDITOR, HOST, Client, LockedBroker, login, now
from tests.conftest import wait_for

RIG = "lab/rig-1"
STATUS = "cellguard/v1/lab/rig-1/status"
COMMAND = "cellguard/v1/lab/rig-1/cmd/pump"
LARGEST = 262_144


def started(folder: Path, settings: str = "") -> LockedBroker:
    broker = LockedBroker(folder)
    broker.office.issue("agent", RIG, now(), 10)
    broker.office.issue("collector", "pc-1", now(), 10)
    broker.office.password("operator", "alice")
    broker.office.password("viewer", "bob")
    broker.add_auditor()
    broker.add_setting(settings)
    broker.start()
    return broker


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedBroker]:
    broker = started(tmp_path_factory.mktemp("doors"))
    yield broker
    broker.stop()


@pytest.fixture
def agent(locked: LockedBroker) -> Iterator[Client]:
    client = Client(locked.machines, locked.tls(RIG), client_id=RIG)
    assert client.up
    yield client
    client.leave()


# ---- certificates ---------------------------------------------------------------------------------------------------


def with_pair(locked: LockedBroker, pair: authority.Pair) -> ssl.SSLContext:
    folder = locked.folder.path / "tried"
    certificate = write_private(folder / "a.crt", pair.certificate_pem)
    key = write_private(folder / "a.key", pair.key_pem)
    context = locked.tls()
    context.load_cert_chain(certificate, key)
    return context


def own(locked: LockedBroker) -> authority.Pair:
    place = locked.folder.authority
    return authority.load_authority((place / "ca.crt").read_bytes(), (place / "ca.key").read_bytes(), "here")


def good(locked: LockedBroker) -> ssl.SSLContext:
    return with_pair(locked, authority.issue_client(own(locked), RIG, now(), 10))


def expired(locked: LockedBroker) -> ssl.SSLContext:
    long_ago = now() - timedelta(days=11)
    return with_pair(locked, authority.issue_client(own(locked), RIG, long_ago, 10))


def not_yet_good(locked: LockedBroker) -> ssl.SSLContext:
    later = now() + timedelta(days=3)
    return with_pair(locked, authority.issue_client(own(locked), RIG, later, 10))


def foreign(locked: LockedBroker) -> ssl.SSLContext:
    stranger = authority.new_authority(now())
    return with_pair(locked, authority.issue_client(stranger, RIG, now(), 10))


def of_its_own_making(locked: LockedBroker) -> ssl.SSLContext:
    return with_pair(locked, authority.new_authority(now()))


def of_a_server(locked: LockedBroker) -> ssl.SSLContext:
    return with_pair(locked, authority.issue_broker(own(locked), [HOST], now(), 10))


def signed_by_a_client(locked: LockedBroker) -> ssl.SSLContext:
    """A Pi's key is no authority, whatever its owner signs with it."""
    client = authority.issue_client(own(locked), "lab/rig-9", now(), 10)
    forged = authority.issue_client(client, RIG, now(), 10)
    folder = locked.folder.path / "tried"
    chain = write_private(folder / "chain.crt", forged.certificate_pem + client.certificate_pem)
    context = locked.tls()
    context.load_cert_chain(chain, write_private(folder / "chain.key", forged.key_pem))
    return context


def no_certificate(locked: LockedBroker) -> ssl.SSLContext:
    return locked.tls()


BAD = (expired, not_yet_good, foreign, of_its_own_making, of_a_server, signed_by_a_client, no_certificate)


@pytest.mark.parametrize("certificate", BAD, ids=lambda made: made.__name__)
def test_a_bad_certificate_does_not_get_in(
    certificate: Callable[[LockedBroker], ssl.SSLContext], locked: LockedBroker
) -> None:
    client = Client(locked.machines, certificate(locked))

    assert client.answer is None
    assert client.ended


def test_a_good_certificate_gets_in(locked: LockedBroker) -> None:
    client = Client(locked.machines, good(locked))

    assert client.up
    client.leave()


def test_a_password_does_not_open_the_machines_door(locked: LockedBroker) -> None:
    client = Client(locked.machines, locked.tls(), login=login(locked, "alice"))

    assert client.answer is None


@pytest.mark.parametrize(
    ("user", "password"),
    [(None, ""), ("alice", "wrong"), ("alice", ""), ("nobody", "x"), ("", ""), (RIG, "")],
)
def test_nobody_gets_in_at_the_peoples_door_without_the_right_password(
    user: str | None, password: str, locked: LockedBroker
) -> None:
    client = Client(locked.people, locked.tls(RIG), login=None if user is None else (user, password))

    assert client.answer is not True
    assert client.ended or client.answer is False


@pytest.mark.parametrize("door", ["machines", "people"])
def test_neither_door_speaks_without_tls(door: str, locked: LockedBroker) -> None:
    with socket.create_connection((HOST, getattr(locked, door)), timeout=5.0) as plain:
        plain.sendall(bytes.fromhex("101000044d5154540402003c000474657374"))  # CONNECT of MQTT 3.1.1, client id "test"

        assert not answered(plain)


def answered(plain: socket.socket) -> bool:
    """Whether a CONNACK came before the end."""
    try:
        return plain.recv(64)[:1] == b"\x20"
    except ConnectionResetError:
        return False


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [RIG, "cellguard-lab-rig-1", ""])
def test_no_other_machine_can_take_a_machines_session(claimed: str, locked: LockedBroker, agent: Client) -> None:
    thief = Client(locked.machines, locked.tls("pc-1"), client_id=claimed)
    thief.subscribe([COMMAND])
    agent.publish([STATUS], b"still here")

    assert thief.up
    assert agent.up
    thief.leave()


def test_a_person_who_claims_a_machines_client_id_interrupts_it_but_gets_none_of_its_rights(
    locked: LockedBroker, agent: Client
) -> None:
    """What is left on Mosquitto with free client ids; `clientid_prefixes` closes it (below)."""
    watcher = Client(locked.people, locked.tls(), login=login(locked, AUDITOR))
    watcher.subscribe([STATUS])

    thief = Client(locked.people, locked.tls(), login=login(locked, "bob"), client_id=RIG)
    wait_for(lambda: agent.ended, 5.0, "the agent to be interrupted")
    thief.publish([STATUS, COMMAND], b"forged")
    again = Client(locked.machines, locked.tls(RIG))
    again.publish([STATUS], b"back")
    wait_for(lambda: watcher.topics(b"back"), 5.0, "the agent to be heard again")

    assert not watcher.topics(b"forged")
    for client in (watcher, again):
        client.leave()


def test_with_client_id_prefixes_a_person_cannot_even_interrupt_a_machine(tmp_path: Path) -> None:
    broker = started(tmp_path, "clientid_prefixes cellguard-\nauto_id_prefix cellguard-auto-\n")
    try:
        machine = Client(broker.machines, broker.tls(RIG), client_id="cellguard-lab-rig-1")
        thief = Client(broker.people, broker.tls(), login=login(broker, "bob"), client_id=RIG)
        person = Client(broker.people, broker.tls(), login=login(broker, "bob"))
        machine.publish([STATUS], b"still here")

        assert thief.answer is not True
        assert (machine.up, person.up) == (True, True)
    finally:
        broker.stop()


def test_one_person_may_have_several_programs_open(locked: LockedBroker) -> None:
    programs = [
        Client(locked.people, locked.tls(), login=login(locked, "alice"), client_id=name) for name in ("a", "b", "")
    ]

    assert all(program.up for program in programs)
    for program in programs:
        program.leave()


# ---- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
@pytest.mark.parametrize("door", ["machine", "person"])
def test_what_is_too_large_ends_the_connection_and_reaches_nobody(
    door: str, version: MQTTProtocolVersion, locked: LockedBroker
) -> None:
    topic = STATUS if door == "machine" else COMMAND
    sender = (
        Client(locked.machines, locked.tls(RIG), version=version)
        if door == "machine"
        else Client(locked.people, locked.tls(), login=login(locked, "alice"), version=version)
    )
    watcher = Client(locked.people, locked.tls(), login=login(locked, AUDITOR))
    watcher.subscribe([topic])
    room = LARGEST - len(topic) - 32
    sender.publish([topic], b"x" * room)

    sender.fire(topic, b"x" * LARGEST)
    wait_for(lambda: sender.ended, 5.0, "the connection to be ended")

    assert watcher.topics(b"x" * room)
    assert not watcher.topics(b"x" * LARGEST)
    watcher.leave()


# ---- changes while it runs ------------------------------------------------------------------------------------------


def test_a_revoked_certificate_is_shut_out_after_a_reload_and_the_others_are_not(tmp_path: Path) -> None:
    broker = started(tmp_path)
    try:
        tls, other = broker.tls(RIG), broker.tls("pc-1")
        assert Client(broker.machines, tls).up

        assert broker.office.revoke(RIG, now()) == 1
        broker.reload()

        assert Client(broker.machines, tls).answer is None
        assert Client(broker.machines, other).up
        broker.office.issue("agent", RIG, now(), 10)  # the same name again, for a new Pi
        assert Client(broker.machines, broker.tls(RIG)).up
    finally:
        broker.stop()


def test_passwords_and_roles_change_with_a_reload(tmp_path: Path) -> None:
    broker = started(tmp_path)
    try:
        old = login(broker, "alice")
        broker.office.password("operator", "alice")
        broker.office.password("viewer", "carol")
        broker.office.forget_password("bob", now())
        bob = ("bob", "whatever it was")
        broker.reload()

        assert Client(broker.people, broker.tls(), login=old).answer is not True
        assert Client(broker.people, broker.tls(), login=bob).answer is not True
        assert Client(broker.people, broker.tls(), login=login(broker, "alice")).up
        assert Client(broker.people, broker.tls(), login=login(broker, "carol")).up
    finally:
        broker.stop()


def test_nothing_is_kept_on_the_brokers_disk(tmp_path: Path) -> None:
    broker = started(tmp_path)
    try:
        agent = Client(broker.machines, broker.tls(RIG))
        agent.publish([STATUS], b"retained", retain=True)
        agent.leave()
    finally:
        broker.stop()
    broker.start()
    try:
        watcher = Client(broker.people, broker.tls(), login=login(broker, "bob"))
        watcher.subscribe(["cellguard/v1/#"])
        agent = Client(broker.machines, broker.tls(RIG))
        agent.publish([STATUS], b"live")
        wait_for(lambda: watcher.topics(b"live"), 5.0, "the live message")

        assert not watcher.topics(b"retained")
    finally:
        broker.stop()
