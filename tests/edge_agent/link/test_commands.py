"""The paperwork of commands: every check, its place in the order, and nothing that rubbish could do."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.link.answers import NO_ANSWER_S, Answers
from edge_agent.link.commands import RATE, Arrived, CommandDesk, Order, Refusal, World
from shared.messages import COMMANDS

READY = World(guard_connected=True, energise="remote", armed=None)
CODES = {"E_RETAINED", "E_SIZE", "E_SYNTAX", "E_DUPLICATE", "E_RATE", "E_NOT_FRESH", "E_NOT_ARMED", "E_NO_GUARD"}


class Desk:
    def __init__(self) -> None:
        ids = itertools.count()
        self.desk = CommandDesk("9f3c21aa", lambda: f"made-{next(ids)}")
        self.desk.beat(1873, 100.0)

    def judge(
        self, target: str, payload: Any, world: World = READY, now: float = 101.0, **more: Any
    ) -> Order | Refusal:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.desk.judge(Arrived(target, body, more.pop("retained", False), **more), world, now)

    def code(self, target: str, payload: Any, world: World = READY, now: float = 101.0, **more: Any) -> str:
        verdict = self.judge(target, payload, world, now, **more)
        return verdict.code if isinstance(verdict, Refusal) else verdict.kind


@pytest.fixture
def desk() -> Desk:
    return Desk()


GOOD = [
    ("estop", {}, "S"),
    ("contactor", {"action": "open"}, "S"),
    ("schedule", {"action": "stop"}, "S"),
    ("pump", {"on": True}, "S"),
    ("fan", {"on": True}, "S"),
    ("relay3", {"on": False}, "S"),
    ("pump", {"on": False}, "A"),
    ("alarm", {"action": "ack", "alarm": "module-03.cell-07.voltage_high"}, "A"),
    ("schedule", {"action": "pause"}, "A"),
]
ENERGISING = [
    ("contactor", {"action": "close"}),
    ("relay1", {"on": True}),
    ("inverter", {"mode": "current", "setpoint": -20.0}),
    ("inverter", {"mode": "power", "setpoint": 5}),
    ("schedule", {"action": "start", "file": "bare-name.csv"}),
    ("schedule", {"action": "start", "file": "bare-name.csv", "repeat": 1000}),
    ("schedule", {"action": "resume"}),
    ("safety", {"action": "reset_latch", "latch": "module-03.temperature_high"}),
    ("config", {"action": "reload"}),
]


@pytest.mark.parametrize(("target", "body", "kind"), GOOD)
def test_a_well_formed_command_goes_to_guard_with_its_class(
    desk: Desk, target: str, body: dict[str, Any], kind: str
) -> None:
    verdict = desk.judge(target, {**body, "actor": "alice"})
    assert isinstance(verdict, Order)
    assert (verdict.kind, verdict.actor, verdict.body, verdict.given) == (kind, "alice", body, False)


@pytest.mark.parametrize(("target", "body"), ENERGISING)
def test_an_energising_command_needs_a_heartbeat_of_this_session_and_of_the_last_three_seconds(
    desk: Desk, target: str, body: dict[str, Any]
) -> None:
    assert desk.code(target, body) == "E_NOT_FRESH"
    assert desk.code(target, {**body, "hb": "00000000:1873"}) == "E_NOT_FRESH"
    assert desk.code(target, {**body, "hb": "9f3c21aa:1"}) == "E_NOT_FRESH"
    assert desk.code(target, {**body, "hb": "9f3c21aa:1873"}, now=103.0) == "E_NOT_FRESH"
    verdict = desk.judge(target, {**body, "hb": "9f3c21aa:1873"}, now=102.99)
    assert isinstance(verdict, Order)
    assert verdict.kind == "E"
    assert "hb" not in verdict.body


MALFORMED = [
    ("pump", b"", "not JSON"),
    ("pump", b"[1]", "expected a JSON object, got list"),
    ("pump", b'{"on":1}', "on: "),
    ("pump", b'{"on":"true"}', "on: "),
    ("pump", b'{"on":true,"off":false}', "off: "),
    ("pump", b'{"on":true,"on":false}', "on: given twice"),
    ("pump", b'{"on":true,"id":"a b"}', "id: "),
    ("pump", b'{"on":true,"actor":"a\\nb"}', "actor: "),
    ("pump", b'{"on":true}\xff', "not JSON"),
    ("inverter", b'{"mode":"current","setpoint":NaN}', "NaN is not a number"),
    ("inverter", b'{"mode":"current","setpoint":1e400}', "setpoint: "),
    ("inverter", b'{"mode":"current","setpoint":true}', "setpoint: "),
    ("inverter", b'{"mode":"current","setpoint":1001}', "setpoint: "),
    ("inverter", b'{"mode":"voltage","setpoint":1}', "mode: "),
    ("schedule", b'{"action":"start"}', "file: "),
    ("schedule", b'{"action":"start","file":"../x.csv"}', "file: "),
    ("schedule", b'{"action":"stop","file":"x.csv"}', "file: "),
    ("schedule", b'{"action":"start","file":"x.csv","repeat":0}', "repeat: "),
    ("schedule", b'{"action":"start","file":"x.csv","repeat":1001}', "repeat: "),
    ("schedule", b'{"action":"start","file":"x.csv","repeat":2.0}', "repeat: "),
    ("schedule", b'{"action":"start","file":"x.csv","repeat":true}', "repeat: "),
    ("schedule", b'{"action":"pause","repeat":2}', "repeat: only with action start"),
    ("pump", b"[" * 1500, "nested too deeply|not JSON"),
    ("pump/extra", b'{"on":true}', "target 'pump/extra': allowed estop, contactor"),
    ("", b"{}", "target ''"),
    ("pump", b'{"on":true,"\\ud800":1}', "payload|keys allowed"),
]


@pytest.mark.parametrize(("target", "payload", "said"), MALFORMED)
def test_a_malformed_command_is_refused_with_the_place_and_what_is_allowed(
    desk: Desk, target: str, payload: bytes, said: str
) -> None:
    verdict = desk.judge(target, payload)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "E_SYNTAX"
    assert any(part in verdict.reason for part in said.split("|")), verdict.reason
    json.dumps(verdict.reason).encode("utf-8")


def test_checks_come_in_the_order_of_the_contract(desk: Desk) -> None:
    nobody = World(guard_connected=False, energise="local", armed=None)
    close = {"id": "x", "action": "close"}
    desk.desk.remember("x", {"status": "accepted"})
    huge = json.dumps({**close, "actor": "y" * 3000}).encode()
    assert desk.code("contactor", huge, nobody, retained=True) == "E_RETAINED"
    assert desk.code("contactor", huge, nobody) == "E_SIZE"
    assert desk.code("contactor", {**close, "more": 1}, nobody) == "E_SYNTAX"
    assert desk.code("contactor", close, nobody) == "E_DUPLICATE"
    for _ in range(RATE):
        assert desk.code("contactor", {"action": "close"}, nobody) == "E_NOT_FRESH"
    assert desk.code("contactor", {"action": "close"}, nobody) == "E_RATE"
    fresh = {"action": "close", "hb": "9f3c21aa:1873"}
    assert desk.code("contactor", {**fresh, "hb": None}, nobody, now=102.5) == "E_NOT_FRESH"
    assert desk.code("contactor", fresh, nobody, now=102.5) == "E_NOT_ARMED"
    assert desk.code("contactor", fresh, nobody._replace(energise="remote"), now=102.5) == "E_NO_GUARD"
    assert desk.code("contactor", fresh, now=102.5) == "E"


def test_an_estop_is_stopped_by_nothing_it_says(desk: Desk) -> None:
    desk.desk.remember("used", {"status": "accepted"})
    for payload in (
        b"",
        b"{",
        b"\xff\xfe",
        b'{"id":"used"}',
        b'{"on":NaN}',
        b"[" * 2000,
        b"x" * 5000,
        b'{"id":7,"actor":"bob"}',
    ):
        verdict = desk.judge("estop", payload)
        assert isinstance(verdict, Order)
        assert (verdict.kind, verdict.body) == ("S", {})
    assert desk.judge("estop", b'{"id":7,"actor":"bob"}').actor == "bob"
    assert desk.code("estop", b"", retained=True) == "E_RETAINED"


def test_a_used_id_is_refused_with_its_first_answer_but_never_stops_a_step_towards_safe(desk: Desk) -> None:
    desk.desk.remember("x", {"status": "done"})
    refused = desk.judge("pump", {"id": "x", "on": False})
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.first, refused.identifier) == ("E_DUPLICATE", {"status": "done"}, "x")
    assert desk.code("pump", {"id": "x", "on": True}) == "S"


def test_the_window_of_energising_is_kept(desk: Desk) -> None:
    close = {"action": "close", "hb": "9f3c21aa:1873"}
    assert desk.code("contactor", close, READY._replace(energise="window", armed=False)) == "E_NOT_ARMED"
    assert desk.code("contactor", close, READY._replace(energise="window", armed=True)) == "E"
    assert desk.code("contactor", close, READY._replace(energise="window", armed=None)) == "E"
    assert desk.code("contactor", close, READY._replace(energise="local", armed=True)) == "E_NOT_ARMED"
    assert desk.code("contactor", {"action": "open"}, READY._replace(energise="local", armed=False)) == "S"


def test_a_flood_does_not_reach_guard_but_steps_towards_safe_always_do(desk: Desk) -> None:
    kinds = [desk.code("pump", {"on": False}, now=101 + number / 1000) for number in range(200)]
    assert (kinds.count("A"), kinds.count("E_RATE")) == (RATE, 200 - RATE)
    assert desk.code("pump", {"on": True}, now=101.2) == "S"
    assert desk.code("pump", {"on": False}, now=102.3) == "A"


def test_a_refusal_for_want_of_freshness_does_not_use_up_the_id(desk: Desk) -> None:
    first = desk.judge("contactor", {"id": "x", "action": "close"})
    assert isinstance(first, Refusal)
    assert not first.remember
    assert desk.code("contactor", {"id": "x", "action": "close", "hb": desk.desk.heartbeat}) == "E"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["id", "on", "action", "mode", "setpoint", "hb", "file", "actor", "x"]), inner, max_size=4
        ),
    ),
    max_leaves=8,
)
PAYLOADS = st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode()))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from([*COMMANDS, "x", ""]), PAYLOADS), min_size=5, max_size=5))
def test_whatever_is_sent_the_answer_is_an_order_or_a_code_and_nothing_energising_passes(
    arrivals: list[tuple[str, bytes]],
) -> None:
    desk = Desk()
    for target, payload in arrivals:
        verdict = desk.judge(target, payload)
        json.dumps(verdict._asdict()).encode()
        assert isinstance(verdict, Order) or verdict.code in CODES
        assert not isinstance(verdict, Order) or verdict.kind in ("S", "A")


def test_ten_thousand_broken_copies_of_good_commands_get_an_answer_each() -> None:
    rng = random.Random(5)
    good = [(target, json.dumps(body).encode()) for target, body, *_ in (*GOOD, *ENERGISING)]
    desk = Desk()
    for _ in range(10_000):
        target, payload = rng.choice(good)
        broken = bytearray(payload)
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(broken))
            broken[place : place + rng.randrange(2)] = rng.choice(
                (b"{", b'"', b"1e999", b"\xff", b"null", b",", b"\\ud800")
            )
        verdict = desk.judge(target, bytes(broken), now=101.0 + rng.random())
        assert isinstance(verdict, Order) or verdict.code in CODES
        assert not isinstance(verdict, Order) or verdict.kind in ("S", "A")


# ---- answers ----------------------------------------------------------------------------------------------------------

ORDER = Order("c1", "pump", "S", "mqtt", {"on": True}, given=True)
ARRIVED = Arrived("pump", b"", retained=False, reply_to="reply", correlation=b"7")


def answers() -> Answers:
    one = Answers()
    one.expect(ORDER, ARRIVED, 10.0)
    return one


def test_the_verdict_and_the_outcome_are_each_published_once() -> None:
    one = answers()
    (accepted,) = one.from_guard({"id": "c1", "status": "accepted"}, 10.05)
    (done,) = one.from_guard({"id": "c1", "status": "done", "took_ms": 41}, 10.1)
    assert (accepted.body["took_ms"], accepted.remember, accepted.reply_to, accepted.correlation) == (
        50,
        True,
        "reply",
        b"7",
    )
    assert (done.body["took_ms"], done.remember) == (41, False)
    assert one.from_guard({"id": "c1", "status": "done"}, 10.2) == []
    assert one.counts["answers_repeated"] == 1


def test_a_guard_that_says_nothing_is_answered_for_once_and_may_not_speak_later() -> None:
    one = answers()
    assert one.overdue(10.0 + NO_ANSWER_S) == []
    assert [reply.body["code"] for reply in one.overdue(12.1)] == ["E_NO_ANSWER"]
    assert one.overdue(20.0) == []
    assert one.from_guard({"id": "c1", "status": "accepted"}, 20.0) == []


def test_a_guard_that_is_lost_leaves_no_command_without_an_outcome() -> None:
    one = answers()
    one.from_guard({"id": "c1", "status": "accepted"}, 10.1)
    one.expect(ORDER._replace(identifier="c2"), ARRIVED, 10.0)
    one.from_guard({"id": "c2", "status": "rejected"}, 10.1)
    assert [(reply.body["id"], reply.body["code"]) for reply in one.guard_lost(11.0)] == [("c1", "E_NO_GUARD")]
    assert one.guard_lost(12.0) == []


def test_an_answer_to_a_command_from_before_a_restart_is_passed_on() -> None:
    (reply,) = Answers().from_guard({"id": "old", "status": "done", "target": "fan"}, 1.0)
    assert reply.body == {"id": "old", "status": "done", "target": "fan"}
