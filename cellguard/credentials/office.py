"""The office that does the paperwork in one folder: start an authority, issue, revoke, list, set passwords."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import mosquitto
from cellguard.credentials import acl, authority, passwords
from cellguard.credentials.authority import LEAF_DAYS, Pair
from cellguard.credentials.folder import Folder, remove_client, write_private
from cellguard.credentials.names import checked
from shared.errors import ConfigError

_PASSWORD_BYTES = 18


class Issued(NamedTuple):
    """One certificate that was ever issued to a client."""

    name: str
    role: str
    serial: int
    ends: datetime
    state: str
    """`good`, `expired` or `revoked`."""


class Office:
    """Works in one folder; `now` is an aware UTC time. Every method that changes something is whole or not at all per file."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    # ---- certificates -----------------------------------------------------------------------------------------------

    def start(self, hosts: Sequence[str], now: datetime) -> bool:
        """Make the authority unless there is one, and the broker's folder with a new certificate for `hosts`.

        True when the authority is new. Passwords, ACL and the list of revoked ones are kept when they exist.
        """
        fresh = not (self._folder.authority / "ca.key").is_file()
        own = authority.new_authority(now) if fresh else self._authority()
        pair = authority.issue_broker(
            own, hosts, now, LEAF_DAYS
        )  # before anything is written: a wrong host costs nothing
        if fresh:
            write_private(self._folder.authority / "ca.crt", own.certificate_pem)
            write_private(self._folder.authority / "ca.key", own.key_pem)
        self._write_broker(own, pair, now)
        return fresh

    def _write_broker(self, own: Pair, pair: Pair, now: datetime) -> None:
        broker = self._folder.broker
        write_private(broker / "ca.crt", own.certificate_pem)
        write_private(broker / "broker.crt", pair.certificate_pem)
        write_private(broker / "broker.key", pair.key_pem)
        write_private(broker / "mosquitto.conf", mosquitto.read("mosquitto.conf").encode())
        first = {
            "crl.pem": authority.revocation_list(own, (), now, None),
            "acl": acl.heading_of(mosquitto.read("acl")).encode(),
            "passwd": b"",
        }
        for name, content in first.items():
            if not (broker / name).exists():
                write_private(broker / name, content)

    def issue(self, role: str, name: str, now: datetime, days: int) -> Path:
        """A new certificate for an agent or a collector; returns its folder. Earlier ones stay good until they end."""
        checked(role, name)
        own = self._authority()
        pair = authority.issue_client(own, name, now, days)
        stem = name.rpartition("/")[2]
        self._allow(role, name)
        write_private(self._folder.issued / f"{pair.certificate.serial_number:x}.crt", pair.certificate_pem)
        place = self._folder.client(name)
        write_private(place / "ca.crt", own.certificate_pem)
        write_private(place / f"{stem}.key", pair.key_pem)
        write_private(place / f"{stem}.crt", pair.certificate_pem)
        return place

    def revoke(self, name: str, now: datetime) -> int:
        """Revoke every certificate of a name and take its place in the ACL; how many were good until now."""
        good = [one for one in self.certificates(now) if one.name == name and one.state == "good"]
        if not good:
            known = ", ".join(sorted({one.name for one in self.certificates(now) if one.state == "good"})) or "nobody"
            raise ConfigError("NAME", name, f"who has a good certificate: {known}")
        own, crl = self._authority(), self._folder.broker / "crl.pem"
        before = self._read(crl)
        serials = authority.revoked_serials(before) | {one.serial for one in good}
        write_private(crl, authority.revocation_list(own, sorted(serials), now, before))
        if name not in self.password_users():
            self._edit_acl(lambda text: acl.without_user(text, name))
            remove_client(self._folder, name)
        return len(good)

    def certificates(self, now: datetime) -> list[Issued]:
        """Every certificate ever issued to a client, by name, the one that ends last first."""
        self._folder.require_authority()
        revoked = authority.revoked_serials(self._read(self._folder.broker / "crl.pem"))
        roles = acl.users(self._read(self._folder.broker / "acl").decode())
        found = [self._issued(path, roles, revoked, now) for path in sorted(self._folder.issued.glob("*.crt"))]
        return sorted(found, key=lambda one: (one.name, -one.ends.timestamp()))

    def _issued(self, path: Path, roles: dict[str, str], revoked: set[int], now: datetime) -> Issued:
        certificate = authority.load_certificate(self._read(path), str(path))
        name, serial = authority.common_name(certificate), certificate.serial_number
        ends = certificate.not_valid_after_utc
        state = "revoked" if serial in revoked else "expired" if ends <= now else "good"
        return Issued(name, roles.get(name) or ("agent" if "/" in name else "collector"), serial, ends, state)

    def own_certificates(self, now: datetime) -> list[Issued]:
        """The authority's and the broker's: when one of them ends, everybody is shut out."""
        self._folder.require_authority()
        paths = {"authority": self._folder.authority / "ca.crt", "broker": self._folder.broker / "broker.crt"}
        return [self._issued(path, {}, set(), now)._replace(name=role, role=role) for role, path in paths.items()]

    # ---- passwords --------------------------------------------------------------------------------------------------

    def password(self, role: str, name: str) -> Path:
        """A new password for a name, in a file of its own; the old one no longer holds."""
        checked(role, name)
        own = self._authority()
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        path = self._folder.broker / "passwd"
        text = passwords.with_password(
            self._read(path).decode(), name, password, secrets.token_bytes(passwords.SALT_BYTES)
        )
        self._allow(role, name)
        place = self._folder.client(name)
        write_private(place / "ca.crt", own.certificate_pem)
        written = write_private(place / f"{name.rpartition('/')[2]}.password", f"{password}\n".encode())
        write_private(path, text.encode())
        return written

    def forget_password(self, name: str, now: datetime) -> None:
        """Take a name's password, and its place in the ACL unless it still has a good certificate."""
        known = self.password_users()
        if name not in known:
            raise ConfigError("NAME", name, f"who has a password: {', '.join(known) or 'nobody'}")
        path = self._folder.broker / "passwd"
        write_private(path, passwords.without_password(self._read(path).decode(), name).encode())
        if not any(one.name == name and one.state == "good" for one in self.certificates(now)):
            self._edit_acl(lambda text: acl.without_user(text, name))
            remove_client(self._folder, name)

    def password_users(self) -> list[str]:
        """Everybody with a password."""
        self._folder.require_authority()
        return passwords.users(self._read(self._folder.broker / "passwd").decode())

    # ---- files ------------------------------------------------------------------------------------------------------

    def _allow(self, role: str, user: str) -> None:
        """Give a name its role, unless it has another one."""
        text = self._read(self._folder.broker / "acl").decode()
        has = acl.users(text).get(user)
        if has not in {None, role}:
            raise ConfigError("NAME", user, f"a name that has no other role ({user} is {has} already)")
        self._edit_acl(lambda old: acl.with_user(old, role, user, mosquitto.read("acl")))

    def _edit_acl(self, edit: Callable[[str], str]) -> None:
        path = self._folder.broker / "acl"
        write_private(path, edit(self._read(path).decode()).encode())

    def _authority(self) -> Pair:
        self._folder.require_authority()
        place = self._folder.authority
        return authority.load_authority(self._read(place / "ca.crt"), self._read(place / "ca.key"), str(place))

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(
                str(path), error.strerror or str(error), "a readable file of `cellguard certs`"
            ) from error
