"""Where the broker is and how a client proves who it is: settings, password and certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho forgets such a socket without closing it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (OSError, ValueError):
            self.close()
            raise


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
            where = f"password_file {self.password_file}"
            raise ConfigError(where, str(error), "a readable file with the password on one line") from error

    def tls_context(self) -> ssl.SSLContext | None:
        """What to trust and to show, or None without TLS; raises ConfigError on files that cannot be used."""
        if self.ca is None:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            context.sslsocket_class = _TidySocket
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path is not None)
            allowed = "readable PEM files: ca, and cert with its key"
            raise ConfigError(f"tls files {files}", str(error), allowed) from error
        return context
