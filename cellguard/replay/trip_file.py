"""The file that link keeps of a trip: its head, its events and its sample rows, in the order of time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from shared.errors import ConfigError

LAYOUT = 1
_GZIP = b"\x1f\x8b"
_ALLOWED = "a file of a trip, as link keeps it in STATE_DIR/trips"

Body = dict[str, Any]


class Row(NamedTuple):
    """One sample row: Unix µs, source, good values by signal, and why the others are not good."""

    t_us: int
    source: str
    values: Mapping[str, float]
    bad: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TripFile:
    """One trip. `head` holds `trip`, `ts` (Unix µs), `config`, `catalog`, `info`; events and rows rise in time."""

    head: Body
    events: tuple[Body, ...]
    rows: tuple[Row, ...]

    @property
    def ts(self) -> int:
        """When it tripped, Unix µs."""
        ts: int = self.head["ts"]
        return ts


def read(path: Path) -> TripFile:
    """The whole file in memory; raises ConfigError naming the line that is not as it must be."""
    events: list[Body] = []
    rows: list[Row] = []
    lines = _lines(path)
    head = next(lines, None)
    if head is None or not _is_head(head[1]):
        raise ConfigError(f"{path}: line 1", "" if head is None else str(head[1])[:60], _ALLOWED)
    for number, body in lines:
        try:
            if body["lane"] == "event":
                events.append({**body, "ts": int(body["ts"])})
            else:
                rows.extend(_rows(body))
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: line {number}", str(body)[:60], "an event or a telemetry message") from error
    # messages of one second wait for one another: only their times tell the order
    return TripFile(head[1], tuple(sorted(events, key=lambda e: e["ts"])), tuple(sorted(rows, key=lambda r: r.t_us)))


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {number}", "", f"{_ALLOWED} ({error})") from error
    except EOFError as error:
        raise ConfigError(f"{path}: after line {number}", "the end of the file", f"{_ALLOWED}, whole") from error
    except (OSError, zlib.error) as error:
        raise ConfigError(str(path), "", f"{_ALLOWED} ({error})") from error


def _is_head(body: object) -> bool:
    return (
        isinstance(body, dict)
        and body.get("kind") == "trip"
        and body.get("layout") == LAYOUT
        and isinstance(body.get("ts"), int)
        and all(isinstance(body.get(key), dict) for key in ("config", "catalog", "info"))
    )


def _rows(body: Body) -> Iterator[Row]:
    t0, columns = body["t0"], body["v"]
    bad: list[dict[str, str]] = [{} for _ in body["t"]]
    for name, found in body.get("bad", {}).items():
        for index, reason in found:
            bad[index][name] = reason
    for index, offset in enumerate(body["t"]):
        values = {name: column[index] for name, column in columns.items() if column[index] is not None}
        yield Row(t0 + offset, body["source"], values, bad[index])
