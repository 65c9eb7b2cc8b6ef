"""The project's own DBC of the BMU message set; `make_dbc` writes it from a table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def path() -> Path:
    """Where bms.dbc lies."""
    return Path(str(files("dbc") / "bms.dbc"))
