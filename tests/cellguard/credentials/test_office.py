"""The folder with everything secret: who gets what, what stays closed, and what a person is told."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

import mosquitto
from cellguard.credentials import acl, authority, passwords
from cellguard.credentials.folder import Folder
from cellguard.credentials.names import ROLES, checked
from cellguard.credentials.office import Office
from shared.errors import ConfigError

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(Folder(tmp_path / "keys"))
    made.start(["192.168.137.1", "localhost"], NOW)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "keys")


def files(folder: Folder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


# ---- certificates ---------------------------------------------------------------------------------------------------


def test_every_file_and_folder_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        office = Office(Folder(tmp_path / "keys"))
        office.start(["localhost"], NOW)
        office.issue("agent", "lab/rig-1", NOW, 10)
        office.password("viewer", "bob")
        office.revoke("lab/rig-1", NOW)
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").rglob("*")}
    assert len(modes) > 10
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_client_gets_its_key_its_certificate_and_the_authority_and_no_other_secret(
    office: Office, folder: Folder
) -> None:
    place = office.issue("agent", "lab/rig-1", NOW, 10)

    assert sorted(path.name for path in place.iterdir()) == ["ca.crt", "rig-1.crt", "rig-1.key"]
    secret = (folder.authority / "ca.key").read_bytes()
    assert [path for path, content in files(folder).items() if content == secret] == [folder.authority / "ca.key"]


def test_the_brokers_folder_is_all_that_its_settings_name(office: Office, folder: Folder) -> None:
    named = [line.split()[1] for line in mosquitto.read("mosquitto.conf").splitlines() if "/etc/mosquitto/" in line]
    named = [path for path in named if path.startswith("/etc/mosquitto/cellguard/")]

    assert len(named) > 6
    assert {Path(path).name for path in named} | {"mosquitto.conf"} == {path.name for path in folder.broker.iterdir()}
    assert not office.certificates(NOW)


def test_a_second_start_keeps_the_authority_the_revoked_and_the_passwords(office: Office, folder: Folder) -> None:
    office.issue("collector", "pc-1", NOW, 10)
    office.revoke("pc-1", NOW)
    office.password("viewer", "bob")
    kept = [folder.authority / "ca.key", *(folder.broker / name for name in ("crl.pem", "passwd", "acl", "ca.crt"))]
    before = [path.read_bytes() for path in kept]
    certificate = (folder.broker / "broker.crt").read_bytes()

    assert office.start(["10.0.0.1"], NOW) is False
    assert [path.read_bytes() for path in kept] == before
    assert (folder.broker / "broker.crt").read_bytes() != certificate


def test_a_certificate_never_outlives_its_authority(office: Office, folder: Folder) -> None:
    late = NOW + timedelta(days=authority.AUTHORITY_DAYS - 5)
    office.issue("agent", "lab/rig-1", late, 730)

    (one,) = office.certificates(late)
    certificate = authority.load_certificate((folder.authority / "ca.crt").read_bytes(), "ca")
    assert one.ends == certificate.not_valid_after_utc


def test_a_certificate_says_when_it_ends_and_whether_it_is_good(office: Office) -> None:
    office.issue("agent", "lab/rig-1", NOW, 10)
    office.issue("agent", "lab/rig-2", NOW, 100)
    office.issue("collector", "pc-1", NOW, 100)
    office.revoke("lab/rig-2", NOW)

    later = NOW + timedelta(days=11)
    found = {(one.name, one.role): one.state for one in office.certificates(later)}
    expected = {("lab/rig-1", "agent"): "expired", ("lab/rig-2", "agent"): "revoked", ("pc-1", "collector"): "good"}
    assert found == expected


def test_each_list_of_revoked_ones_begins_after_the_one_before_and_lasts_as_long_as_the_authority(
    office: Office, folder: Folder
) -> None:
    lists = [x509.load_pem_x509_crl((folder.broker / "crl.pem").read_bytes())]
    for number in range(3):  # within one second
        office.issue("agent", f"lab/rig-{number}", NOW, 10)
        office.revoke(f"lab/rig-{number}", NOW)
        lists.append(x509.load_pem_x509_crl((folder.broker / "crl.pem").read_bytes()))

    starts = [one.last_update_utc for one in lists]
    assert starts == sorted(set(starts))
    assert starts[-1] < NOW
    ends = authority.load_certificate((folder.broker / "ca.crt").read_bytes(), "ca").not_valid_after_utc
    assert {one.next_update_utc for one in lists} == {ends}
    assert [len(one) for one in lists] == [0, 1, 2, 3]


# ---- names and roles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("agent", "rig-1"), ("agent", "lab/rig/1"), ("agent", "lab/+"), ("agent", "#/rig"), ("agent", "../rig"),
        ("agent", "lab/"), ("agent", "lab/collector"), ("agent", "lab/" + "r" * 61), ("agent", "lab/rig 1"),
        ("collector", "lab/pc-1"), ("collector", ".."), ("collector", "-x"), ("collector", ""), ("viewer", "a\nuser b"),
        ("viewer", "a:b"), ("operator", "cellguard/v1/lab/rig-1"), ("operator", "%u"), ("viewer", "x" * 65),
    ],
)  # fmt: skip
def test_a_name_that_could_reach_beyond_its_place_is_refused(role: str, name: str, office: Office) -> None:
    before = office.password_users()

    with pytest.raises(ConfigError, match="allowed"):
        office.password(role, name)
    assert office.password_users() == before


@given(st.sampled_from(list(ROLES)), st.text(max_size=70))
def test_no_name_becomes_a_wildcard_a_path_or_two_lines(role: str, name: str) -> None:
    try:
        user = checked(role, name)
    except ConfigError:
        return
    assert len(user) <= 64
    assert not set(user) & set("+#%$:\\\n\r\0 ")
    assert ".." not in user.split("/")


def test_a_name_has_one_role(office: Office) -> None:
    office.issue("collector", "pc-1", NOW, 10)

    with pytest.raises(ConfigError, match="pc-1 is collector already"):
        office.password("operator", "pc-1")


def test_the_shipped_acl_is_what_the_commands_build(office: Office, folder: Folder) -> None:
    office.issue("agent", "lab/rig-1", NOW, 10)
    office.issue("collector", "pc-1", NOW, 10)
    office.password("operator", "operator")
    office.password("viewer", "viewer")

    def rules(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    assert rules((folder.broker / "acl").read_text()) == rules(mosquitto.read("acl"))


def test_who_is_gone_is_gone_from_the_acl_and_nobody_else_is(office: Office, folder: Folder) -> None:
    office.issue("collector", "pc-1", NOW, 10)
    office.password("viewer", "bob")
    before = acl.users((folder.broker / "acl").read_text())
    office.password("operator", "bo")
    office.forget_password("bo", NOW)

    assert acl.users((folder.broker / "acl").read_text()) == before == {"pc-1": "collector", "bob": "viewer"}
    office.revoke("pc-1", NOW)
    assert acl.users((folder.broker / "acl").read_text()) == {"bob": "viewer"}
    assert not folder.client("pc-1").exists()


def test_who_has_a_password_and_a_certificate_keeps_the_other_when_one_is_taken(office: Office, folder: Folder) -> None:
    office.issue("collector", "pc-1", NOW, 10)
    office.password("collector", "pc-1")

    office.revoke("pc-1", NOW)
    assert acl.users((folder.broker / "acl").read_text()) == {"pc-1": "collector"}
    office.forget_password("pc-1", NOW)
    assert acl.users((folder.broker / "acl").read_text()) == {}


def test_two_passwords_are_never_alike_and_never_stand_in_the_brokers_file(office: Office, folder: Folder) -> None:
    words = {office.password("viewer", f"v{number}").read_text().strip() for number in range(5)}

    assert len(words) == 5
    assert all(len(word) >= 24 for word in words)
    stored = (folder.broker / "passwd").read_text()
    assert not any(word in stored for word in words)
    assert len(passwords.users(stored)) == 5


# ---- what a person sees ---------------------------------------------------------------------------------------------


def test_the_commands_say_what_goes_where(cellguard: Callable[..., Any], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    said = [
        cellguard("certs", "init", "--dir", str(keys), "--host", "192.168.137.1"),
        cellguard("certs", "issue", "agent", "lab/rig-1", "--dir", str(keys)),
        cellguard("broker", "password", "alice", "--role", "operator", "--dir", str(keys)),
        cellguard("certs", "revoke", "lab/rig-1", "--dir", str(keys)),
    ]

    assert [done.returncode for done in said] == [0, 0, 0, 0]
    assert "/etc/mosquitto/cellguard" in said[0].stdout
    assert 'cert = "certs/rig-1.crt"' in said[1].stdout
    assert f"{keys}/clients/alice" in said[2].stdout
    assert (keys / "clients/alice/alice.password").read_text().strip() not in said[2].stdout
    assert "crl.pem" in said[3].stdout


def test_the_list_can_be_read_by_a_program(cellguard: Callable[..., Any], tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path / "keys"))
    cellguard("certs", "init", *where, "--host", "localhost")
    cellguard("certs", "issue", "agent", "lab/rig-1", "--days", "30", *where)

    done = cellguard("certs", "list", "--json", *where)

    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["name"], one["role"], one["state"], one["days_left"]) for one in told] == [
        ("authority", "authority", "good", 3649), ("broker", "broker", "good", 729), ("lab/rig-1", "agent", "good", 29),
    ]  # fmt: skip
    assert "29 days left" in cellguard("certs", "list", *where).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["certs", "issue", "agent", "lab/rig-1"], 78, "a folder made by `cellguard certs init`"),
        (["certs", "list"], 78, "a folder made by `cellguard certs init`"),
        (["certs", "revoke", "lab/rig-1"], 78, "a folder made by `cellguard certs init`"),
        (["broker", "password", "bob", "--role", "viewer"], 78, "a folder made by `cellguard certs init`"),
        (["broker", "password", "bob"], 2, "either --role or --remove"),
        (["certs", "init"], 2, "--host"),
        (["certs", "init", "--host", "a" * 70], 78, "an IP address or a host name"),
        (["certs", "issue", "agent", "lab/rig-1", "--days", "0"], 2, "1<=x<=3650"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], code: int, said: str, cellguard: Callable[..., Any], tmp_path: Path
) -> None:
    done = cellguard(*arguments, "--dir", str(tmp_path / "none"))

    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_damaged_key_is_named(cellguard: Callable[..., Any], tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path / "keys"))
    cellguard("certs", "init", *where, "--host", "localhost")
    (tmp_path / "keys/authority/ca.key").write_text("no key")

    done = cellguard("certs", "issue", "agent", "lab/rig-1", *where)

    assert done.returncode == 78
    assert "ca.crt and ca.key as" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named(cellguard: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file, no folder")

    done = cellguard("certs", "init", "--dir", str(tmp_path / "keys"), "--host", "localhost")

    assert done.returncode in {1, 2}
    assert str(tmp_path / "keys") in done.stderr
