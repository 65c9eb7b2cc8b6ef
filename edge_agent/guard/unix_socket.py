"""Listening on a Unix socket of our own: stale file replaced, a living owner respected, owner and group may connect."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from shared.errors import ConfigError, Unavailable

MODE = 0o660
_MAX_PATH_BYTES = 107


def listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    """A non-blocking listener at `path`, mode 0660.

    Raises:
        ConfigError: the path is too long for a Unix socket, or cannot be created there.
        Unavailable: another process is listening there.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ConfigError(
            "[node] runtime_dir", str(path), f"a shorter one: {path.name} in it at most {_MAX_PATH_BYTES} bytes"
        )
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace_stale(path, kind)
        os.fchmod(listener.fileno(), MODE)  # bind gives this mode to the file, less the umask: never more than MODE
        listener.bind(str(path))
        path.chmod(MODE)
        listener.listen(8)
        listener.settimeout(0.0)
    except OSError as error:
        listener.close()
        allowed = f"a folder in which this user may create sockets ({error.strerror or error})"
        raise ConfigError("[node] runtime_dir", str(path.parent), allowed) from error
    except Unavailable:
        listener.close()
        raise
    return listener


def _replace_stale(path: Path, kind: socket.SocketKind) -> None:
    if _is_served(path, kind):
        raise Unavailable(f"{path}: another guard is listening here; stop it first")
    path.unlink(missing_ok=True)


def _is_served(path: Path, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionError, FileNotFoundError):
            return False
        except TimeoutError:
            return True
        return True
