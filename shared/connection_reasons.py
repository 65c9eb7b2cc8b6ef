"""Why a network connection failed, as a sentence for people: library and system errors are worded here, once."""

from __future__ import annotations

import socket
import ssl
import time

_TAKEN_OVER = 142

_BROKER_CODES = {
    130: "the broker found a protocol error",
    132: "the broker does not speak this version of MQTT",
    133: "the broker refuses this client id",
    134: "user name or password is wrong",
    135: "the broker does not allow this client in (not authorised: check user name, password and certificate)",
    136: "the broker is not available now",
    137: "the broker is too busy",
    138: "this client is banned by the broker",
    139: "the broker is shutting down",
    141: "the broker missed our keepalive",
    _TAKEN_OVER: "another client with the same id took the session over: two programs run under one name",
    147: "the broker says too much was in flight",
    149: "the broker says a packet was too large",
    151: "a quota of the broker is used up",
    152: "the broker ended the connection by order of its administrator",
}
"""MQTT 5 reason codes of CONNACK and DISCONNECT; 3.1.1's are translated to these by the library."""


_ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((socket.gaierror, UnicodeError), "the name {host!r} cannot be resolved: check the host, or give an address"),
    (ssl.SSLCertVerificationError, "the certificate of {where} {detail}"),
    (ssl.SSLError, "TLS with {where} failed: {detail}"),
    (ConnectionRefusedError, "nothing listens on {where} (connection refused)"),
    (TimeoutError, "{where} does not answer (timed out)"),
    (OSError, "cannot connect to {where}: {detail}"),
)
"""The first row that fits is the sentence."""

_BROKERS_CERTIFICATE = {
    9: "is not valid yet: set this computer's clock, which says {clock}",
    10: "has expired, or this computer's clock is ahead, which says {clock}; renew it with `cellguard certs init`",
    18: "is signed by itself, not by the authority in tls.ca",
    19: "is of another authority than the one in tls.ca",
    20: "is of another authority than the one in tls.ca",
    62: "is not for {host}: give this name to `cellguard certs init --host`",
    64: "is not for {host}: give this address to `cellguard certs init --host`",
}
"""OpenSSL's verify codes: what is wrong with the certificate that the broker shows."""

_OURS = "our certificate (tls.cert)"
_ALERTS = {
    "CERTIFICATE_EXPIRED": f"{_OURS} has expired, or is not valid yet: issue a new one with `cellguard certs issue`",
    "CERTIFICATE_REVOKED": f"{_OURS} has been revoked",
    "UNKNOWN_CA": f"{_OURS} is of another authority than the broker's",
    "CERTIFICATE_REQUIRED": "the broker asks for a certificate: set tls.cert and tls.key, or use the port for passwords",
    "HANDSHAKE_FAILURE": "the broker asks for a certificate, or for another version of TLS",
    "BAD_CERTIFICATE": f"{_OURS} cannot be used: not valid yet, damaged, or of another kind",
    "UNSUPPORTED_CERTIFICATE": f"{_OURS} is not one of a client",
    "WRONG_VERSION_NUMBER": "no TLS is spoken there: is this the TLS port?",
    "UNEXPECTED_EOF": "the connection was closed: is this the TLS port?",
}
"""Words in OpenSSL's reason: what the broker says of our certificate."""


def is_taken_over(code: int) -> bool:
    """Whether a reason code says that another client took our session."""
    return code == _TAKEN_OVER


def of_broker(code: int, name: str) -> str:
    """The sentence for a reason code, with the library's name for codes that need no advice."""
    return _BROKER_CODES.get(code, f"the broker said {name!r} ({code})")


def of_error(error: Exception, host: str, port: int) -> str:
    """The sentence for an exception raised while connecting to `host:port`. No traceback, no errno."""
    where = f"{host}:{port}"
    for kinds, sentence in _ERRORS:
        if isinstance(error, kinds):
            return sentence.format(host=host, where=where, error=error, detail=_detail(error, host))
    return f"cannot connect to {where}: {type(error).__name__}: {error}"


def _detail(error: Exception, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _BROKERS_CERTIFICATE.get(error.verify_code, "is not trusted: " + error.verify_message)
        return known.format(host=host, clock=time.strftime("%Y-%m-%d %H:%M"))
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return next((said for word, said in _ALERTS.items() if word in reason), reason)
    return getattr(error, "strerror", None) or str(error)
