"""What one node says of itself, gathered from whatever arrives."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cellguard.doctor.patient import Patient
from cellguard.doctor.table import examine
from cellguard.screen import draw
from cellguard.view import View
from shared.mqtt import Message

ROOT = "cellguard/v1/lab/rig-1"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TOPICS = st.sampled_from(
    (
        "status",
        "hb",
        "info",
        "state/module-01",
        "state/inverter",
        "state/safety",
        "state/outputs",
        "state/health",
        "alarm/a",
        "receipt",
    )
)
KEYS = st.sampled_from(
    (
        "state",
        "why",
        "ts",
        "modules",
        "latches",
        "blocked",
        "level",
        "since",
        "pump",
        "relay1",
        "bad",
        "books",
        "step",
        "setpoint",
    )
)


def message(topic: str, body: object, *, retain: bool = False) -> Message:
    return Message(f"{ROOT}/{topic}", orjson.dumps(body), retain, 0)


def test_the_age_of_a_source_counts_only_what_came_live() -> None:
    view = View()
    view.take(message("state/inverter", {"current": 1.0}, retain=True), 10.0)
    kept = view.age_s("state/inverter", 11.0)
    view.take(message("state/inverter", {"current": 2.0}), 12.0)

    assert kept is None
    assert view.age_s("state/inverter", 12.5) == 0.5
    assert view.state("inverter")["current"] == 2.0


def test_a_heartbeat_the_broker_kept_proves_nothing() -> None:
    view = View()
    view.take(Message(f"{ROOT}/hb", b"9f3c21aa:1", retain=True, qos=0), 1.0)
    assert view.heartbeat == ""

    view.take(Message(f"{ROOT}/hb", b"9f3c21aa:2", retain=False, qos=0), 2.0)
    assert view.heartbeat == "9f3c21aa:2"
    assert view.age_s("hb", 2.5) == 0.5


def test_modules_are_those_expected_and_those_seen() -> None:
    view = View()
    view.take(message("info", {"modules": [1, 3]}), 1.0)
    view.take(message("state/module-02", {}), 1.0)

    assert view.modules() == ["module-01", "module-02", "module-03"]


def test_the_worst_alarm_stands_first_and_cleared_ones_are_not_current() -> None:
    view = View()
    for name, level, state in (("a", "WARNING", "active"), ("b", "CRITICAL", "latched"), ("c", "FAULT", "cleared")):
        view.take(message(f"alarm/{name}", {"alarm": name, "level": level, "state": state, "since": 1}), 1.0)

    assert [alarm["alarm"] for alarm in view.current_alarms()] == ["b", "a"]


@given(st.text(max_size=40), st.binary(max_size=40), st.booleans())
def test_no_message_whatever_breaks_the_view(topic: str, payload: bytes, retain: bool) -> None:
    view = View()
    for place in (topic, f"{ROOT}/status", f"{ROOT}/{topic}"):
        assert isinstance(view.take(Message(place, payload, retain, 0), 1.0), dict)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(TOPICS, st.dictionaries(KEYS, JSON, max_size=5)), max_size=12))
def test_screen_and_doctor_bear_every_json_a_node_could_send(bodies: list[tuple[str, object]]) -> None:
    view = View()
    for topic, body in bodies:
        view.take(message(topic, body), 1.0)

    terminal = Console(width=120, file=None, record=True, quiet=True)
    terminal.print(draw(view, "lab/rig-1", 2.0))
    findings = examine(Patient("127.0.0.1:1883", "", view, 2.0, {}))
    assert [name for name, _ in findings][:2] == ["broker", "node"]
