"""The 1-minute series after a round: every minute finished, and what the stored rows say it is."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from bench.influxd import Influxd
from tests.chaos.rig import until

MADE_S = 60.0
MINUTE_NS = 60_000_000_000
_TAGS = ("time", "site", "node", "module")
Reduced = dict[tuple[int, str, str], tuple[float, float, float]]


def wrong(engine: Influxd, bucket: str) -> list[str]:
    """Sentences, none when all is well. The collector must still run: it makes what is not finished."""
    try:
        until(lambda: not _unfinished(engine, bucket), "every minute to be made", MADE_S)
    except TimeoutError as error:
        return [str(error)]
    found = []
    for measurement in ("module", "inverter", "arduino"):
        want, have = _wanted(engine, bucket, measurement), _have(engine, bucket, measurement)
        differing = [key for key in want.keys() | have.keys() if not _close(want.get(key), have.get(key))]
        found += [f"minute {measurement} {key}: {have.get(key)}, the rows say {want.get(key)}" for key in differing[:2]]
        if not want:
            found.append(f"no rows of {measurement}")
    return found


def _unfinished(engine: Influxd, bucket: str) -> list[dict[str, Any]]:
    return engine.query('SELECT "stored", "reduced" FROM "minute_mark" WHERE "stored" != "reduced"', bucket)


def _wanted(engine: Influxd, bucket: str, measurement: str) -> Reduced:
    values: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for row in engine.query(f'SELECT * FROM "{measurement}"', bucket):  # noqa: S608 (our own names)
        for name, value in row.items():
            if name not in _TAGS and value is not None:
                values[row["time"] // MINUTE_NS * MINUTE_NS, row.get("module", ""), name].append(value)
    return {key: (min(found), math.fsum(found) / len(found), max(found)) for key, found in values.items()}


def _have(engine: Influxd, bucket: str, measurement: str) -> Reduced:
    found: Reduced = {}
    for row in engine.query(f'SELECT * FROM "{measurement}_1m"', bucket):  # noqa: S608 (our own names)
        for column, value in row.items():
            if column.endswith("_mean") and value is not None:
                name = column.removesuffix("_mean")
                reduced = (row[f"{name}_min"], value, row[f"{name}_max"])
                found[row["time"], row.get("module", ""), name] = reduced
    return found


def _close(want: tuple[float, ...] | None, have: tuple[float, ...] | None) -> bool:
    return want is not None and have is not None and all(map(math.isclose, want, have))
