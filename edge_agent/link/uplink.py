"""PURE: which spooled message is sent next, when one is sent again, and what a receipt may release.

Events go first, then what is fresh, then the backlog from its oldest end. A message without a receipt is sent again after a
growing delay, and at once after a reconnect or when a collector has just come. The first delay follows how long receipts take:
a slow link must not be filled with copies. Nothing is released that was not really sent from this spool, by this process or, as
far as is known, by one before it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from edge_agent.link.spool import LANES, Dropped, Lane
from shared.messages import Receipt

WINDOW = 500
"""Messages without a receipt; below a broker's usual queue of 1 000 per client."""
WINDOW_BYTES = 8 * 1024 * 1024
_FOR_EVENTS, _NOT_BACKLOG = WINDOW // 10, WINDOW // 5
"""Of the window: kept free of telemetry, so that events pass where telemetry finds no receipt; and kept free of backlog, so
that fresh telemetry passes too."""
_FRESH = 256
FIRST_RESEND_S, LAST_RESEND_S = 2.0, 60.0
_TRIPS = 3.0
"""The first resend comes after so many times what receipts took lately, at least `FIRST_RESEND_S`."""
_CALMING = 0.05
"""How much of a shorter trip is believed at once; a longer one is believed wholly."""
_SILENCE_S = 5.0
"""The first receipt after so long a silence: a collector is back, and what was sent meanwhile is due again at once."""
MAX_RECEIPT_BYTES = 64 * 1024

Fetched = tuple[int, str, bytes]


@dataclass(slots=True)
class _Sent:
    size: int
    first_at: float
    due: float
    delay_s: float
    copies: int = 1


class Release(NamedTuple):
    """What a receipt settles: sequence numbers of one lane."""

    lane: Lane
    stored: list[int]
    quarantined: list[tuple[int, str]]


