from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from simulator.control_door import Door
from simulator.main import Options, rig_size
from simulator.names import Names
from simulator.rig import Rig
from simulator.sockets import bind_unix
from simulator.trace import Trace
from simulator.truth import Truth

Make = Callable[..., Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
VERBS = st.sampled_from(
    ["set", "release", "get", "fault", "heal", "truth", "trace", "names", "faults", "since", "module"]
)


def door(modules: int = 2) -> Door:
    rig = Rig(rig_size(Options(modules=modules, seed=1)), Truth(), lambda _frames: None, 0.0)
    return Door(rig, Names(rig), Trace())


def ask(at: Door, request: Any) -> dict[str, Any]:
    return json.loads(at.answer(json.dumps(request).encode()))


def test_names_lists_everything_and_everything_listed_can_be_read() -> None:
    at = door(15)
    answer = ask(at, {"names": True})
    values = ask(at, {"get": answer["names"]})["get"]
    assert set(values) == set(answer["names"]) > set(answer["settable"])
    for name in (
        "module.15.cell.12.voltage_v",
        "arduino.adc.press",
        "arduino.pin.relay3",
        "relay.3",
        "circuit.closed",
        "link.voltage_v",
        "inverter.setpoint",
        "ambient_c",
    ):
        assert name in values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("module.1.temperature_c", 55),
        ("module.2.voltage_v", 33.0),
        ("module.1.current_a", -12.5),
        ("module.1.soc_pct", 20.0),
        ("module.1.min_cell_v", 2.5),
        ("module.1.max_cell_v", 4.3),
        ("module.1.status", 67),
        ("module.1.cell.12.voltage_v", 4.2),
        ("module.1.cell.3.temperature_c", 61.5),
        ("arduino.adc.temp1", 1023),
        ("arduino.ground_fault", 1),
        ("ambient_c", 30.0),
    ],
)
def test_what_is_pinned_reads_back_and_release_frees_it(name: str, value: float) -> None:
    at = door()
    before = ask(at, {"get": [name]})["get"][name]
    assert ask(at, {"set": {name: value}}) == {"ok": True}
    assert ask(at, {"get": [name]})["get"][name] == pytest.approx(value)
    assert ask(at, {"release": [name]}) == {"ok": True}
    if "soc" not in name:  # a state of charge stays where it was put
        assert ask(at, {"get": [name]})["get"][name] == pytest.approx(before)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ([], "a request is a JSON object, not list"),
        ({}, "exactly one of set, release, get"),
        ({"get": [], "set": {}}, "exactly one of"),
        ({"get": "pump"}, 'get takes a list of names ["NAME"]'),
        ({"get": ["module.9.voltage_v"]}, "close to it: module."),
        ({"set": {"module.1.temprature_c": 3}}, "close to it: module.1.temperature_c"),
        ({"set": {"zzzz": 3}}, '{"names":true} lists all'),
        ({"set": {"module.1.temperature_c": "55"}}, "takes a number, not '55'"),
        ({"set": {"module.1.temperature_c": True}}, "takes a number, not True"),
        ({"set": {"module.1.temperature_c": 1e4}}, "takes -128..127, not 10000.0"),
        ({"set": {"module.1.status": 1.5}}, "takes a whole number"),
        ({"set": {"pump": 1}}, "pump can only be read"),
        ({"set": []}, 'set takes an object {"NAME": VALUE}'),
        ({"release": ["circuit.closed"]}, "can only be read"),
        ({"set": {}, "module": 3}, "unknown key 'module'"),
        ({"fault": 3}, "fault takes the name of a fault"),
        ({"heal": "nothing"}, "no fault 'nothing'"),
        ({"truth": True, "since": "now"}, "since takes CLOCK_MONOTONIC seconds"),
        ({"trace": "smell"}, "trace takes serial or can"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_allowed(request_: Any, says: str) -> None:
    assert says in ask(door(), request_)["error"]


def test_of_a_request_with_one_wrong_value_nothing_is_set() -> None:
    at = door()
    assert "error" in ask(at, {"set": {"ambient_c": 40, "module.1.temperature_c": None}})
    assert ask(at, {"get": ["ambient_c"]})["get"]["ambient_c"] == 25.0


@pytest.mark.parametrize(
    "raw", [b"{", b"\xff\xfe", b'{"set":{"ambient_c":NaN}}', b'{"set":{"ambient_c":1e999}}', b"[" * 60_000]
)
def test_what_is_no_json_is_answered_and_harms_nothing(raw: bytes) -> None:
    at = door()
    assert "error" in json.loads(at.answer(raw))
    assert ask(at, {"get": ["ambient_c"]})["get"]["ambient_c"] == 25.0


HOSTILE = door()


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=200), st.dictionaries(VERBS, JSON, max_size=3).map(lambda row: json.dumps(row).encode())
    )
)
def test_no_line_breaks_the_door(line: bytes) -> None:
    answer = json.loads(HOSTILE.answer(line))
    assert set(answer) <= {"ok", "error", "get", "truth", "trace", "names", "settable", "faults"}


