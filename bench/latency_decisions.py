"""One decision after the other on the rig of `latency`, timed by the simulator's record of its lines.

A cell above its warning blocks charging, a module below its warning discharging (each with N = 1 and T_on = 0): one frame decides,
and the setpoint must go to 0 at once. A warning clears after a second at the earliest, so the two directions take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any, NamedTuple

from bench.latency_rig import MODULES, Demo
from edge_agent.guard.codecs.inverter import SETPOINT

AMPS, NEAR_A = 20.0, 0.1
HIGH_CELL_V, HIGH_CELL_COUNT = 4.15, 189
LOW_MODULE_V, LOW_MODULE_COUNT = 33.6, 3400
LIMITS, CELLS = 0x180, 0x380
"""First id of the frames with the module's voltage, and of those with cell 3."""
WRITE_ZERO = bytes([6, *SETPOINT.to_bytes(2, "big"), 0, 0])
FLOW_S, DONE_S, AGAIN_S = 40.0, 2.0, 0.04
POLL_S, STILL_S = 0.005, 0.015
KNOWN_S = 0.005
"""A frame waits up to 2 ms for the loop's pace and is then received, decoded and judged."""


class Scene(NamedTuple):
    """What flows, what is pinned to end it, and how the frame that tells of it is known."""

    amps: float
    name: str
    value: float
    is_deciding: Callable[[dict[str, Any]], bool]


def decisions(demo: Demo) -> Iterator[float | None]:
    """Latencies in s without end; None where the simulator stood still itself, so that nobody knows."""
    for number in count():
        module = 1 + number // 2 % MODULES
        scene = _high_cell(module) if number % 2 else _low_module(module)
        _drive(demo, scene.amps)
        yield _decide(demo, scene)


def _high_cell(module: int) -> Scene:
    def is_deciding(frame: dict[str, Any]) -> bool:
        return frame["id"] == CELLS + module and bytes.fromhex(frame["data"])[2] >= HIGH_CELL_COUNT

    return Scene(-AMPS, f"module.{module}.cell.3.voltage_v", HIGH_CELL_V, is_deciding)


def _low_module(module: int) -> Scene:
    def is_deciding(frame: dict[str, Any]) -> bool:
        return (
            frame["id"] == LIMITS + module
            and int.from_bytes(bytes.fromhex(frame["data"])[2:4], "little") <= LOW_MODULE_COUNT
        )

    return Scene(AMPS, f"module.{module}.voltage_v", LOW_MODULE_V, is_deciding)


def _drive(demo: Demo, amps: float) -> None:
    """Order a current, again and again until the warning that blocks it has cleared."""

    def flows() -> bool:
        demo.order({"target": "inverter", "mode": "current", "setpoint": amps})
        time.sleep(AGAIN_S)
        return abs(demo.value("inverter.setpoint") - amps) < NEAR_A

    _wait(flows, FLOW_S, f"{amps:g} A are ordered")


def _decide(demo: Demo, scene: Scene) -> float | None:
    answered: list[float] = []

    def is_zero() -> bool:
        is_so = demo.value("inverter.setpoint") == 0.0
        answered.append(time.monotonic())
        return is_so

    began = time.monotonic()
    demo.simulator(set={scene.name: scene.value})
    _wait(is_zero, DONE_S, f"the setpoint is 0 because of {scene.name}")
    frames = demo.simulator(trace="can", since=began)["trace"]
    chunks = demo.simulator(trace="serial", since=began - 0.5)["trace"]
    demo.simulator(release=[scene.name])
    decided = next(frame["t_mono"] for frame in frames if scene.is_deciding(frame))
    if any(after - before > STILL_S and after > decided for before, after in pairwise(answered)):
        return None
    return _latency_s(decided, [chunk for chunk in chunks if chunk["line"] == "inverter"])


def _latency_s(decided: float, chunks: list[dict[str, Any]]) -> float:
    """From the later of the frame and the end of the transaction it found on the line to the first byte of the command."""
    place = next(i for i, chunk in enumerate(chunks) if chunk["t_mono"] >= decided and _is_zero(chunk))
    before, command = chunks[:place], chunks[place]["t_mono"]
    # a request that went out before the guard could know is as much on the line as one that was there before the frame
    asked = max(
        (c["t_mono"] for c in before if c["from"] == "host" and c["t_mono"] < decided + KNOWN_S), default=decided
    )
    after = min((c["t_mono"] for c in before if c["from"] == "host" and c["t_mono"] > asked), default=command)
    answer = [c["t_mono"] for c in before if c["from"] == "device" and asked < c["t_mono"] < after]
    return float(command - max([decided, *answer]))


def _is_zero(chunk: dict[str, Any]) -> bool:
    return chunk["from"] == "host" and bytes.fromhex(chunk["data"])[1:6] == WRITE_ZERO


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"latency: not within {seconds:g} s: {what}")
        time.sleep(POLL_S)
