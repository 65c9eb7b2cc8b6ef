"""Alarms as others see them: active, latched, cleared, acknowledged."""

from __future__ import annotations

from typing import Any

from edge_agent.guard.model import Level, State
from edge_agent.guard.safety.alarms import AlarmBook, Condition
from edge_agent.guard.safety.state import Latch


def test_active_then_latched_then_cleared() -> None:
    book = AlarmBook()
    hot = Condition("module-03.temperature_high", Level.DANGER, 55.0, 50.0, "°C", ("inverter_zero", "relays_open"))
    latch = Latch(hot.id, Level.DANGER)
    states = [
        [alarm.state for alarm in book.update(present, latches, now)]
        for now, present, latches in ((1.0, [hot], [latch]), (2.0, [hot], [latch]), (3.0, [], [latch]), (4.0, [], []))
    ]
    assert states == [["active"], [], ["latched"], ["cleared"]]


def test_a_body_has_every_key_of_the_contract() -> None:
    book = AlarmBook()
    book.update([Condition("a", Level.WARNING, 1.0, 2.0, "V")], [], 1.5)
    assert book.bodies(2.0)["alarm/a"] == {
        "alarm": "a", "level": "WARNING", "state": "active", "acked": None, "value": 1.0, "limit": 2.0, "unit": "V",
        "since_mono_us": 1_500_000, "mono_us": 2_000_000, "actions": [],
    }  # fmt: skip


def test_an_acknowledgement_is_noted_and_lost_when_it_gets_worse_or_returns() -> None:
    book = AlarmBook()
    book.update([Condition("a", Level.WARNING)], [], 1.0)
    assert book.acknowledge("a", "alice").acked == "alice"
    assert book.acknowledge("b", "alice") is None
    assert book.update([Condition("a", Level.DANGER)], [], 2.0)[0].acked is None
    book.acknowledge("a", "bob")
    book.update([], [], 3.0)
    assert book.update([Condition("a", Level.WARNING)], [], 4.0)[0].acked is None


def test_the_worst_level_is_of_what_is_not_cleared() -> None:
    book = AlarmBook()
    book.update([Condition("a", Level.WARNING), Condition("b", Level.DANGER)], [], 1.0)
    assert book.worst() is Level.DANGER
    book.update([Condition("a", Level.WARNING)], [], 2.0)
    assert book.worst() is Level.WARNING
    book.update([], [], 3.0)
    assert book.worst() is Level.OK


def test_acknowledging_never_clears_and_is_an_event(running: Any) -> None:
    running.temperature_c[0] = 45.0
    running.run(2.0)
    running.command("alarm", action="ack", alarm="module-01.temperature_high")
    running.run(1.0)
    body = running.alarm("module-01.temperature_high")
    assert (body["state"], body["acked"]) == ("active", "alice")
    acked = [e for e in running.events if e["kind"] == "alarm" and e["acked"] == "alice"]
    assert len(acked) == 1


def test_a_snapshot_holds_every_state_and_alarm_that_was_ever_said(running: Any) -> None:
    running.temperature_c[0] = 55.0
    running.until(lambda: running.state is State.LATCHED, 5.0)
    snapshot = running.core.snapshot(running.now)
    strip = lambda body: {k: v for k, v in body.items() if k not in {"mono_us", "elapsed_s"}}  # noqa: E731 (two uses)
    assert set(snapshot) == set(running.states)
    for topic, body in snapshot.items():
        assert strip(body) == strip(running.states[topic]), topic


def test_each_transition_is_an_event_with_its_reason(running: Any) -> None:
    kinds = [(e["from"], e["to"]) for e in running.events if e["kind"] == "state"]
    assert kinds == [
        ("BOOT", "STOPPING"), ("STOPPING", "STANDBY"), ("STANDBY", "CONNECTING"), ("CONNECTING", "READY"), ("READY", "RUN"),
    ]  # fmt: skip
    assert all(e["why"] for e in running.events if e["kind"] == "state")
    commanded = [
        e for e in running.events if e["kind"] == "output" and e.get("commanded") == 1 and e["output"] == "relay1"
    ]
    confirmed = [
        e for e in running.events if e["kind"] == "output" and e.get("readback") == 1 and e["output"] == "relay1"
    ]
    assert commanded[0]["mono_us"] <= confirmed[0]["mono_us"]
    assert commanded[0]["by"] == "command:alice"
