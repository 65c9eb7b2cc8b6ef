"""Equal commands towards safe that come too fast: guard hears the first at once and the last always, each sender an answer."""

from __future__ import annotations

import itertools
import json

import pytest

from edge_agent.link.clock import Clock, Reading
from edge_agent.link.commands import RATE, Arrived, CommandDesk, World
from edge_agent.link.crowd import JOINED_MOST, PERIOD_S
from edge_agent.link.inbox import Inbox
from edge_agent.link.jobs import Job
from edge_agent.link.reception import Reception
from shared import ipc
from shared.mqtt import Message

ROOT = "cellguard/v1/lab/rig-1"
READY = World(guard_connected=True, energise="remote", armed=None)


class Wire:
    """Reception with a broker that has so much room, and guard's end as a list."""

    def __init__(self) -> None:
        self.space = 90
        self.published: list[dict[str, object]] = []
        self.guard: list[dict[str, object]] = []
        ids = itertools.count()
        desk = CommandDesk("9f3c21aa", lambda: f"made-{next(ids)}")
        self.reception = Reception(ROOT, desk, Clock(Reading(0, 10**15, synced=True)), self, self.record)

    def publish(self, _topic: str, payload: bytes, *, qos: int = 1, correlation: bytes | None = None) -> bool:
        assert (qos, correlation) == (1, None)
        self.published.append(json.loads(payload))
        return True

    def room(self) -> int:
        return self.space

    def record(self, _job: Job) -> bool:
        return True

    def take(self, now: float, target: str, **body: object) -> None:
        packet = self.reception.take(Arrived(target, json.dumps(body).encode(), retained=False), READY, now)
        self._to_guard([packet] if packet is not None else [])

    def due(self, now: float) -> None:
        self._to_guard(self.reception.due(now))

    def _to_guard(self, packets: list[bytes]) -> None:
        self.guard += [ipc.parse_object(packet[1:]) for packet in packets]

    def answer(self, status: str, now: float) -> None:
        last = self.guard[-1]
        self.reception.from_guard({"id": last["id"], "target": last["target"], "status": status}, now)

    def answered(self) -> list[tuple[object, object]]:
        return [(ack["id"], ack["status"]) for ack in self.published]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_the_first_goes_at_once_the_newest_after_a_twentieth_of_a_second_and_then_no_more(wire: Wire) -> None:
    for number in range(10):
        wire.take(1.0 + number / 1000, "pump", id=f"p{number}", on=True)
    assert [one["id"] for one in wire.guard] == ["p0"]
    wire.due(1.0 + PERIOD_S + 0.001)
    assert [one["id"] for one in wire.guard] == ["p0", "p9"]
    wire.due(2.0)
    assert len(wire.guard) == 2


def test_every_sender_with_an_id_hears_what_became_of_the_one_that_stood_for_his(wire: Wire) -> None:
    for name in ("a", "b", "c"):
        wire.take(1.0, "pump", id=name, on=True)
    wire.due(1.1)
    wire.answer("accepted", 1.11)
    wire.answer("done", 1.2)
    assert wire.answered() == [("c", "accepted"), ("b", "accepted"), ("c", "done"), ("b", "done")]


def test_a_flood_of_one_is_twenty_a_second_for_guard_and_what_was_joined_is_counted(wire: Wire) -> None:
    for number in range(5000):
        wire.take(1.0 + number / 5000, "pump", on=True)
        wire.due(1.0 + number / 5000)
    assert RATE - 1 <= len(wire.guard) <= RATE + 1
    assert wire.reception.counters()["commands_joined"] >= 5000 - 2 * RATE - 2
    assert wire.reception.counters()["senders_unheard"] == 0


def test_more_senders_than_can_be_answered_are_counted(wire: Wire) -> None:
    for number in range(JOINED_MOST + 5):
        wire.take(1.0, "estop", id=f"e{number}")
    wire.due(1.1)
    wire.answer("accepted", 1.2)
    assert len(wire.published) == JOINED_MOST + 1
    assert wire.reception.counters()["senders_unheard"] == 3


def test_a_flood_of_one_does_not_delay_another(wire: Wire) -> None:
    for number in range(100):
        wire.take(1.0, "pump", id=f"p{number}", on=True)
    wire.take(1.0, "contactor", id="open", action="open")
    wire.take(1.0, "estop", id="stop")
    assert [one["id"] for one in wire.guard] == ["p0", "open", "stop"]


def test_answers_leave_room_for_the_heartbeat(wire: Wire) -> None:
    wire.space = 10
    wire.take(1.0, "contactor", action="close")
    assert wire.published == []
    assert wire.reception.counters()["answers_not_sent"] == 1


def test_a_lane_that_is_full_drops_only_its_own_and_the_others_are_taken_in_turn() -> None:
    inbox = Inbox(ROOT, {})

    def arrive(target: str, payload: bytes) -> None:
        inbox.message(Message(f"{ROOT}/cmd/{target}", payload, retain=False, qos=0))

    for _ in range(1000):
        arrive("pump", b'{"on":true}')
        arrive("contactor", b'{"action":"close","hb":"9f3c21aa:1"}')
        arrive("no/such/thing", b"{}")
    for target, payload in (("contactor", b'{"action":"open"}'), ("pump", b'{"on": false}'), ("estop", b"")):
        arrive(target, payload)
    taken = inbox.take_commands(6)
    assert taken[0].target == "estop"
    assert sorted(one.payload for one in taken) == sorted(
        [b"", b'{"on":true}', b'{"action":"close","hb":"9f3c21aa:1"}', b"{}", b'{"action":"open"}', b'{"on": false}']
    )
    assert inbox.counts["commands_dropped"] == 3 * (1000 - inbox.fill // 3 - 1)
    inbox.close()
