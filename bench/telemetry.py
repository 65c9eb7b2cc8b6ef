"""A rig's telemetry as its link publishes it each second: 15 modules, inverter at 4 Hz, Arduino at 10 Hz, seeded noise."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import orjson

from shared.signals import ARDUINO, INVERTER

_SYNC_HZ = 33
_T0_US = 1_795_345_556_000_000
_CELLS = [f"Cell_{number}_Voltage" for number in range(1, 13)]
_CELL_LIMITS = ["Min_Cell_Voltage", "Max_Cell_Voltage"]
_TEMPERATURES = [f"CMA_Temp{number}" for number in range(1, 8)] + ["CMA_Min_Temp", "CMA_Max_Temp"]
_COUNTS = ["SOC", "SOH", "CellBalancingStatus", "Charge_Ah_from_BMU", "Discharge_Ah_from_BMU"]


class Message(NamedTuple):
    """One message of the second `t0`."""

    topic: str
    payload: bytes


def messages(seconds: int) -> list[Message]:
    """A message a source and second, with the modules' SYNC period of 30 ms: 509 points in 17 messages each second."""
    random = Random(1)
    found: list[Message] = []
    for second in range(seconds):
        for number in range(1, 16):
            found.append(_message(len(found) + 1, f"module-{number:02d}", second, _module(random)))
        inverter = {one.name: [_quantised(random, 30.0, 0.0192) for _ in range(4)] for one in INVERTER}
        arduino = {one.name: [_quantised(random, 30.0, 0.1) for _ in range(10)] for one in ARDUINO}
        found.append(_message(len(found) + 1, "inverter", second, inverter))
        found.append(_message(len(found) + 1, "arduino", second, arduino))
    return found


def _module(random: Random) -> dict[str, list[float]]:
    near = {**dict.fromkeys(_CELLS + _CELL_LIMITS, (3.93, 0.01)), **dict.fromkeys(_TEMPERATURES, (22.0, 1.0))}
    near |= {"CMA_Voltage": (47.2, 0.01), "CMA_Current": (-99.0, 0.1), "CMA_Status": (35.0, 32.0)}
    near |= dict.fromkeys(_COUNTS, (100.0, 1.0))
    return {name: [_quantised(random, centre, step) for _ in range(_SYNC_HZ)] for name, (centre, step) in near.items()}


def _quantised(random: Random, centre: float, step: float) -> float:
    return round(centre + step * random.randint(-3, 3), 4)


def _message(seq: int, source: str, second: int, columns: dict[str, list[float]]) -> Message:
    size = len(next(iter(columns.values())))
    body = {
        "spool": "a1b2c3d4", "lane": "tele", "seq": seq, "boot": "0f0f0f0f", "clock": "synced",
        "t0": _T0_US + second * 1_000_000, "t": [index * 1_000_000 // size for index in range(size)], "v": columns,
    }  # fmt: skip
    return Message(f"cellguard/v1/lab/rig-1/tele/{source}", orjson.dumps(body))
