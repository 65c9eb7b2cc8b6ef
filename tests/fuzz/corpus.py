"""Good messages of every kind that a collector or a link reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from shared import ipc

SPOOL, SESSION = "a1b2c3d4", "9f3c21aa"
NODE = "cellguard/v1/lab/rig-1"
_T0 = 1_795_345_556_123_456


def _dumped(bodies: list[Mapping[str, object]]) -> list[bytes]:
    return [json.dumps(body).encode() for body in bodies]


def _event(kind: str, **details: object) -> dict[str, object]:
    return {"spool": SPOOL, "lane": "event", "seq": 7, "ts": _T0, "kind": kind, **details}


RECORDS: list[tuple[str, bytes]] = [
    (f"{NODE}/{topic}", json.dumps(body).encode())
    for topic, body in (
        (
            "tele/module-05",
            {
                "spool": SPOOL, "lane": "tele", "seq": 812, "boot": "0f0f0f0f", "clock": "synced", "t0": _T0, "t": [0, 200_000],
                "v": {"CMA_Voltage": [47.33, 47.34], "CMA_Temp3": [21.0, None]}, "bad": {"CMA_Temp3": [[1, "stale"]]},
            },
        ),
        ("tele/inverter", {"spool": SPOOL, "lane": "tele", "seq": 813, "t0": _T0, "t": [0], "v": {"power": [-15.7]}}),
        ("event/alarm", _event("alarm", alarm="module-03.stale", level="DANGER", state="active", value=52, unit="°C")),
        ("event/gap", _event("gap", of="guard", **{"from": 5, "to": None}, rows=3, t_from=1, t_to=2, reason="ring full")),
        ("event/command", _event("command", id="c1", actor="alice", target="pump", status="done", took_ms=41)),
    )
]  # fmt: skip

COMMANDS: list[tuple[str, bytes]] = [
    (target, json.dumps({"id": f"id-{number}", "actor": "alice", **body}).encode())
    for number, (target, body) in enumerate(
        (
            ("estop", {}),
            ("contactor", {"action": "open"}),
            ("contactor", {"action": "close", "hb": "deadbeef:1"}),
            ("schedule", {"action": "stop"}),
            ("schedule", {"action": "start", "file": "a.csv", "hb": "deadbeef:1"}),
            ("pump", {"on": True}),
            ("fan", {"on": False}),
            ("relay1", {"on": True, "hb": "deadbeef:1"}),
            ("inverter", {"mode": "current", "setpoint": -20.0}),
            ("alarm", {"action": "ack", "alarm": "module-03.stale"}),
            ("safety", {"action": "reset_latch", "latch": "module-03.stale"}),
            ("config", {"action": "reload"}),
        )
    )
]

RECEIPTS = _dumped(
    [
        {"collector": "pc-1", "spool": SPOOL, "lane": "tele", "ranges": [[1, 3], [5, 5]], "quarantined": []},
        {"collector": "pc-1", "spool": SPOOL, "lane": "tele", "ranges": [], "quarantined": [[4, 4, "a reason"]]},
        {"collector": "pc-1", "spool": SPOOL, "lane": "event", "ranges": [[1, 2**53]], "quarantined": []},
        {"collector": "pc-2", "spool": SPOOL, "lane": "tele", "ranges": [[1, 9]], "quarantined": []},
        {"collector": "pc-1", "spool": "ffffffff", "lane": "tele", "ranges": [[1, 9]], "quarantined": []},
    ]
)
STATUSES = _dumped([{"state": "online", "ts": _T0, "since": _T0, "why": []}, {"state": "degraded", "since": 1}])

SOURCES = [{"name": "module-01", "signals": ["a", "b"]}, {"name": "inverter", "signals": ["current"]}]
PACKETS = [
    ipc.pack_json(
        ipc.HELLO, {"session": SESSION, "sources": SOURCES, "info": {"modules": [1]}, "catalog": {"module": {}}}
    ),
    ipc.pack_json(ipc.STATE, {"name": "state/safety", "body": {"state": "RUN", "since_mono_us": 5, "latches": []}}),
    ipc.pack_json(ipc.STATE, {"name": "alarm/module-01.stale", "body": {"state": "active", "since_mono_us": 5}}),
    ipc.pack_json(ipc.STATE, {"name": "degraded", "body": {"why": ["arduino absent"]}}),
    ipc.pack_json(ipc.STATE, {"name": "state/health", "body": {"cycle_ms": 1.0}}),
    ipc.pack_json(ipc.ANSWER, {"id": "c1", "target": "pump", "status": "accepted", "state": "RUN"}),
]
"""What guard sends beside its numbered records; JSON after one byte."""


def numbered(number: int) -> bytes:
    """One of guard's records under that number: five rows, then an event."""
    mono_us = 1_000_000 + number * 1000
    if number % 6 == 0:
        return ipc.pack_event(ipc.Event(number, mono_us, {"kind": "state", "to": "RUN", "since_mono_us": mono_us}))
    values = (1.0, math.nan) if number % 2 else (2.0,)
    return ipc.pack_row(ipc.Row(number, mono_us, 1 - number % 2, values, ((1, "stale"),) if number % 2 else ()))
