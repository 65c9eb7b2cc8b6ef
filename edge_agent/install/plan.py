"""From what is wanted and what was found to the steps that are left, each with the words for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edge_agent.install.rows import Active, Enabled, File, Gone, Guarded, Idle, Link, NoUser, Row, Run


class Found(NamedTuple):
    """What stands under a row's name now.

    `exists`: a file, folder, link, user, unit or program is there; `private`: its mode and group are those of secrets; `enabled` and
    `active` of a unit.
    """

    exists: bool = False
    content: bytes | None = None
    target: str = ""
    private: bool = False
    enabled: bool = False
    active: bool = False


class Step(NamedTuple):
    """One thing to do, and what is said when it is done."""

    row: Row
    words: str


def steps(wanted: Sequence[Row], found: Mapping[tuple[str, str], Found]) -> list[Step]:
    """What is left to do, in the table's order; empty when all is as it is wanted. `found` is keyed by kind and name of a row."""
    left: list[Step] = []
    changed: set[str] = set()
    for row in wanted:
        words = _WORDS[type(row)](row, found.get(key(row), Found()))
        if isinstance(row, Run):
            words = words if changed & set(row.after) else ""
        elif words:
            changed.add(row.name)
        if words:
            left.append(Step(row, words))
    return left


def key(row: Row) -> tuple[str, str]:
    """Where `found` has what a row is compared with."""
    return type(row).__name__, " ".join(row.command) if isinstance(row, Run) else row.name


def _file(row: File, found: Found) -> str:
    if not found.exists:
        return f"made {row.name}"
    return "" if row.keep or found.content == row.content else f"renewed {row.name}"


def _guarded(row: Guarded, found: Found) -> str:
    return (
        f"made {row.name} readable for root and the group cellguard only" if found.exists and not found.private else ""
    )


def _link(row: Link, found: Found) -> str:
    return "" if found.target == row.target else f"{row.name} leads to {row.target}"


def _gone(row: Gone, found: Found) -> str:
    return f"removed {row.name}" if found.exists else ""


def _enabled(row: Enabled, found: Found) -> str:
    return f"{row.name} starts with the machine" if (found.exists or row.ours) and not found.enabled else ""


def _active(row: Active, found: Found) -> str:
    return "" if found.active else f"started {row.name}"


def _idle(row: Idle, found: Found) -> str:
    return f"stopped {row.name}, it no longer starts with the machine" if found.active or found.enabled else ""


def _no_user(row: NoUser, found: Found) -> str:
    return f"removed the user or group {row.name}" if found.exists else ""


def _run(row: Run, found: Found) -> str:
    """A machine without the program has nobody to tell."""
    return " ".join(row.command) if found.exists else ""


_WORDS: Mapping[type[Any], Callable[[Any, Found], str]] = {
    File: _file, Guarded: _guarded, Link: _link, Gone: _gone, Enabled: _enabled, Active: _active, Idle: _idle, NoUser: _no_user,
    Run: _run,
}  # fmt: skip
"""Kind of row → what is said when it differs from what was found, "" when it does not."""
