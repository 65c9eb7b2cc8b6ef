"""What a program of ours says when the locked broker does not let it in: one sentence, said once, and no storm of attempts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cellguard.credentials import authority
from cellguard.credentials.authority import Pair
from cellguard.credentials.folder import Folder, write_private
from cellguard.credentials.office import Office
from shared.errors import ConfigError
from shared.mqtt import BrokerSettings, Mqtt
from tests.broker.locked import HOST, LockedBroker, now
from tests.conftest import wait_for

RIG = "lab/rig-1"


class Broken(LockedBroker):
    """A locked broker whose own certificate can be replaced."""

    def own(self) -> Pair:
        place = self.folder.authority
        return authority.load_authority((place / "ca.crt").read_bytes(), (place / "ca.key").read_bytes(), "here")

    def show(self, pair: Pair) -> None:
        write_private(self.folder.broker / "broker.crt", pair.certificate_pem)
        write_private(self.folder.broker / "broker.key", pair.key_pem)

    def settings(self, name: str = RIG) -> BrokerSettings:
        place, stem = self.folder.client(name), name.rpartition("/")[2]
        return BrokerSettings(
            HOST, self.machines, f"cellguard-{stem}",
            ca=place / "ca.crt", cert=place / f"{stem}.crt", key=place / f"{stem}.key",
        )  # fmt: skip

    def with_pair(self, pair: Pair) -> BrokerSettings:
        folder = self.folder.path / "tried"
        cert = write_private(folder / "a.crt", pair.certificate_pem)
        key = write_private(folder / "a.key", pair.key_pem)
        return replace(self.settings(), cert=cert, key=key)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Broken]:
    broker = Broken(tmp_path)
    broker.office.issue("agent", RIG, now(), 10)
    broker.office.password("agent", RIG)
    yield broker
    broker.stop()


def expired(broker: Broken) -> BrokerSettings:
    pair = authority.issue_client(broker.own(), RIG, now() - timedelta(days=11), 10)
    return broker.with_pair(pair)


def not_yet_valid(broker: Broken) -> BrokerSettings:
    pair = authority.issue_client(broker.own(), RIG, now() + timedelta(days=3), 10)
    return broker.with_pair(pair)


def revoked(broker: Broken) -> BrokerSettings:
    pair = authority.issue_client(broker.own(), RIG, now(), 10)
    settings = broker.with_pair(pair)
    crl = broker.folder.broker / "crl.pem"
    serials = [pair.certificate.serial_number]
    write_private(crl, authority.revocation_list(broker.own(), serials, now(), crl.read_bytes()))
    return settings


def foreign(broker: Broken) -> BrokerSettings:
    stranger = authority.new_authority(now())
    return broker.with_pair(authority.issue_client(stranger, RIG, now(), 10))


def without(broker: Broken) -> BrokerSettings:
    return replace(broker.settings(), cert=None, key=None)


def of_another_broker(broker: Broken) -> BrokerSettings:
    other = Office(Folder(broker.folder.path / "other"))
    other.start([HOST], now())
    return replace(broker.settings(), ca=broker.folder.path / "other" / "broker" / "ca.crt")


def under_another_name(broker: Broken) -> BrokerSettings:
    broker.show(authority.issue_broker(broker.own(), ["pc.local"], now(), 10))
    return broker.settings()


def with_an_expired_broker(broker: Broken) -> BrokerSettings:
    broker.show(authority.issue_broker(broker.own(), [HOST], now() - timedelta(days=11), 10))
    return broker.settings()


def with_a_clock_that_is_behind(broker: Broken) -> BrokerSettings:
    broker.show(authority.issue_broker(broker.own(), [HOST], now() + timedelta(days=3), 10))
    return broker.settings()


def with_a_wrong_password(broker: Broken) -> BrokerSettings:
    password = write_private(broker.folder.path / "wrong", b"wrong\n")
    settings = replace(broker.settings(), port=broker.people, cert=None, key=None)
    return replace(settings, username=RIG, password_file=password)


def with_an_unknown_user(broker: Broken) -> BrokerSettings:
    return replace(with_a_wrong_password(broker), username="nobody")


REFUSED: dict[Callable[[Broken], BrokerSettings], str] = {
    expired: "our certificate (tls.cert) has expired",
    not_yet_valid: "not valid yet",
    revoked: "our certificate (tls.cert) has been revoked",
    foreign: "our certificate (tls.cert) is of another authority than the broker's",
    without: "the broker asks for a certificate: set tls.cert and tls.key",
    of_another_broker: "is of another authority than the one in tls.ca",
    under_another_name: f"is not for {HOST}: give this address to `cellguard certs init --host`",
    with_an_expired_broker: "has expired, or this computer's clock is ahead",
    with_a_clock_that_is_behind: "is not valid yet: set this computer's clock, which says 20",
    with_a_wrong_password: "check user name, password and certificate",
    with_an_unknown_user: "check user name, password and certificate",
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_it_says_once_what_is_wrong_however_often_it_tries(
    case: Callable[[Broken], BrokerSettings], broken: Broken
) -> None:
    states, _ = tried(case(broken), broken, failures=2)

    assert REFUSED[case] in states[0][1]
    assert len(states) == 1


@pytest.mark.parametrize("case", [expired, with_a_wrong_password], ids=lambda case: case.__name__)
def test_it_tries_again_at_a_growing_distance(case: Callable[[Broken], BrokerSettings], broken: Broken) -> None:
    _, took_s = tried(case(broken), broken, failures=4)

    assert took_s > 0.4 + 0.8 + 1.6


def tried(settings: BrokerSettings, broken: Broken, failures: int) -> tuple[list[tuple[bool, str]], float]:
    """What was said until so many attempts had failed, and how long that took."""
    broken.start()
    states: list[tuple[bool, str]] = []
    mqtt = Mqtt(settings, on_state=lambda *state: states.append(state))
    began = time.monotonic()
    mqtt.start()
    try:
        wait_for(lambda: mqtt.counters().get("connects_failed", 0) >= failures, 15.0, lambda: str(states))
    finally:
        mqtt.stop(0.5)
    return states, time.monotonic() - began


def test_it_is_let_in_by_certificate_and_by_password(broken: Broken) -> None:
    broken.start()
    login = broken.folder.client(RIG) / "rig-1.password"
    by_password = replace(
        broken.settings(), port=broken.people, cert=None, key=None,
        username=RIG, password_file=login, client_id="other",
    )  # fmt: skip

    clients = [Mqtt(broken.settings()), Mqtt(by_password)]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: all(client.connected for client in clients), 5.0, "both to be let in")
        assert all(client.publish("cellguard/v1/lab/rig-1/hb", b"x") for client in clients)
    finally:
        for client in clients:
            client.stop(0.5)


def test_it_is_let_in_again_soon_after_what_was_wrong_has_been_put_right(broken: Broken) -> None:
    settings = with_an_expired_broker(broken)
    broken.start()
    mqtt = Mqtt(settings)
    mqtt.start()
    try:
        wait_for(lambda: mqtt.counters().get("connects_failed", 0) >= 2, 10.0, "two failures")
        broken.show(authority.issue_broker(broken.own(), [HOST], now(), 10))
        broken.reload()
        wait_for(lambda: mqtt.connected, 4.0, "the connection")
    finally:
        mqtt.stop(0.5)


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
def test_a_missing_file_is_named_with_its_key(key: str, broken: Broken) -> None:
    settings = replace(broken.settings(), **{key: broken.folder.path / "gone.pem"})

    with pytest.raises(ConfigError, match=rf"\[mqtt\] tls.{key}: given .*gone.pem \(No such file or directory\)"):
        settings.tls_context()


def test_a_missing_password_file_is_named(broken: Broken) -> None:
    settings = replace(broken.settings(), username="a", password_file=broken.folder.path / "gone")

    with pytest.raises(ConfigError, match=r"\[mqtt\] password_file: given .*gone \(No such file"):
        settings.read_password()


def test_a_key_of_another_certificate_is_a_configuration_error(broken: Broken) -> None:
    other = authority.new_authority(now())
    key = write_private(broken.folder.path / "other.key", other.key_pem)

    with pytest.raises(ConfigError, match="cert with the key that belongs to it"):
        replace(broken.settings(), key=key).tls_context()