def test_requests_over_the_socket_come_back_in_order_and_half_a_line_waits(served: Make) -> None:
    rig = served()
    control = rig.control
    control.socket.sendall(b'{"get":["pump"]}\n\n{"get":["fan"]}\n{"get":["rel')
    assert json.loads(control.file.readline()) == {"get": {"pump": 0}}
    assert json.loads(control.file.readline()) == {"get": {"fan": 0}}
    control.socket.sendall(b'ay.1"]}\n')
    assert json.loads(control.file.readline()) == {"get": {"relay.1": 0}}


def test_a_client_that_never_ends_its_line_is_cut_off_and_others_are_served(served: Make) -> None:
    rig = served()
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(5)
        other.connect(rig.links["control"])
        with pytest.raises(OSError, match=r"pipe|reset"):
            other.sendall(b"x" * 10_000_000)
    assert rig.control.get("pump") == 0


def test_more_clients_than_allowed_are_turned_away_and_leaving_makes_room(served: Make, eventually: Make) -> None:
    rig = served()
    others = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for other in others:
        other.connect(rig.links["control"])
    assert eventually(lambda: rig.simulation.control.turned_away >= 9)
    assert rig.simulation.control.turned_away == 9
    for other in others:
        other.close()
    with socket.socket(socket.AF_UNIX) as late:
        late.settimeout(5)

        def answered() -> bool:
            late.connect(rig.links["control"])
            late.sendall(b'{"get":["pump"]}\n')
            return bool(late.recv(100))

        eventually(answered)


def test_the_truth_comes_in_order_over_the_socket_and_in_the_file(served: Make, tmp_path: Path) -> None:
    rig = served()
    for fault in ({"fault": "relay.weld", "n": 1}, {"fault": "relay.weld", "n": 2}, {"heal": "relay.weld"}):
        assert rig.control(**fault) == {"ok": True}
    rows = rig.control(truth=True, since=0)["truth"]
    assert [row["what"] for row in rows] == [
        "arduino.boot",
        "relay.1",
        "relay.2",
        "circuit.closed",
        "inrush",
        "relay.1",
        "circuit.closed",
        "relay.2",
    ]
    assert [row["t_mono"] for row in rows] == sorted(row["t_mono"] for row in rows)
    assert {tuple(row) for row in rows} == {("t_mono", "what", "value", "circuit_current_a", "by")}
    assert [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()] == rows
    later = rig.control(truth=True, since=rows[-1]["t_mono"] + 0.001)
    assert later == {"truth": []}


def test_a_path_in_use_a_file_and_a_path_too_long_are_refused_and_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with bind_unix(path, socket.SOCK_STREAM) as first:
        first.listen()
        with pytest.raises(ConfigError, match="another process listens"):
            bind_unix(path, socket.SOCK_STREAM)
    bind_unix(path, socket.SOCK_STREAM).close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        bind_unix(tmp_path / "file", socket.SOCK_STREAM)
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        bind_unix(tmp_path / ("x" * 120), socket.SOCK_STREAM)
