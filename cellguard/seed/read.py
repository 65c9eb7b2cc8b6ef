"""The old settings file as it may be: JSON in UTF-8 or CP1252, with or without a mark at its start. The only I/O of the move."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.errors import ConfigError

Values = Mapping[str, object]


class Seed(NamedTuple):
    """`handlers`: the objects of the file. `doubled`: keys that stand twice, of which the last counts."""

    handlers: dict[str, Values]
    loose: Values
    doubled: tuple[str, ...]


def read_seed(path: Path) -> Seed:
    """Read the file; raises ConfigError with the line where it stops being JSON, or when it is no object."""
    doubled: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        doubled.extend(sorted({key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1}))
        return found

    try:
        whole = json.loads(_text(path), object_pairs_hook=members)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}", "", f"JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise ConfigError(str(path), "objects within objects without end", "JSON with four objects") from error
    if not isinstance(whole, dict):
        raise ConfigError(
            str(path), f"a {type(whole).__name__}", "one JSON object with ModbusHandler, ArduinoHandler, …"
        )
    handlers: dict[str, Values] = {key: value for key, value in whole.items() if isinstance(value, dict)}
    return Seed(handlers, {key: value for key, value in whole.items() if key not in handlers}, tuple(doubled))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "", f"a readable file ({error.strerror or error})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # CP1252 has five bytes without a meaning; latin-1 reads them, and JSON then says what is wrong with the rest
        return content.decode("latin-1" if any(byte in content for byte in b"\x81\x8d\x8f\x90\x9d") else "cp1252")
