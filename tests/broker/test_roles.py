"""Role × topic × verb on a real broker with the shipped settings, by behaviour: every cell is one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.broker.locked import AUDITOR, Client, LockedBroker, login, now
from tests.conftest import wait_for

OWN, OTHER = "cellguard/v1/lab/rig-1", "cellguard/v1/lab/rig-2"
SAID = (
    "status",
    "hb",
    "info",
    "catalog",
    "state/module-01",
    "tele/module-01",
    "alarm/a",
    "event/command",
    "ack",
    "ack/b",
)
TOLD = ("cmd/pump", "receipt")
COLLECTORS = tuple(
    f"cellguard/v1/lab/collector/{name}/{word}" for name in ("pc-1", "pc-2") for word in ("status", "health")
)
OUTSIDE = (
    "cellguard/v1/lab",
    "cellguard/v2/lab/rig-1/cmd/pump",
    "cellguard/v1/lab/rig-1",
    "home/lamp",
    f"{OWN}/unknown",
)
TREE = tuple(f"{root}/{topic}" for root in (OWN, OTHER) for topic in (*SAID, *TOLD)) + COLLECTORS
TOPICS = (*TREE, *OUTSIDE, "$SYS/broker/uptime")
IN_TREE = frozenset(topic for topic in TOPICS if topic.startswith("cellguard/v1/"))
COMMANDS = frozenset(f"{root}/cmd/pump" for root in (OWN, OTHER))
BEATS = frozenset(f"{root}/hb" for root in (OWN, OTHER))


class Who(NamedTuple):
    """A client: its role, its name, by certificate or by password."""

    role: str
    name: str
    certificate: bool


class May(NamedTuple):
    """The topics of `TOPICS` that somebody may write and read."""

    write: frozenset[str]
    read: frozenset[str]


WHO = {
    "agent": Who("agent", "lab/rig-1", certificate=True),
    "agent-with-password": Who("agent", "lab/rig-1", certificate=False),
    "collector": Who("collector", "pc-1", certificate=True),
    "collector-with-password": Who("collector", "pc-1", certificate=False),
    "operator": Who("operator", "alice", certificate=False),
    "viewer": Who("viewer", "bob", certificate=False),
}
AGENT = May(frozenset(f"{OWN}/{topic}" for topic in SAID), frozenset(f"{OWN}/{topic}" for topic in TOLD))
COLLECTOR = May(frozenset({f"{OWN}/receipt", f"{OTHER}/receipt", *COLLECTORS[:2]}), IN_TREE)
MAY = {
    "agent": AGENT,
    "agent-with-password": AGENT,
    "collector": COLLECTOR,
    "collector-with-password": COLLECTOR,
    "operator": May(COMMANDS, IN_TREE),
    "viewer": May(frozenset(), IN_TREE - BEATS),
}
"""The issue's sentence for each role, as sets: written down apart from the ACL."""

Verb = Callable[["Desk", str], frozenset[str]]


class Desk:
    """The broker, and somebody who sees all."""

    def __init__(self, broker: LockedBroker) -> None:
        self.broker = broker
        self.auditor = self.audit()
        self._marks = 0

    def audit(self) -> Client:
        auditor = Client(self.broker.people, self.broker.tls(), login=login(self.broker, AUDITOR))
        auditor.subscribe(["#"])
        return auditor

    def client(self, who: str, will: tuple[str, bytes, bool] | None = None) -> Client:
        _, name, certificate = WHO[who]
        if certificate:
            client = Client(self.broker.machines, self.broker.tls(name), client_id=f"cellguard-{who}", will=will)
        else:
            credentials = login(self.broker, name)
            client = Client(self.broker.people, self.broker.tls(), login=credentials, will=will)
        assert client.up, (who, client.ended)
        return client

    def settle(self, watcher: Client) -> None:
        """Wait until everything sent before has reached `watcher`, who may read everything."""
        self._marks += 1
        mark = b"mark %d" % self._marks
        self.auditor.publish([f"mark/{self._marks}"], mark)
        wait_for(lambda: watcher.topics(mark), 5.0, "the mark")

    def last_will(self, who: str) -> None:
        """Wait until the broker has published the will of a connection that was cut after all others."""
        mark = f"the end of {who}".encode()
        credentials = login(self.broker, AUDITOR)
        Client(self.broker.people, self.broker.tls(), login=credentials, will=("mark/will", mark, False)).cut()
        wait_for(lambda: self.auditor.topics(mark), 5.0, "the last will")


