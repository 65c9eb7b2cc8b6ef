"""What other threads leave for the front's loop: bounded, urgent commands first, and a wake-up for its select."""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Mapping

from edge_agent.link.commands import Arrived
from edge_agent.link.jobs import BrokerUp, CollectorSaid, ReceiptArrived, Report
from shared.mqtt import Message

ForRecorder = ReceiptArrived | CollectorSaid | BrokerUp

URGENT = frozenset({"estop", "contactor"})
"""Targets that a flood of others cannot push out."""
_URGENT_MOST, _ORDINARY_MOST, _RECEIPTS_MOST = 100, 400, 1000


class Inbox:
    """Put from any thread, take on the front's. Reports are never dropped: the recorder sends few.

    `collectors`: status topic → name of those whose receipts are believed.
    """

    def __init__(self, root: str, collectors: Mapping[str, str]) -> None:
        self._prefix = f"{root}/"
        self._collectors = collectors
        self._jobs: deque[ForRecorder] = deque()
        self._urgent: deque[Arrived] = deque()
        self._ordinary: deque[Arrived] = deque()
        self._reports: deque[Report] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.settimeout(0.0)
        self._wake_out.settimeout(0.0)
        self.counts: Counter[str] = Counter()

    @property
    def wake(self) -> socket.socket:
        """Readable when something has been put."""
        return self._wake_in

    def message(self, message: Message) -> None:
        """A receipt, a command or a collector's status; dropped and counted when too many wait."""
        below = message.topic.removeprefix(self._prefix)
        if below == "receipt":
            self._job(ReceiptArrived(message.payload, message.retain))
        elif below.startswith("cmd/"):
            reply = message.response_topic, message.correlation
            self._command(Arrived(below.removeprefix("cmd/"), message.payload, message.retain, *reply))
        elif message.topic in self._collectors:
            self._job(CollectorSaid(self._collectors[message.topic], message.payload, message.retain))

    def broker(self, connected: bool, _reason: str) -> None:
        """The broker came or went."""
        if connected:
            self._job(BrokerUp())

    def _job(self, job: ForRecorder) -> None:
        if len(self._jobs) >= _RECEIPTS_MOST:
            self.counts["receipts_dropped"] += 1
            return
        self._jobs.append(job)
        self.nudge()

    def _command(self, arrived: Arrived) -> None:
        lane, most = (self._urgent, _URGENT_MOST) if arrived.target in URGENT else (self._ordinary, _ORDINARY_MOST)
        if len(lane) >= most:
            self.counts["commands_dropped"] += 1
            return
        lane.append(arrived)
        self.nudge()

    def report(self, report: Report) -> None:
        """Something the recorder has to say."""
        self._reports.append(report)
        self.nudge()

    def nudge(self) -> None:
        """Wake the loop."""
        try:
            self._wake_out.send(b"!")
        except OSError:  # a full pipe wakes as well; a closed one belongs to a loop that has ended
            return

    def sleep_over(self) -> None:
        """The loop is awake: forget the wake-ups."""
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            return

    def take_commands(self, most: int) -> list[Arrived]:
        """At most `most` commands, urgent ones first."""
        taken: list[Arrived] = []
        for lane in (self._urgent, self._ordinary):
            while lane and len(taken) < most:
                taken.append(lane.popleft())
        return taken

    def take_jobs(self) -> list[ForRecorder]:
        """What is for the recorder."""
        return [self._jobs.popleft() for _ in range(len(self._jobs))]

    def take_reports(self) -> list[Report]:
        """All reports."""
        return [self._reports.popleft() for _ in range(len(self._reports))]

    @property
    def fill(self) -> int:
        """Commands that wait."""
        return len(self._urgent) + len(self._ordinary)

    def close(self) -> None:
        """Give the wake-up back."""
        self._wake_in.close()
        self._wake_out.close()
