"""Where the broker is and how a client proves who it is: settings, password and certificates."""

from __future__ import annotations

import select
import ssl
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError

VERDICT_S = 0.5
"""How long a server may take to judge our certificate; one that says nothing is believed to be content."""


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, as paho forgets such a socket, and waits for the server's verdict on us."""

    def do_handshake(self, block: bool = False) -> None:
        """As ever; with TLS 1.3 also raises what the server has against our certificate."""
        try:
            super().do_handshake(block)
            if self.version() == "TLSv1.3":
                self._hear_verdict()
        except (OSError, ValueError):
            self.close()
            raise

    def _hear_verdict(self) -> None:
        """With TLS 1.3 our side is done before the server has looked at our certificate: its alert or its tickets come next.

        Read now, the alert is heard; after CONNECT was sent into a closing connection it would be lost in a reset.
        """
        timeout = self.gettimeout()
        select.select([self], [], [], VERDICT_S)
        self.settimeout(0.0)
        try:
            super().recv(1)
        except ssl.SSLWantReadError:  # tickets only: we are in
            return
        finally:
            self.settimeout(timeout)


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and who we are. TLS is used when `ca` is given."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    keepalive_s: int = 3

    def read_password(self) -> str | None:
        """The password, or None when there is no file; raises ConfigError when it cannot be read."""
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            given = f"{self.password_file} ({getattr(error, 'strerror', None) or error})"
            raise ConfigError("[mqtt] password_file", given, "a readable file with the password on one line") from error

    def tls_context(self) -> ssl.SSLContext | None:
        """What to trust and to show, or None without TLS; raises ConfigError on files that cannot be used."""
        if self.ca is None:
            return None
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            _require_readable(f"tls.{name}", path)
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            context.sslsocket_class = _TlsSocket
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path is not None)
            allowed = "PEM files: ca, and cert with the key that belongs to it"
            raise ConfigError(f"tls files {files}", getattr(error, "reason", None) or str(error), allowed) from error
        return context


def _require_readable(key: str, path: Path | None) -> None:
    try:
        if path is not None:
            path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"[mqtt] {key}", f"{path} ({error.strerror})", "a PEM file this program can read") from error
