"""What other threads leave for the front's loop: bounded, a lane for each kind of command, and a wake-up for its select."""

from __future__ import annotations

import re
import socket
from collections import Counter, deque
from collections.abc import Mapping

from edge_agent.link.commands import Arrived
from edge_agent.link.jobs import BrokerUp, CollectorSaid, ReceiptArrived, Report
from shared.messages import COMMANDS, MAX_COMMAND_BYTES
from shared.mqtt import Message

ForRecorder = ReceiptArrived | CollectorSaid | BrokerUp

_LANE_MOST, _RECEIPTS_MOST = 50, 1000
_VERB = re.compile(rb'"(open|close|stop|start|pause|resume)"|:\s*(true|false)')
"""What a command asks, guessed without parsing it: who words it so that the guess fails only waits with others like it."""


class Inbox:
    """Put from any thread, take on the front's. Reports are never dropped: the recorder sends few.

    `collectors`: status topic → name of those whose receipts are believed.
    """

    def __init__(self, root: str, collectors: Mapping[str, str]) -> None:
        self._prefix = f"{root}/"
        self._collectors = collectors
        self._jobs: deque[ForRecorder] = deque()
        self._lanes: dict[tuple[str, bytes], deque[Arrived]] = {}
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
        self.counts["commands_received"] += 1
        lane = self._lane(arrived)
        if len(lane) >= _LANE_MOST:
            self.counts["commands_dropped"] += 1
            return
        lane.append(arrived)
        if len(lane) == 1:
            self.nudge()

    def _lane(self, arrived: Arrived) -> deque[Arrived]:
        """A lane for each thing that can be asked: a flood of one neither pushes out nor delays another."""
        if arrived.target not in COMMANDS:
            return self._lanes.setdefault(("", b""), deque())
        verb = _VERB.search(arrived.payload[:MAX_COMMAND_BYTES])
        return self._lanes.setdefault((arrived.target, verb[verb.lastindex or 0] if verb else b""), deque())

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
        """At most about `most` commands: one of each lane in turn, the emergency stop's first."""
        taken: list[Arrived] = []
        lanes = sorted(self._lanes.copy().items(), key=lambda item: item[0][0] != "estop")
        while len(taken) < most and any(lane for _, lane in lanes):
            taken += [lane.popleft() for _, lane in lanes if lane]
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
        return sum(map(len, self._lanes.copy().values()))

    def close(self) -> None:
        """Give the wake-up back."""
        self._wake_in.close()
        self._wake_out.close()
