"""A small recorded trip as link would have kept it: eight modules, one of them hot, zeroed and opened in time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from edge_agent.config import EdgeConfig
from edge_agent.guard.catalog import catalog
from edge_agent.guard.core_settings import read_bus

Body = dict[str, Any]
TS = 1_795_345_556_000_000
HOT = "module-03.temperature_high"
CONFIG = {"inverter": {"port": "/dev/rs485"}, "arduino": {"port": "/dev/arduino"}, "can": {"modules": 8}}
BEFORE_S, AFTER_S = 12.0, 4.0
PUMP_FAN, MAIN = 3, 4 | 8


class Recorded:
    """The lines of a file; a test may bend them before `write`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        bus = read_bus(EdgeConfig())
        self.head: Body = {
            "kind": "trip", "layout": 1, "trip": HOT, "ts": TS, "spool": "a1b2c3d4", "site": "lab", "node": "rig-1",
            "config": orjson.loads(orjson.dumps(CONFIG)), "catalog": catalog(bus.groups[1], 12),
            "info": {"modules": list(range(1, 9))},
        }  # fmt: skip
        self.events = list(_events())
        self.rows = [*_modules(hot_from_s=-0.6), *_inverter(), *_arduino()]

    def write(self, name: str = "trip.jsonl.gz") -> Path:
        path = self._folder / name
        lines = [self.head, *self.events, *self.rows]
        path.write_bytes(gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines)))
        return path


def event(t_s: float, kind: str, **body: object) -> Body:
    return {"source": kind, "lane": "event", "kind": kind, "ts": TS + round(t_s * 1e6), **body}


def _events() -> Iterable[Body]:
    stopping = {"from": "RUN", "to": "STOPPING", "why": [HOT], "after_s": 300.0, "current_a": 35.0, "latches": [HOT]}
    yield event(0.0, "state", **stopping)
    yield event(0.0, "output", output="inverter", mode="OFF", commanded=0.0, unit="", by="stopping")
    yield event(0.6, "output", output="relay1", commanded=0, by="shutdown")
    yield event(0.7, "output", output="relay2", commanded=0, by="shutdown")
    latched = {"from": "STOPPING", "to": "LATCHED", "why": [HOT], "after_s": 0.9, "current_a": 0.0, "latches": [HOT]}
    yield event(0.9, "state", **latched)


def _columns(source: str, times: list[float], columns: dict[str, list[float]]) -> Body:
    first = TS + round(times[0] * 1e6)
    offsets = [TS + round(t * 1e6) - first for t in times]
    return {"source": source, "lane": "tele", "t0": first, "t": offsets, "v": columns, "bad": {}}


def _times(period_s: float) -> list[float]:
    return [-BEFORE_S + index * period_s for index in range(int((BEFORE_S + AFTER_S) / period_s))]


def _modules(hot_from_s: float) -> Iterable[Body]:
    cells = {f"Cell_{number}_Voltage": 3.94 for number in range(1, 13)}
    steady = {
        **cells, "CMA_Voltage": 47.28, "Min_Cell_Voltage": 3.94, "Max_Cell_Voltage": 3.94, "CMA_Min_Temp": 23.0,
        "CMA_Current": -90.0,
    }  # fmt: skip
    times = _times(0.2)
    for module in range(1, 9):
        columns = {name: [value] * len(times) for name, value in steady.items()}
        columns["CMA_Max_Temp"] = [55.0 if module == 3 and t >= hot_from_s - 1e-6 else 24.0 for t in times]
        yield _columns(f"module-{module:02d}", times, columns)


def _inverter() -> Iterable[Body]:
    times = _times(0.25)
    steady = {"battery_voltage": 378.24, "dc_bus_voltage": 378.24, "warnings": 0.0, "fault_control": 0.0}
    columns = {name: [value] * len(times) for name, value in steady.items()}
    flowing = [t < 0.1 for t in times]
    columns |= {
        "current": [35.0 * on for on in flowing], "power": [13.2 * on for on in flowing], "mode": [2.0 * on for on in flowing],
        "setpoint": [35.0 * on for on in flowing],
    }  # fmt: skip
    yield _columns("inverter", times, columns)


def _arduino() -> Iterable[Body]:
    times = _times(0.1)
    pins = [PUMP_FAN + (MAIN if t < 0.605 else 8 if t < 0.705 else 0) for t in times]
    steady = {"temp1": 24.0, "temp2": 24.0, "press": 10.0, "current_adc": 500.0, "ground_fault": 0.0}
    columns = {name: [value] * len(times) for name, value in steady.items()}
    yield _columns("arduino", times, {**columns, "pins": [float(mask) for mask in pins]})


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[], Recorded]:
    """A new recording each time."""
    return lambda: Recorded(tmp_path)
