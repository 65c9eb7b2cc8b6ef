"""What the front asks of the recorder's thread, and what that reports back: plain values, handed over through queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Hello(NamedTuple):
    """guard is connected: its session, its sources with their signals, and what it tells of itself (`info`, `catalog`)."""

    session: str
    sources: Mapping[str, tuple[str, ...]]
    told: Mapping[str, object] = {}


class Packets(NamedTuple):
    """Numbered packets in order."""

    packets: Sequence[bytes]


class ReceiptArrived(NamedTuple):
    """A collector says what is stored."""

    payload: bytes
    retained: bool


class CollectorSaid(NamedTuple):
    """The status of a collector whose receipts we believe."""

    name: str
    payload: bytes
    retained: bool


class OwnEvent(NamedTuple):
    """An event of link itself."""

    kind: str
    body: Mapping[str, object]


class Answered(NamedTuple):
    """A command's first answer, to be remembered."""

    identifier: str
    answer: dict[str, object]


class Reloaded(NamedTuple):
    """guard has taken over changed settings: what is said of this node is another."""


class BrokerUp(NamedTuple):
    """The broker was (re)connected."""


Job = Hello | Packets | ReceiptArrived | CollectorSaid | OwnEvent | Answered | Reloaded | BrokerUp


class Durable(NamedTuple):
    """Report: every number of the session up to this one may be released."""

    session: str
    number: int


class Opened(NamedTuple):
    """Report: the spool is open (again). With `resync` something was missed: guard must send what it still holds again."""

    spool: str
    have: dict[str, int]
    commands: dict[str, dict[str, object]]
    resync: bool


class Snapshot(NamedTuple):
    """Report, every second: the books and how far behind we are. `trouble` is "" or why nothing can be recorded."""

    books: dict[str, int]
    in_flight: int
    unreceipted: int
    oldest_s: float
    counts: dict[str, int]
    trouble: str
    trips: Mapping[str, object] = {}


Report = Durable | Opened | Snapshot
