"""Reading what a node published, which may be anything: a value of the kind asked for, or a harmless absence of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]


def table(body: Body, name: str) -> Body:
    """The object under `name`, {} when there is none."""
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def listed(body: Body, name: str) -> str:
    """The list under `name` as words with commas, "" when there is none."""
    value = body.get(name)
    return printable(", ".join(map(str, value))) if isinstance(value, list) else ""


def text(body: Body, name: str) -> str:
    """The text under `name`, "" when it is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def printable(words: str) -> str:
    """Without control characters, which could drive the terminal they are shown on."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in words)


def number(body: Body, name: str) -> float:
    """The number under `name`, 0.0 when it is none."""
    value = body.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