def publish(desk: Desk, who: str) -> frozenset[str]:
    client, payload = desk.client(who), f"publish {who}".encode()
    client.publish(TOPICS, payload)
    desk.settle(desk.auditor)
    client.leave()
    return frozenset(desk.auditor.topics(payload))


def retain(desk: Desk, who: str) -> frozenset[str]:
    """What somebody could leave behind for those who come later."""
    client, payload = desk.client(who), f"retain {who}".encode()
    client.publish(TOPICS, payload, retain=True)
    client.leave()
    late = desk.audit()
    desk.settle(late)
    kept = frozenset(message.topic for message in late.received if message.retain and message.payload == payload)
    desk.auditor.publish(kept, b"", retain=True)
    late.leave()
    return kept


def will(desk: Desk, who: str) -> frozenset[str]:
    for topic in TOPICS:
        desk.client(who, (topic, f"will {who}".encode(), True)).cut()
    desk.last_will(who)
    found = frozenset(desk.auditor.topics(f"will {who}".encode()))
    desk.auditor.publish(found, b"", retain=True)
    return found


def subscribe(desk: Desk, who: str) -> frozenset[str]:
    return received(desk, who, TOPICS)


def wildcard(desk: Desk, who: str) -> frozenset[str]:
    return received(desk, who, ["#", "$SYS/#", "cellguard/+/+/#", "+/+/+/+/hb"])


def received(desk: Desk, who: str, topics: tuple[str, ...] | list[str]) -> frozenset[str]:
    client, payload = desk.client(who), f"read {who}".encode()
    client.subscribe(topics)
    desk.auditor.publish([topic for topic in TOPICS if not topic.startswith("$SYS")], payload)
    desk.settle(desk.auditor)
    last = max(MAY[who].read)
    desk.auditor.publish([last], b"last")
    wait_for(lambda: client.topics(b"last"), 5.0, "the last message")
    client.leave()
    heard = {message.topic for message in client.received if message.topic.startswith("$SYS")}
    return frozenset(client.topics(payload) | heard)


VERBS: dict[str, tuple[Verb, str]] = {
    "publish": (publish, "write"),
    "retain": (retain, "write"),
    "will": (will, "write"),
    "subscribe": (subscribe, "read"),
    "wildcard": (wildcard, "read"),
}
"""What somebody can try → how it is tried, and which right it needs."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    broker = LockedBroker(tmp_path_factory.mktemp("locked"))
    for role, name, certificate in WHO.values():
        if certificate:
            broker.office.issue(role, name, now(), 10)
        else:
            broker.office.password(role, name)
    broker.add_auditor()
    broker.start()
    yield Desk(broker)
    broker.stop()


@pytest.fixture(scope="module")
def outcome(desk: Desk) -> Callable[[str, str], frozenset[str]]:
    """What became of one verb of one client on every topic; tried once."""
    found: dict[tuple[str, str], frozenset[str]] = {}

    def of(who: str, verb: str) -> frozenset[str]:
        if (who, verb) not in found:
            found[who, verb] = VERBS[verb][0](desk, who)
        return found[who, verb]

    return of


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("who", WHO)
def test_a_role_can_do_what_it_may_and_nothing_else(
    who: str, verb: str, topic: str, outcome: Callable[[str, str], frozenset[str]]
) -> None:
    may = topic in getattr(MAY[who], VERBS[verb][1])

    assert (topic in outcome(who, verb)) == may
