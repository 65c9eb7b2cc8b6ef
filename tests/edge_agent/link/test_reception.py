"""Refusals, verdicts and failures as they are published and recorded."""

from __future__ import annotations

import itertools
import json

import pytest

from edge_agent.link.clock import Clock, Reading
from edge_agent.link.commands import Arrived, CommandDesk, World
from edge_agent.link.jobs import Answered, Job, OwnEvent
from edge_agent.link.reception import EVENTS_PER_S, Reception
from shared import ipc

ROOT = "cellguard/v1/lab/rig-1"
READY = World(guard_connected=True, energise="remote", armed=None)


class Wire:
    """A broker that takes everything, and the recorder's queue."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, object], bytes | None]] = []
        self.jobs: list[Job] = []
        ids = itertools.count()
        desk = CommandDesk("9f3c21aa", lambda: f"made-{next(ids)}")
        desk.beat(7, 0.0)
        self.reception = Reception(ROOT, desk, Clock(Reading(0, 10**15, synced=True)), self, self.record)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, correlation: bytes | None = None) -> bool:
        assert qos == 1
        self.published.append((topic, json.loads(payload), correlation))
        return True

    def room(self) -> int:
        return 90

    def record(self, job: Job) -> bool:
        self.jobs.append(job)
        return True

    def take(self, target: str, body: object, now: float = 1.0, reply_to: str | None = None) -> bytes | None:
        return self.reception.take(
            Arrived(target, json.dumps(body).encode(), retained=False, reply_to=reply_to, correlation=b"42"), READY, now
        )

    def events(self) -> list[OwnEvent]:
        return [job for job in self.jobs if isinstance(job, OwnEvent)]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_command_for_guard_is_packed_as_the_socket_wants_it(wire: Wire) -> None:
    packet = wire.take("pump", {"id": "p", "on": True})
    assert packet is not None
    assert packet[:1] == ipc.COMMAND
    assert ipc.parse_object(packet[1:]) == {
        "id": "p",
        "target": "pump",
        "class": "S",
        "actor": "mqtt",
        "body": {"on": True},
    }
    assert wire.published == []


def test_a_refusal_is_published_recorded_and_carries_the_current_heartbeat(wire: Wire) -> None:
    wire.reception.state = "RUN"
    assert wire.take("contactor", {"id": "c", "action": "close"}) is None
    ((topic, ack, _),) = wire.published
    assert topic == f"{ROOT}/ack"
    assert {key: ack[key] for key in ("id", "target", "status", "code", "hb", "state", "blocked_by")} == {
        "id": "c", "target": "contactor", "status": "rejected", "code": "E_NOT_FRESH", "hb": "9f3c21aa:7", "state": "RUN",
        "blocked_by": [],
    }  # fmt: skip
    assert [event.kind for event in wire.events()] == ["command"]
    assert wire.reception.counters()["E_NOT_FRESH"] == 1


def test_answers_of_guard_go_to_ack_and_to_the_response_topic_with_its_correlation(wire: Wire) -> None:
    wire.take("pump", {"id": "p", "on": True}, reply_to="clients/alice")
    wire.reception.from_guard({"id": "p", "target": "pump", "status": "accepted"}, 1.02)
    assert [(topic, correlation) for topic, _, correlation in wire.published] == [
        (f"{ROOT}/ack", None), ("clients/alice", b"42"),
    ]  # fmt: skip
    assert [job.identifier for job in wire.jobs if isinstance(job, Answered)] == ["p"]
    assert wire.take("pump", {"id": "p", "on": False}) is None
    assert wire.published[-1][1]["code"] == "E_DUPLICATE"


@pytest.mark.parametrize(
    "topic", [f"{ROOT}/state/safety", f"{ROOT}/cmd/estop", "cellguard/v1/lab/other/ack", "a/#", "$SYS/x", ""]
)
def test_a_sender_cannot_have_link_write_to_our_own_topics(wire: Wire, topic: str) -> None:
    wire.take("contactor", {"action": "close"}, reply_to=topic)
    assert [name for name, _, _ in wire.published] == [f"{ROOT}/ack"]
    assert wire.reception.counters()["reply_topics_refused"] == 1


def test_a_flood_is_answered_one_by_one_but_told_in_one_event(wire: Wire) -> None:
    for number in range(200):
        wire.take("nonsense", {}, now=1.0 + number / 1000)
    wire.reception.tick(1.3)
    wire.reception.tick(1.4)
    assert len(wire.published) == 200
    told = wire.events()
    assert len(told) == EVENTS_PER_S + 1
    assert told[-1].body["refused"] == {"E_SYNTAX": 200 - EVENTS_PER_S}


def test_too_many_commands_are_one_event_per_ten_seconds(wire: Wire) -> None:
    for turn in range(30):
        for number in range(50):
            wire.take("pump", {"on": False}, now=turn + number / 1000)
        wire.reception.tick(turn + 0.5)
    bulk = [event for event in wire.events() if event.body.get("code") == "E_RATE"]
    assert len(bulk) == 3
    assert wire.reception.counters()["E_RATE"] == 30 * 30
