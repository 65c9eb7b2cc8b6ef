"""What the store holds, read past the product's own reader: every row of every source once, and what is there twice."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.influxd import Influxd

_TAGS = {"time", "site", "node", "module"}


class Stored(NamedTuple):
    """Telemetry: source → Unix µs → signal → value. `double`: rows that are there more than once. `units`: rows and events."""

    rows: dict[str, dict[int, dict[str, float]]]
    double: list[str]
    units: int


def of_archive(folder: Path) -> Stored:
    """Every message of the archive, unpacked."""
    rows: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    times: Counter[tuple[str, int]] = Counter()
    events = 0
    with contextlib.closing(sqlite3.connect(folder / "archive.sqlite")) as db:
        for lane, source, payload in db.execute("SELECT lane, source, payload FROM message"):
            body = json.loads(zlib.decompress(payload))
            if lane == "event":
                events += 1
                continue
            for index, offset in enumerate(body["t"]):
                at = body["t0"] + offset
                times[source, at] += 1
                rows[source][at] = {
                    name: column[index] for name, column in body["v"].items() if column[index] is not None
                }
    double = [f"{source} {at}: {count} times" for (source, at), count in times.items() if count > 1]
    return Stored(rows, double, sum(times.values()) + events)


def of_influx(engine: Influxd, bucket: str) -> Stored:
    """Every point of the bucket. A point can be there only once; one overwritten by another is wrong in its cells."""
    rows: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    for measurement in ("module", "inverter", "arduino"):
        for row in engine.query(f'SELECT * FROM "{measurement}"', bucket):  # noqa: S608 (our own names)
            source = f"module-{row['module']}" if measurement == "module" else measurement
            rows[source][row["time"] // 1000] = {
                name: value for name, value in row.items() if name not in _TAGS and value is not None
            }
    events = len(engine.query('SELECT kind, text FROM "event"', bucket))
    return Stored(rows, [], sum(map(len, rows.values())) + events)
