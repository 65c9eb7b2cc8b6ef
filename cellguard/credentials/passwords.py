"""PURE: the broker's password file, in the form that Mosquitto 2.0 and 2.1 read ($7$: PBKDF2 with SHA-512)."""

from __future__ import annotations

import base64
import hashlib

ROUNDS = 10_000
"""More than mosquitto_passwd's 101, and still only a few ms for each connection."""
SALT_BYTES = 12


def with_password(text: str, user: str, password: str, salt: bytes) -> str:
    """The file with this password for `user`, whatever it was before."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, 64)
    fields = ["", "7", str(ROUNDS), _base64(salt), _base64(digest)]
    return without_password(text, user) + f"{user}:{'$'.join(fields)}\n"


def without_password(text: str, user: str) -> str:
    """The file without `user`."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.split(":", 1)[0] != user)


def users(text: str) -> list[str]:
    """Everybody who has a password."""
    return [line.split(":", 1)[0] for line in text.splitlines() if ":" in line]


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
