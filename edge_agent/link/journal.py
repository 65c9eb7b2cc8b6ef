"""guard's packets and link's own events → messages in the spool, every guard number accounted for in the same commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from edge_agent.link import gaps
from edge_agent.link.clock import Clock
from edge_agent.link.encode import Head, encode_split
from edge_agent.link.intake import Intake
from edge_agent.link.jobs import Durable, OwnEvent
from edge_agent.link.spool import QUARANTINED, Commit, Dropped, Entry, Lane, Spool
from edge_agent.link.stamps import in_wall_time
from edge_agent.link.waiting import Anchor

_SEGMENT = 128
"""Messages dropped at once when the spool is full."""
_WAL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Where and how much to keep, whom to believe, and what the file of a trip says of this node."""

    path: Path
    max_bytes: int
    reserved_bytes: int
    batch_s: float
    receipts_from: tuple[str, ...]
    boot: str
    about: Mapping[str, object] = field(default_factory=dict)
    reread: Callable[[], Mapping[str, object]] = dict


class Journal:
    """What was received and is not yet durable, and the one way it becomes so. Raises sqlite3.Error: then start over."""

    def __init__(self, spool: Spool, settings: RecordSettings, clock: Clock) -> None:
        self._spool, self._settings, self._clock = spool, settings, clock
        # only what is durable counts: rows of a commit that failed come again, with the times they had
        self._last_us = spool.last_times()
        self._intake: Intake | None = None
        self._offset_us = clock.offset_us
        self.own: list[OwnEvent] = []
        self.ceiling: int | None = None
        """Bytes of the file that telemetry may fill while the disk is short of room; None: as the settings say."""
        self.counts: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Rows and events of guard received and not yet durable."""
        return self._intake.waiting if self._intake is not None else 0

    @property
    def has_events(self) -> bool:
        """Whether an event waits for its commit."""
        return bool(self.own) or (self._intake is not None and bool(self._intake.events))

    def hello(self, session: str, sources: Mapping[str, tuple[str, ...]]) -> None:
        """A guard has connected: go on with its session, or end every other one and begin it. Flush before."""
        if self._intake is None or self._intake.session != session:
            self._close_intake()
            last_us = {} if self._clock.doubtful else self._last_us
            self._intake = Intake(session, *self._spool.numbers(session), last_us, self.counts)
            self._end_others(session)
        self._intake.describe(sources)

    def take(self, packets: Sequence[bytes]) -> bool:
        """Receive numbered packets; False before any `hello`."""
        if self._intake is None:
            return False
        for packet in packets:
            self._intake.packet(packet)
        return True

    def commit_events(self) -> None:
        """Events do not wait for the batch: they become durable ahead of the rows before them."""
        waits = self._waits()
        events = self._intake.take_events() if self._intake is not None else []
        own = list(self.own)
        bodies = [OwnEvent(event.kind, {**event.body, "mono_us": event.mono_us}) for event in events] + own
        entries = tuple(self._entry(body, index) for index, body in enumerate(bodies))
        session = self._intake.session if self._intake is not None and events else ""
        self._spool.commit(
            Commit(entries, session, early=tuple(event.number for event in events), own=len(own), waits=waits)
        )
        del self.own[: len(own)]

    def flush(self) -> tuple[Durable | None, list[int]]:
        """One transaction for all that waits. Returns what guard may forget now, and the new telemetry's numbers."""
        if self.has_events:
            self.commit_events()
        intake = self._intake
        if intake is None:
            return None, []
        waits = self._waits()
        holes = [gaps.hole(intake.session, skipped) for skipped in intake.take_skipped(self._offset_us)]
        entries = [self._entry(record, index) for index, record in enumerate(holes)]
        telemetry = self._telemetry(intake)
        numbers = intake.numbers()
        if not entries and not telemetry and numbers.highest <= self._spool.numbers(intake.session)[0]:
            return None, []
        commit = Commit(
            (*entries, *telemetry), numbers.session, numbers.highest, gaps=numbers.gaps, own=len(holes), waits=waits
        )
        self._spool.commit(commit)
        if waits is None:
            self._last_us = intake.last_us
        return Durable(numbers.session, numbers.highest), [entry.seq for entry in telemetry]

    def _waits(self) -> Anchor | None:
        """By which anchor records get provisional times; None once the clock is believed, and then all that waited goes."""
        self._offset_us = self._clock.offset_us  # the one of this whole commit: the clock may be set at any moment
        now = Anchor(self._settings.boot, self._offset_us)
        if self._clock.doubtful:
            return now
        rebased = self._spool.rebase(now, was_set=self._clock.was_set)
        if rebased:
            self.counts["waited_for_clock"] += rebased
            self._last_us = self._spool.last_times()
            if self._intake is not None:
                self._intake.follow(self._last_us)
        return None

    def _close_intake(self) -> None:
        """The session of before is over: what it left unexplained is told now."""
        before = self._intake
        if before is not None:
            left = before.take_skipped(self._offset_us, at_once=True)
            self.own += [gaps.hole(before.session, skipped) for skipped in left]

    def quarantined(self, lane: Lane, refused: Sequence[tuple[int, str]]) -> None:
        """The store has refused these messages for good: settle them, and tell it."""
        settled = self._spool.settle(lane, [seq for seq, _ in refused], QUARANTINED)
        self.own += gaps.quarantined(lane, settled, dict(refused))

    def _end_others(self, session: str) -> None:
        ended = self._spool.unfinished(session)
        entries: list[Entry] = []
        for over in ended:
            last_us = max(self._last_us.values(), default=self._clock.now_us())
            entries.append(self._entry(gaps.ended(over, last_us, self._clock.now_us()), len(entries)))
        if ended:
            self._spool.commit(Commit(tuple(entries), own=len(entries), ended=tuple(ended)))

    def _telemetry(self, intake: Intake) -> list[Entry]:
        whole = Head(self._spool.id, self._settings.boot, self._clock.state)
        entries: list[Entry] = []
        for batch in intake.take_rows(self._offset_us):
            head = whole._replace(clock="stepped") if batch.source in intake.ahead_us else whole
            for part, payload in encode_split(head, self._spool.next_seq("tele") + len(entries), batch):
                seq = self._spool.next_seq("tele") + len(entries)
                times = part.times_us
                entries.append(Entry("tele", seq, part.source, len(times), times[0], times[-1], payload))
        return entries

    def _entry(self, event: OwnEvent, offset: int) -> Entry:
        body = in_wall_time(event.body, self._offset_us)
        ts = body.pop("ts", None)
        ts = ts if isinstance(ts, int) else time.monotonic_ns() // 1000 + self._offset_us
        if "lane" in body:  # guard's own gap records say so; here it is the message's lane
            body["of"] = body.pop("lane")
        seq = self._spool.next_seq("event") + offset
        head = {"spool": self._spool.id, "lane": "event", "seq": seq, "ts": ts, "kind": event.kind}
        return Entry("event", seq, event.kind, 1, ts, ts, orjson.dumps({**body, **head}))

    def trim(self, sent: Callable[[Lane], list[int]], dropped: Callable[[Dropped], None]) -> None:
        """Keep to the cap: stored messages go first, then the oldest telemetry, events last; a forced loss is a gap record.

        `sent` names messages on their way, which are not dropped: they may be stored already.
        """
        cap = max(self._settings.max_bytes - _WAL_BYTES, self._settings.max_bytes // 2)
        for_telemetry = cap - min(self._settings.reserved_bytes, cap // 2)
        if self.ceiling is not None:
            for_telemetry = min(for_telemetry, self.ceiling)
        while (used := self._spool.used_bytes()) > for_telemetry:
            if self._spool.drop_settled(_SEGMENT):
                continue
            lost = self._spool.drop_pending("tele", _SEGMENT, sent("tele"), self._gap)
            if lost is None and used > cap:
                lost = self._spool.drop_pending("event", _SEGMENT, sent("event"), self._gap)
            if lost is None:
                return
            self.counts["messages_dropped"] += len(lost.seqs)
            dropped(lost)

    def _gap(self, lost: Dropped) -> Entry:
        return self._entry(gaps.dropped(lost), 0)
