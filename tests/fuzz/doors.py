"""The doors that are fuzzed, a class each: `knock` sends one broken message and raises AssertionError when it did harm."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from collector.ingest import Poison, ingest
from collector.lines import lines
from collector.receipts import receipts
from edge_agent.link.clock import Clock, Reading
from edge_agent.link.commands import Arrived, CommandDesk, World
from edge_agent.link.journal import Journal, RecordSettings
from edge_agent.link.mirror import Mirror, sources_of
from edge_agent.link.reception import Reception
from edge_agent.link.spool import Spool
from edge_agent.link.uplink import Fetched, Uplink
from shared import ipc
from shared.errors import WireError
from tests.fuzz import corpus
from tests.fuzz.mutations import broken

READY = World(guard_connected=True, energise="remote", armed=None)
CLOCK = Clock(Reading(0, 1_795_345_556_000_000, synced=True))
TOPICS = (b"+", b"#", b"\xc3\xa9", b"module-01/x", b"", b"a b", b"a,b=c", b"x" * 70, b"module-99", b"$SYS")


class Collector:
    """tele and event, from the topic to the lines and the receipt."""

    def __init__(self, _folder: Path) -> None:
        self.accepted = 0

    def knock(self, random: Random) -> None:
        """One message."""
        topic, payload = random.choice(corpus.RECORDS)
        if random.random() < 0.05:
            topic = f"{topic.rpartition('/')[0]}/{random.choice(TOPICS).decode()}"
        try:
            record = ingest(topic, broken(random, payload))
        except Poison as poison:
            receipts("pc-1", [], [(poison.identity, str(poison))] if poison.identity else [])
            return
        self.accepted += 1
        text = lines(record)
        if record.identity.lane == "tele":
            rows = text.split("\n") if text else []
            assert len(rows) <= len(record.body["t"])
            assert all(row.startswith(("module", "inverter", record.source)) and row.endswith("000") for row in rows)


class Commands:
    """cmd/#: every message gets its answer, nothing energising passes without a heartbeat, nothing keeps an estop out."""

    def __init__(self, _folder: Path) -> None:
        ids = itertools.count()
        self.accepted = 0
        self._knocks = 0
        desk = CommandDesk(corpus.SESSION, lambda: f"made-{next(ids)}")
        desk.beat(1873, 0.0)
        self._reception = Reception(corpus.NODE, desk, CLOCK, self, lambda _job: True)
        self._now = 1.0

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, correlation: bytes | None = None) -> bool:
        """Where answers go."""
        assert topic.startswith(corpus.NODE), correlation
        json.loads(payload)
        return qos == 1

    def room(self) -> int:
        """Always."""
        return 90

    def knock(self, random: Random) -> None:
        """One command, and guard's answer to those that pass, broken as well."""
        target, payload = random.choice(corpus.COMMANDS)
        self._now += random.choice((0.0, 0.1))
        self._knocks += 1
        arrived = Arrived(target, broken(random, payload), retained=random.random() < 0.05)
        packet = self._reception.take(arrived, READY, self._now)
        settles = random.random() < 0.01
        self._now += 100.0 * settles
        packets = [*filter(None, [packet]), *self._reception.due(self._now)]
        for order in map(ipc.parse_object, (packet[1:] for packet in packets)):
            self.accepted += 1
            assert order["class"] in {"S", "A"}, order
            answer = {"id": order["id"], "target": order["target"], "status": "done"}
            with contextlib.suppress(WireError):
                self._reception.from_guard(ipc.parse_object(broken(random, json.dumps(answer).encode())), self._now)
        counts = self._reception.counters()
        refused = sum(count for name, count in counts.items() if name.startswith("E_"))
        if settles:
            assert self._knocks == refused + self.accepted + counts["commands_joined"], "neither an answer nor an order"


class Receipts:
    """receipt and the collectors' status: only what was sent is released, only by who is named."""

    def __init__(self, _folder: Path) -> None:
        self.accepted = 0
        self._uplink = self._new()

    def _new(self) -> Uplink:
        def fetch(_lane: str, after: int, _limit: int) -> list[Fetched]:
            return [(seq, "m", b"x") for seq in range(after + 1, 8)]

        uplink = Uplink(corpus.SPOOL, ["pc-1"], fetch, lambda _lane, seq: (seq, "m", b"x"))
        uplink.send(0.0, 100, lambda _lane, _message: True)
        return uplink

    def knock(self, random: Random) -> None:
        """One receipt or status."""
        if random.random() < 0.2:
            body = broken(random, random.choice(corpus.STATUSES))
            self._uplink.collector("pc-1", body, retained=False, now=1.0)
            return
        payload = broken(random, random.choice(corpus.RECEIPTS))
        release = self._uplink.receipt(payload, retained=random.random() < 0.1)
        if release is None:
            return
        assert b'"pc-1"' in payload.replace(b"\\u0070", b"p")
        assert {*release.stored, *(seq for seq, _ in release.quarantined)} <= set(range(1, 8))
        self.accepted += bool(release.stored or release.quarantined)
        self._uplink.settled(release, 1.0)
        if self._uplink.unreceipted < 4:
            self._uplink = self._new()


class GuardTalk:
    """What guard says beside its records: a WireError at most."""

    def __init__(self, _folder: Path) -> None:
        self.accepted = 0
        self._mirror = Mirror(CLOCK, "1", lambda _topic, body, _qos: json.loads(body))
        self._kinds: dict[bytes, Callable[[bytes], None]] = {ipc.HELLO: self._hello, ipc.STATE: self._mirror.state}

    def knock(self, random: Random) -> None:
        """One packet, or a broken row for the retained state."""
        if random.random() < 0.3:
            packet = broken(random, corpus.numbered(random.randrange(1, 6)))
            self._mirror.row(packet, 1.0)
            self._mirror.publish_rows(1.0)
            return
        good = random.choice(corpus.PACKETS)
        with contextlib.suppress(WireError):
            self._kinds.get(good[:1], self._other)(good[:1] + broken(random, good[1:]))
            self.accepted += 1

    def _hello(self, packet: bytes) -> None:
        body = ipc.parse_object(packet[1:])
        self._mirror.hello(body, sources_of(body), 1.0)

    def _other(self, packet: bytes) -> None:
        ipc.parse_object(packet[1:])


class GuardRecords:
    """Numbered records into a real spool: whatever they hold, each number is accounted for once."""

    def __init__(self, folder: Path) -> None:
        self.accepted = 0
        settings = RecordSettings(folder / "spool.sqlite", 10**9, 10**7, 1.0, ("pc-1",), "boot")
        self._spool = Spool(settings.path)
        self._journal = Journal(self._spool, settings, CLOCK)
        self._number = self._session = 0
        self._begin()

    def _begin(self) -> None:
        self._session += 1
        self._number = 0
        self._journal.hello(f"{self._session:08x}", {"module-01": ("a", "b"), "inverter": ("current",)})

    def knock(self, random: Random) -> None:
        """One record; after some the books must balance, and now and then guard is another one."""
        self._number += 1
        good = corpus.numbered(self._number)
        head, body = good[:17], good[17:]
        whole = good if random.random() < 0.5 else head + broken(random, body)
        self._journal.take([whole if random.random() < 0.98 else broken(random, good)])
        if random.random() < 0.002:
            self._journal.flush()
            books = self._spool.books()
            assert books["produced"] == books["gaps"] + books["spooled"], books
            self.accepted = books["spooled"]
            if random.random() < 0.2:
                self._begin()


DOORS = (Collector, Commands, Receipts, GuardTalk, GuardRecords)
