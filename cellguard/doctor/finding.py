"""What a check finds: all well, something to know, a fault with what to do, or nothing because it could not look."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "note", "unchecked", "fault"]
NOT_CHECKED = "not checked: "


class Finding(NamedTuple):
    """What one check found; `todo` says in one sentence what to do about it."""

    verdict: Verdict
    said: str
    todo: str = ""


def ok(said: str) -> Finding:
    """All well."""
    return Finding("ok", said)


def note(said: str, todo: str) -> Finding:
    """No fault, but somebody should know."""
    return Finding("note", said, todo)


def fault(said: str, todo: str) -> Finding:
    """Something is broken."""
    return Finding("fault", said, todo)


def unchecked(why: str, todo: str = "") -> Finding:
    """It could not be looked at, which is not the same as all well."""
    return Finding("unchecked", NOT_CHECKED + why, todo)
