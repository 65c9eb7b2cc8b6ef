"""The certificate authority: its own key, the broker's and the clients' certificates, and the list of revoked ones.

The only module that imports `cryptography`. Keys are EC P-256. `now` is an aware UTC time of the caller.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import ConfigError

AUTHORITY_DAYS, LEAF_DAYS = 3650, 730
_BACKDATED = timedelta(days=1)
"""A Raspberry Pi has no clock of its own: a certificate also holds for one that is a little behind."""
_CRL_BACKDATED = timedelta(hours=1)
_STEP = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """As the `.crt` file holds it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """As the `.key` file holds it, without a passphrase: the programs start without a person."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def new_authority(now: datetime) -> Pair:
    """A self-signed authority that may sign clients and lists of revoked ones, and nothing below itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("cellguard authority")
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def load_authority(certificate: bytes, key: bytes, where: str) -> Pair:
    """The authority from its PEM files; raises ConfigError naming `where` when they are none."""
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
        parsed = x509.load_pem_x509_certificate(certificate)
    except (ValueError, TypeError) as error:
        raise ConfigError(where, str(error), "ca.crt and ca.key as `cellguard certs init` made them") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != parsed.public_key():
        raise ConfigError(where, "a key that does not belong to ca.crt", "the key made together with ca.crt")
    return Pair(parsed, loaded)


def load_certificate(pem: bytes, where: str) -> x509.Certificate:
    """One certificate from PEM; raises ConfigError naming `where`."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ConfigError(where, str(error), "a certificate in PEM form") from error


def issue_client(authority: Pair, user: str, now: datetime, days: int) -> Pair:
    """A certificate with which `user` proves itself to the broker; it can be nobody's server."""
    return _issue(authority, user, (), ExtendedKeyUsageOID.CLIENT_AUTH, _until(authority, now, days))


def issue_broker(authority: Pair, hosts: Sequence[str], now: datetime, days: int) -> Pair:
    """The broker's own certificate, good for every name and address in `hosts`; it can be nobody's client."""
    names = [_general_name(host) for host in hosts]
    return _issue(authority, "cellguard broker", names, ExtendedKeyUsageOID.SERVER_AUTH, _until(authority, now, days))


def revocation_list(authority: Pair, serials: Iterable[int], now: datetime, before: bytes | None) -> bytes:
    """The list of revoked certificates in PEM.

    It holds as long as the authority: a list that has run out would shut every client out. OpenSSL believes the one that begins
    latest, so it begins at least a second after `before`, the list it takes the place of.
    """
    begins = (now - _CRL_BACKDATED).replace(microsecond=0)
    if before is not None:
        begins = max(begins, x509.load_pem_x509_crl(before).last_update_utc + _STEP)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(begins).next_update(authority.certificate.not_valid_after_utc)
    for serial in serials:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begins)
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def revoked_serials(crl: bytes) -> set[int]:
    """Serial numbers on a list in PEM."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl(crl)}


def common_name(certificate: x509.Certificate) -> str:
    """Whom a certificate is about."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _until(authority: Pair, now: datetime, days: int) -> tuple[datetime, datetime]:
    """From a little before now to `days` after, but never beyond the authority itself."""
    return now, min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)


def _issue(
    authority: Pair,
    user: str,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    valid: tuple[datetime, datetime],
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    begins, ends = valid
    builder = _builder(_name(user), issuer.subject, key.public_key(), begins, 0).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    from_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(from_issuer, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATED)
    return builder.not_valid_after(now + timedelta(days=days)) if days else builder


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except ValueError as error:
        raise ConfigError("--host", host, "an IP address or a host name") from error
