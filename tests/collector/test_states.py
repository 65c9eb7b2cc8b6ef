"""State topics as lines: known fields of one type each, the same point for the same message, nothing else."""

from __future__ import annotations

import json
import re

import pytest

from collector.states import KINDS, collector_line, state_line
from shared.errors import WireError

ROOT = "cellguard/v1/lab/rig-1/state"
TS = 1_795_345_556_123_456


def line(kind: str, **body: object) -> str:
    return state_line(f"{ROOT}/{kind}", json.dumps({"ts": TS, **body}).encode())


def test_a_state_is_one_point_at_its_own_time() -> None:
    text = line("schedule", state="running", file='a "b".csv', step=4, steps=120, setpoint=-35, unit="A", other=[1])
    assert (
        text
        == f'schedule,node=rig-1,site=lab step=4,steps=120,setpoint=-35,state="running",file="a \\"b\\".csv",unit="A" {TS}000'
    )


def test_nested_numbers_are_found_and_a_counter_left_out_is_zero() -> None:
    text = line("health", books={"stored": 3}, drops={"spool_bytes": 9}, clock="synced", cycle_ms={"p99": None})
    assert "books_stored=3" in text
    assert "spool_bytes=9" in text
    assert "resent=0" in text
    assert 'clock="synced"' in text
    assert "cycle_ms" not in text


@pytest.mark.parametrize("value", [True, 7, 7.5, None, ["x"], {"a": 1}, "text"])
def test_a_field_keeps_one_type_whatever_is_sent(value: object) -> None:
    text = line("schedule", state=value, setpoint=value, step=1)
    assert not re.search(r"\bstate=[^\"]", text)
    assert not re.search(r"\bsetpoint=[^-\d]", text)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (f"{ROOT}/module-01", b'{"ts":1,"CMA_Voltage":47}'),
        ("cellguard/v1/lab/rig-1/tele/inverter", b'{"ts":1}'),
        (f"{ROOT}/safety", b"no JSON"),
        (f"{ROOT}/safety", b"[]"),
        (f"{ROOT}/safety", b'{"state":"RUN"}'),
        (f"{ROOT}/safety", b'{"ts":true,"state":"RUN"}'),
        (f"{ROOT}/safety", b'{"ts":99999999999999999999,"state":"RUN"}'),
        (f"{ROOT}/safety", b'{"ts":1,"unknown":1}'),
        (f"{ROOT}/safety", b'{"ts":1,"state":"' + b"x" * 70_000 + b'"}'),
        ("cellguard/v1/la b/rig-1/state/safety", b'{"ts":1,"state":"RUN"}'),
    ],
)
def test_anything_else_is_refused(topic: str, payload: bytes) -> None:
    with pytest.raises(WireError):
        state_line(topic, payload)


def test_every_kind_has_fields() -> None:
    bodies = {
        "health": {"in_flight": 1},
        "schedule": {"step": 1},
        "safety": {"state": "RUN", "latches": ["estop", "x"]},
        "outputs": {"pump": {"commanded": 1, "readback": 0}},
    }
    assert set(bodies) == set(KINDS)
    assert [line(kind, **body).split(" ")[0] for kind, body in bodies.items()] == [
        f"{kind},node=rig-1,site=lab" for kind in bodies
    ]


def test_the_collectors_own_health_is_a_point_of_its_own() -> None:
    text = collector_line("lab", "pc-1", {"ts": TS, "received": 5, "queue": {"fill": 0.25}, "store_ms": {"p50": None}})
    assert text == f"collector,collector=pc-1,site=lab received=5,queue_fill=0.25 {TS}000"
