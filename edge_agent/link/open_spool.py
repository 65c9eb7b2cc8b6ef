"""All that exists only while the spool is open: the file, what is written to it, what is sent from it, and what was sent before."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from edge_agent.link.clock import Clock
from edge_agent.link.journal import Journal, RecordSettings
from edge_agent.link.sent_marks import SentMarks
from edge_agent.link.spool import Lane, Spool
from edge_agent.link.uplink import Fetched, Uplink

MARKS_FILE = "spool.sent"


class OpenSpool:
    """One thread, the recorder's. Raises sqlite3.Error or OSError where the file cannot be opened: try again later."""

    def __init__(self, settings: RecordSettings, clock: Clock) -> None:
        self.spool = Spool(settings.path)
        self.journal = Journal(self.spool, settings, clock)
        self.uplink = Uplink(self.spool.id, settings.receipts_from, self.spool.pending, self.spool.message)
        self._marks = SentMarks(settings.path.with_name(MARKS_FILE), self.spool.id, self.uplink.sent)
        for lane, seq in self._marks.before():
            if (message := self.spool.message(lane, seq)) is not None:
                self.uplink.sent_before(lane, message, time.monotonic())

    def send(self, room: int, publish: Callable[[str, bytes], bool]) -> None:
        """Publish at most so many messages (topic below the node's, payload), each marked before it goes."""

        def one(lane: Lane, message: Fetched) -> bool:
            seq, source, payload = message
            self._marks.note(lane, seq)
            return publish(f"{lane}/{source}", payload)

        self.uplink.send(time.monotonic(), room, one)

    def counts(self) -> Counter[str]:
        """What its parts have counted since it was opened."""
        return self.journal.counts + self.uplink.counts + self._marks.counts

    def close(self) -> None:
        """Give the files free; may be called twice."""
        self._marks.close()
        self.spool.close()
