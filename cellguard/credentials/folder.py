"""The folder with everything secret: three parts, each for one place, every file readable by its owner alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from shared.errors import CellguardError, ConfigError

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


class FolderTrouble(CellguardError):
    """The folder cannot be written: full, read-only, or somebody else's."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`authority` stays where it is, `broker` goes to the broker's computer, `clients/NAME` to that client."""

    path: Path

    @property
    def authority(self) -> Path:
        """The authority's key, and every certificate it ever issued."""
        return self.path / "authority"

    @property
    def issued(self) -> Path:
        """One file for each certificate, named by its serial number."""
        return self.authority / "issued"

    @property
    def broker(self) -> Path:
        """All that mosquitto reads."""
        return self.path / "broker"

    def client(self, name: str) -> Path:
        """What one client needs; `name` is a checked one."""
        return self.path / "clients" / name

    def require_authority(self) -> None:
        """Raise ConfigError unless `certs init` was here."""
        if not (self.authority / "ca.key").is_file():
            raise ConfigError("--dir", str(self.path), "a folder made by `cellguard certs init`")


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only its owner may read, at once or not at all; raises FolderTrouble."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make_folder(path.parent)
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise FolderTrouble(f"cannot write {path}: {error.strerror or error}") from error
    return path


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each for its owner alone; folders that exist keep their mode."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def remove_client(folder: Folder, name: str) -> None:
    """Take away what was made for a client; nothing happens when there is nothing."""
    shutil.rmtree(folder.client(name), ignore_errors=True)
