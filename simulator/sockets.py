"""Binding Unix sockets at a path, replacing what a dead process left there."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from shared.errors import ConfigError

LONGEST_PATH = 107


def bind_unix(path: Path, kind: socket.SocketKind) -> socket.socket:
    """A non-blocking socket bound at `path`. ConfigError when something that lives, or is no socket, is there."""
    where = f"socket {path}"
    if len(str(path).encode()) > LONGEST_PATH:
        raise ConfigError(where, f"{len(str(path).encode())} bytes", f"a path of at most {LONGEST_PATH} bytes")
    if path.is_symlink() or path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(where, "a file that is no socket", "a path that is free")
        if _answers(path, kind):
            raise ConfigError(where, "a socket another process listens on", "a path that is free")
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        bound.bind(str(path))
    except OSError as problem:
        bound.close()
        raise ConfigError(
            where, str(problem.strerror), "a path in a folder that exists and can be written"
        ) from problem
    bound.settimeout(0)
    return bound


def _answers(path: Path, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
