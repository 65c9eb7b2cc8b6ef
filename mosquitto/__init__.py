"""The broker's own files, so that an installed cellguard carries them: mosquitto.conf, and the ACL with its roles."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """The text of `mosquitto.conf` or `acl`."""
    return (files("mosquitto") / name).read_text(encoding="utf-8")
