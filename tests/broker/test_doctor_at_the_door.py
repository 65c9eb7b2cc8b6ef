"""What `cellguard doctor` says on the Pi of a broker that does not let the link in, and that it disturbs no link."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cellguard import toml
from cellguard.credentials import authority
from cellguard.credentials.folder import write_private
from tests.broker.locked import HOST, Client, LockedBroker, now

RIG = "lab/rig-1"
CHANGES: dict[str, Callable[[LockedBroker, dict[str, Any]], None]] = {}


def case(change: Callable[[LockedBroker, dict[str, Any]], None]) -> Callable[[LockedBroker, dict[str, Any]], None]:
    CHANGES[change.__name__] = change
    return change


def own(broker: LockedBroker) -> authority.Pair:
    place = broker.folder.authority
    return authority.load_authority((place / "ca.crt").read_bytes(), (place / "ca.key").read_bytes(), "here")


@case
def all_is_well(_broker: LockedBroker, _mqtt: dict[str, Any]) -> None:
    """Nothing is changed."""


@case
def the_certificate_has_expired(broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    pair = authority.issue_client(own(broker), RIG, now() - timedelta(days=11), 10)
    mqtt["tls"]["cert"] = write_private(broker.folder.path / "old.crt", pair.certificate_pem)
    mqtt["tls"]["key"] = write_private(broker.folder.path / "old.key", pair.key_pem)


@case
def the_certificate_is_foreign(broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    pair = authority.issue_client(authority.new_authority(now()), RIG, now(), 10)
    mqtt["tls"]["cert"] = write_private(broker.folder.path / "other.crt", pair.certificate_pem)
    mqtt["tls"]["key"] = write_private(broker.folder.path / "other.key", pair.key_pem)


@case
def a_file_is_missing(broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    mqtt["tls"]["key"] = broker.folder.path / "gone.key"


@case
def the_password_is_wrong(broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    del mqtt["tls"]["cert"], mqtt["tls"]["key"]
    password = write_private(broker.folder.path / "wrong", b"wrong\n")
    mqtt.update(port=broker.people, username=RIG, password_file=password)


@case
def the_password_is_right(broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    the_password_is_wrong(broker, mqtt)
    mqtt["password_file"] = broker.folder.client(RIG) / "rig-1.password"


@case
def the_port_is_wrong(_broker: LockedBroker, mqtt: dict[str, Any]) -> None:
    mqtt["port"] = 1


SAID = {
    "all_is_well": ("ok", "answers"),
    "the_certificate_has_expired": ("fault", "our certificate (tls.cert) has expired"),
    "the_certificate_is_foreign": ("fault", "our certificate (tls.cert) is of another authority"),
    "a_file_is_missing": ("fault", "[mqtt] tls.key: given"),
    "the_password_is_wrong": ("fault", "check user name, password and certificate"),
    "the_password_is_right": ("ok", "answers"),
    "the_port_is_wrong": ("fault", "connection refused"),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedBroker]:
    made = LockedBroker(tmp_path_factory.mktemp("door"))
    made.office.issue("agent", RIG, now(), 10)
    made.office.password("agent", RIG)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("name", CHANGES)
def test_the_doctor_names_what_is_wrong_and_leaves_the_link_alone(
    name: str, broker: LockedBroker, tmp_path: Path
) -> None:
    place = broker.folder.client(RIG)
    mqtt: dict[str, Any] = {
        "host": HOST, "port": broker.machines,
        "tls": {"ca": place / "ca.crt", "cert": place / "rig-1.crt", "key": place / "rig-1.key"},
    }  # fmt: skip
    CHANGES[name](broker, mqtt)
    settings = tmp_path / "edge.toml"
    folders = {"state_dir": tmp_path, "runtime_dir": tmp_path}
    settings.write_text(toml.dumps({"node": {"site": "lab", "name": "rig-1", **folders}, "mqtt": mqtt}))
    link = Client(broker.machines, broker.tls(RIG))

    command = [sys.executable, "-m", "cellguard", "doctor", "--config", str(settings), "--json", "--seconds", "1"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)

    rows = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert (rows["broker"]["verdict"], SAID[name][1] in rows["broker"]["said"]) == (SAID[name][0], True), rows["broker"]
    assert link.up
    link.leave()
