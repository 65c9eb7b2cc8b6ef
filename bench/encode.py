"""Columnar telemetry against json.dumps of one dictionary per row: time and bytes, on the same values."""

from __future__ import annotations

import json
import math
import platform
import random
from collections.abc import Callable

import orjson

from bench.figure import Figure, alternate
from edge_agent.link.encode import Batch, Head, encode

ENCODE_GOAL = 10.0
BYTES_GOAL = 0.25
_ROWS, _CELLS, _TIMES = 33, 12, 30
_ABSENT = 1
"""Index of a signal that never arrives; `_LATE` misses two rows."""
_LATE, _LATE_ROWS = 4, (3, 4)


def sample() -> Batch:
    """One second of one module on a full bus (33 SYNC cycles) with values as the lab's rig shows them."""
    rng = random.Random(863)
    ranges: dict[str, tuple[float, float, int]] = {"CMA_Voltage": (47.1, 47.4, 2), "Cell01_SOC": (0, 0, 0)}
    ranges |= {"CMA_Current": (-97.0, -96.0, 1), "CMA_Status": (3, 67, 0)}
    ranges |= {f"CMA_Temp{number}": (19, 25, 0) for number in range(1, 8)}
    ranges |= {"CMA_Min_Temp": (19, 25, 0), "CMA_Max_Temp": (19, 25, 0), "SOC": (0, 0, 0), "SOH": (100, 100, 0)}
    ranges |= {
        "Min_Cell_Voltage": (3.92, 3.95, 2),
        "Max_Cell_Voltage": (3.92, 3.95, 2),
        "CellBalancingStatus": (0, 0, 0),
    }
    ranges |= {f"Cell_{cell}_Voltage": (3.92, 3.95, 2) for cell in range(1, _CELLS + 1)}
    ranges |= {"Charge_Ah_from_BMU": (0, 498, 0), "Discharge_Ah_from_BMU": (0, 498, 0)}
    values = []
    for row in range(_ROWS):
        numbers = [round(rng.uniform(low, high), digits) for low, high, digits in ranges.values()]
        numbers[_ABSENT] = math.nan
        if row in _LATE_ROWS:
            numbers[_LATE] = math.nan
        values.append(tuple(float(number) for number in numbers))
    bad = [((_LATE, "stale"),) if row in _LATE_ROWS else () for row in range(_ROWS)]
    times = [1_795_345_556_123_456 + 30_000 * row for row in range(_ROWS)]
    return Batch("module-01", list(ranges), times, values, bad)


def as_dictionaries(batch: Batch) -> bytes:
    """What a first version would send: a dictionary of floats per row."""
    rows = []
    for time_us, values, bad in zip(batch.times_us, batch.values, batch.bad, strict=True):
        reasons = {batch.signals[index]: reason for index, reason in bad}
        row: dict[str, object] = {"ts": time_us, "source": batch.source}
        row |= {
            name: None if math.isnan(value) else value
            for name, value in zip(batch.signals, values, strict=True)
            if not math.isnan(value) or name in reasons
        }
        if reasons:
            row["bad"] = reasons
        rows.append(row)
    return json.dumps(rows).encode()


def figures() -> list[Figure]:
    """`encode`: how many times faster; `bytes`: our share of theirs."""
    batch, head = sample(), Head("a1b2c3d4", "0badf00d", "synced")
    ours, theirs = encode(head, 812, batch), as_dictionaries(batch)
    if from_columns(ours) != json.loads(theirs):
        message = "the two encodings do not say the same"
        raise AssertionError(message)
    number = _ROWS * (len(batch.signals) - 1)
    versions = f"Python {platform.python_version()}, orjson {orjson.__version__}"
    against = f"json.dumps of dicts, n={number} values in {_ROWS} rows, {versions}"
    ratio = alternate(
        lambda: _repeat(lambda: as_dictionaries(batch)), lambda: _repeat(lambda: encode(head, 812, batch))
    )
    return [
        Figure("encode", ratio, ENCODE_GOAL, against),
        Figure("bytes", len(ours) / len(theirs), BYTES_GOAL, f"{len(ours)} of {len(theirs)}, {against}", at_most=True),
    ]


def _repeat(call: Callable[[], bytes]) -> None:
    for _ in range(_TIMES):
        call()


def from_columns(payload: bytes) -> list[dict[str, object]]:
    """The rows of a columnar message, as dictionaries."""
    body = json.loads(payload)
    rows = []
    for index, offset in enumerate(body["t"]):
        row = {"ts": body["t0"] + offset, "source": "module-01"}
        row |= {name: column[index] for name, column in body["v"].items()}
        reasons = {name: reason for name, pairs in body.get("bad", {}).items() for at, reason in pairs if at == index}
        if reasons:
            row["bad"] = reasons
        rows.append(row)
    return rows
