"""Room on the disk that is kept by a file of nothing and given free when the disk is full, so that alarms still find some."""

from __future__ import annotations

import os
from pathlib import Path

_SPARE = 2
"""The file is made (again) only where so many times its size is free: it must not be what fills the disk."""


class Reserve:
    """One file beside the spool. `held`: the room is there. OSError never comes out: a disk may be full, or gone."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self.size = path, size
        self.held = False

    def keep(self) -> bool:
        """Set the room aside unless it is so already; False when the disk has too little."""
        if not self.held:
            try:
                self.held = self._is_whole() or self._make()
            except OSError:
                self._path.unlink(missing_ok=True)
        return self.held

    def give(self) -> None:
        """Let the spool have the room."""
        self.held = False
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return  # a disk that has gone read-only has no room to give

    def ceiling(self, file_bytes: int) -> int | None:
        """How large the spool's file may be for telemetry so that the room stays free; None while it is held."""
        return None if self.held else file_bytes + self._free() - self.size

    def _free(self) -> int:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize

    def _is_whole(self) -> bool:
        return self._path.exists() and self._path.stat().st_blocks * 512 >= self.size

    def _make(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._free() < _SPARE * self.size:
            return False
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.size)
        return True
