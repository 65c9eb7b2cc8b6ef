"""The machine that is installed on: looking at it and changing it, one row at a time. The only I/O of an installation."""

from __future__ import annotations

import grp
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_agent.install.plan import Found, Step, key
from edge_agent.install.rows import GROUP, SETTINGS, Active, Enabled, File, Gone, Guarded, Idle, Link, NoUser, Row, Run
from shared.errors import CellguardError

_SECONDS = 120
_PRIVATE, _PUBLIC = 0o640, 0o644


class Machine:
    """The machine below `root`, which is `/` but in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        """Where a name of the table is."""
        return self._root / name.removeprefix("/")

    def look(self, rows: Sequence[Row]) -> dict[tuple[str, str], Found]:
        """What stands under each row's name now."""
        return {key(row): self._found(row) for row in rows}

    def do(self, step: Step) -> str:
        """Do one step. Returns "", or why a command could not make a change take effect: the rest goes on.

        Raises:
            CellguardError: a file or unit cannot be made what it must be.
        """
        try:
            return _DOING[type(step.row)](self.path(key(step.row)[1]), step.row) or ""
        except (OSError, LookupError) as error:
            raise CellguardError(f"not done: {step.words} ({error})") from error

    def _found(self, row: Row) -> Found:
        match row:
            case Enabled(name=name) | Active(name) | Idle(name):
                state = _said("systemctl", "is-enabled", name)
                return Found(
                    exists=state not in {"", "not-found"} and "Failed" not in state,
                    enabled=state.startswith("enabled"),
                    active=_said("systemctl", "is-active", name) in {"active", "activating", "reloading"},
                )
            case NoUser(name):
                return Found(exists=_user(name) or _group(name))
            case Run(command):
                return Found(exists=shutil.which(command[0]) is not None)
            case _:
                return self._found_file(self.path(row.name))

    def _found_file(self, path: Path) -> Found:
        if path.is_symlink():
            return Found(exists=True, target=str(path.readlink()))
        if not path.exists():
            return Found()
        if path.is_dir():
            return Found(exists=True)
        return Found(exists=True, content=path.read_bytes(), private=_is_private(path))


def _write(path: Path, row: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.new")
    written.write_bytes(row.content)
    written.chmod(_PUBLIC)
    if row.name == SETTINGS:
        _make_private(written)
    written.replace(path)


def _make_link(path: Path, row: Link) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.new")
    made.unlink(missing_ok=True)
    made.symlink_to(row.target)
    made.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_user(name: str) -> None:
    if _user(name):
        _must("userdel", name)
    if _group(name):
        _must("groupdel", name)


_DOING: Mapping[type[Any], Callable[[Path, Any], str | None]] = {
    File: _write,
    Guarded: lambda path, _: _make_private(path),
    Link: _make_link,
    Gone: lambda path, _: _remove(path),
    Enabled: lambda _, row: _must("systemctl", "enable", row.name),
    Active: lambda _, row: _must("systemctl", "start", row.name),
    Idle: lambda _, row: _must("systemctl", "disable", "--now", row.name),
    NoUser: lambda _, row: _remove_user(row.name),
    Run: lambda _, row: _trouble(row.command),
}
"""Kind of row → what is done for it, with the place of its name."""


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, text=True, capture_output=True, timeout=_SECONDS, check=False).stdout.strip()
    except OSError as error:
        raise CellguardError(f"{command[0]} is not on this machine: cellguard is installed under systemd") from error


def _trouble(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} did not end within {_SECONDS} s"
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return f"{' '.join(command)} ended with {done.returncode}: {''.join(last)}" if done.returncode else ""


def _must(*command: str) -> None:
    if trouble := _trouble(command):
        raise CellguardError(trouble)


def _user(name: str) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def _group(name: str) -> bool:
    with suppress(KeyError):
        return bool(grp.getgrnam(name))
    return False


def _is_private(path: Path) -> bool:
    status = path.stat()
    return _group(GROUP) and stat.S_IMODE(status.st_mode) == _PRIVATE and status.st_gid == grp.getgrnam(GROUP).gr_gid


def _make_private(path: Path) -> None:
    """As secrets are: root writes, the group reads."""
    path.chmod(0o600)
    shutil.chown(path, "root", GROUP)
    path.chmod(_PRIVATE)