class Uplink:
    """The state of sending. `fetch(lane, after, limit)` and `one(lane, seq)` read unstored messages from the spool."""

    def __init__(
        self,
        spool: str,
        receipts_from: Iterable[str],
        fetch: Callable[[Lane, int, int], list[Fetched]],
        one: Callable[[Lane, int], Fetched | None],
    ) -> None:
        self._spool = spool
        self._receipts_from = frozenset(receipts_from)
        self._fetch = fetch
        self._one = one
        self._unreceipted: dict[Lane, dict[int, _Sent]] = {lane: {} for lane in LANES}
        self._bytes = 0
        self._cursor: dict[Lane, int] = dict.fromkeys(LANES, 0)
        self._ahead: dict[Lane, deque[Fetched]] = {lane: deque() for lane in LANES}
        self._collectors: dict[str, str] = {}
        self._fresh: deque[int] = deque(maxlen=_FRESH)
        self._trip_s = 0.0
        self._receipted_at: float | None = None
        self.has_more = False
        self.counts: Counter[str] = Counter()

    # ---- sending ----------------------------------------------------------------------------------------------------

    def spooled(self, seq: int) -> None:
        """A telemetry message was just written: it may overtake the backlog."""
        self._fresh.append(seq)

    def sent_before(self, lane: Lane, message: Fetched, now: float) -> None:
        """A process before this one sent it, and it may be stored: due at once, and its receipt says nothing about the time it took."""
        self._keep(lane, message, _Sent(len(message[2]), now, now, self.first_resend_s, copies=2))
        self.counts["sent_before"] += 1

    def reconnected(self, now: float) -> None:
        """Everything without a receipt may be sent again at once; the broker may have lost it."""
        self._collectors.clear()
        self._all_due(now)

    def collector(self, name: str, payload: bytes, *, retained: bool, now: float) -> None:
        """A collector said how it is: one that has just come missed what was sent before, so that is due again."""
        try:
            body = orjson.loads(payload)
        except orjson.JSONDecodeError:
            body = None
        there = isinstance(body, dict) and body.get("state") in ("online", "degraded")  # it may be a list
        since = str(body.get("since")) if there else ""
        if since and since != self._collectors.get(name) and not retained:
            self._all_due(now)
        self._collectors[name] = since

    def _all_due(self, now: float) -> None:
        for sent in self._all_sent():
            sent.due = now
            sent.delay_s = self.first_resend_s

    def send(self, now: float, room: int, publish: Callable[[Lane, Fetched], bool]) -> int:
        """Publish at most `room` messages, most urgent first; stops at the first that is not taken. Returns how many went."""
        count = 0
        self.has_more = True
        for lane, message in self._next(now):
            if count >= room or not publish(lane, message):
                return count
            self._mark(lane, message, now)
            count += 1
        self.has_more = False
        return count

    def _next(self, now: float) -> Iterator[tuple[Lane, Fetched]]:
        yield from self._again("event", now)
        yield from self._backlog("event", 0)
        yield from self._just_spooled()
        yield from self._again("tele", now)
        yield from self._backlog("tele", _NOT_BACKLOG)

    def _again(self, lane: Lane, now: float) -> Iterator[tuple[Lane, Fetched]]:
        due = [seq for seq, sent in self._unreceipted[lane].items() if sent.due <= now]
        for seq in due:
            message = self._one(lane, seq)
            if message is None:
                self._forget(lane, seq)
            else:
                yield lane, message
                self.counts["resent"] += 1

    def _just_spooled(self) -> Iterator[tuple[Lane, Fetched]]:
        while self._fresh and self._has_room(_FOR_EVENTS):
            seq = self._fresh[0]
            message = None if seq in self._unreceipted["tele"] else self._one("tele", seq)
            if message is not None:
                yield "tele", message
            self._fresh.popleft()

    def _backlog(self, lane: Lane, reserved: int) -> Iterator[tuple[Lane, Fetched]]:
        ahead = self._ahead[lane]
        while self._has_room(reserved):
            if not ahead:
                ahead.extend(self._fetch(lane, self._cursor[lane], 32))
            if not ahead:
                return
            message = ahead[0]
            if message[0] not in self._unreceipted[lane]:
                yield lane, message
            self._cursor[lane] = message[0]
            ahead.popleft()

    def _has_room(self, reserved: int) -> bool:
        return self.unreceipted < WINDOW - reserved and (reserved == 0 or self._bytes < WINDOW_BYTES)

    def _mark(self, lane: Lane, message: Fetched, now: float) -> None:
        sent = self._unreceipted[lane].get(message[0])
        if sent is None:
            delay_s = self.first_resend_s
            self._keep(lane, message, _Sent(len(message[2]), now, now + delay_s, delay_s))
            self.counts["sent"] += 1
            return
        sent.copies += 1
        sent.delay_s = min(sent.delay_s * 2, LAST_RESEND_S)
        sent.due = now + sent.delay_s

    def _keep(self, lane: Lane, message: Fetched, sent: _Sent) -> None:
        self._unreceipted[lane][message[0]] = sent
        self._bytes += sent.size

    # ---- receipts ---------------------------------------------------------------------------------------------------

    def receipt(self, payload: bytes, *, retained: bool) -> Release | None:
        """What a receipt releases, or None (counted) when it is malformed, retained, foreign or from someone not named."""
        receipt = self._parse(payload, retained=retained)
        if receipt is None:
            return None
        sent = self._unreceipted[receipt.lane]
        bad = [(seq, why) for first, last, why in receipt.quarantined for seq in _within(sent, first, last)]
        refused = {seq for seq, _ in bad}
        stored = [seq for first, last in receipt.ranges for seq in _within(sent, first, last) if seq not in refused]
        if not stored and not bad:
            self.counts["receipts_for_nothing"] += 1
        return Release(receipt.lane, list(dict.fromkeys(stored)), bad)

    def settled(self, release: Release, now: float) -> None:
        """The release is durable: forget those messages, and learn from those sent once how long a receipt takes."""
        for seq in (*release.stored, *(seq for seq, _ in release.quarantined)):
            sent = self._unreceipted[release.lane].get(seq)
            if sent is not None and sent.copies == 1:
                took_s = now - sent.first_at
                self._trip_s = max(took_s, self._trip_s + _CALMING * (took_s - self._trip_s))
            self._forget(release.lane, seq)
        # a locked broker lets an agent read nothing of a collector but its receipts; on a slow link they are rare anyhow
        silence_s = max(_SILENCE_S, 2 * self.first_resend_s)
        if self._receipted_at is not None and now - self._receipted_at > silence_s:
            self._all_due(now)
        self._receipted_at = now

    def _parse(self, payload: bytes, *, retained: bool) -> Receipt | None:
        if retained or len(payload) > MAX_RECEIPT_BYTES:
            self.counts["receipts_retained" if retained else "receipts_too_large"] += 1
            return None
        try:
            receipt = Receipt.model_validate_json(payload)
        except (ValidationError, RecursionError):
            self.counts["receipts_malformed"] += 1
            return None
        if receipt.spool != self._spool:
            self.counts["receipts_foreign_spool"] += 1
        elif receipt.collector not in self._receipts_from:
            self.counts["receipts_not_named"] += 1
        else:
            return receipt
        return None

    def _forget(self, lane: Lane, seq: int) -> None:
        sent = self._unreceipted[lane].pop(seq, None)
        if sent is not None:
            self._bytes -= sent.size

    def dropped(self, lost: Dropped) -> None:
        """Messages were given up for want of room: do not send what was fetched of them."""
        self._ahead[lost.lane].clear()

    # ---- looking ----------------------------------------------------------------------------------------------------

    def sent(self, lane: Lane) -> list[int]:
        """Numbers on their way: sent, without a receipt; never more than `WINDOW` in both lanes."""
        return list(self._unreceipted[lane])

    @property
    def first_resend_s(self) -> float:
        """How long to wait for a receipt before a message is sent a second time."""
        return min(max(FIRST_RESEND_S, _TRIPS * self._trip_s), LAST_RESEND_S)

    @property
    def unreceipted(self) -> int:
        """Messages sent and not yet receipted."""
        return sum(len(sent) for sent in self._unreceipted.values())

    def oldest_s(self, now: float) -> float:
        """How long the oldest message has been waiting for its receipt; 0 when none does."""
        return now - min((sent.first_at for sent in self._all_sent()), default=now)

    def _all_sent(self) -> Iterator[_Sent]:
        for lane in LANES:
            yield from self._unreceipted[lane].values()


def _within(sent: dict[int, _Sent], first: int, last: int) -> list[int]:
    """Numbers really sent within an inclusive range, however wide a forger made it."""
    return [seq for seq in sent if first <= seq <= last]
