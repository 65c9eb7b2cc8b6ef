"""PURE: commands handed to guard and what has been said about them: each gets one verdict and one outcome."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.link.commands import Arrived, Order

NO_ANSWER_S = 2.0
_REMEMBERED = 1000


@dataclass(slots=True)
class _Open:
    target: str
    since: float
    given: bool
    reply_to: str | None
    correlation: bytes | None
    said: set[str]
    given_up: bool = False


class Reply(NamedTuple):
    """An answer to publish. `remember`: it is the first one to an id that its sender chose."""

    body: dict[str, object]
    reply_to: str | None
    correlation: bytes | None
    remember: bool


class Answers:
    """Commands on their way to guard and back. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._joined: dict[str, tuple[str, ...]] = {}
        self.counts: Counter[str] = Counter()

    def expect(self, order: Order, arrived: Arrived, now: float) -> None:
        """A command was handed to guard."""
        entry = _Open(order.target, now, order.given, arrived.reply_to, arrived.correlation, set())
        self._open[order.identifier] = entry
        self._open.move_to_end(order.identifier)
        if len(self._open) > _REMEMBERED:
            self._joined.pop(self._open.popitem(last=False)[0], None)

    def join(self, order: Order, others: Sequence[tuple[Order, Arrived]], now: float) -> None:
        """Every answer to `order`, handed to guard just now, is one to these as well."""
        arrivals = {other.identifier: (other, arrived) for other, arrived in others}
        arrivals.pop(order.identifier, None)
        for other, arrived in arrivals.values():
            self.expect(other, arrived, now)
        if arrivals:
            self._joined[order.identifier] = tuple(arrivals)

    def from_guard(self, body: Mapping[str, object], now: float) -> list[Reply]:
        """What to publish for an ANSWER; nothing (counted) when it came too late or says the same again."""
        identifier = str(body.get("id"))
        shared = (self._one({**body, "id": name}, now) for name in (identifier, *self._joined.get(identifier, ())))
        replies = [reply for reply in shared if reply is not None]
        if body.get("status") != "accepted":
            self._joined.pop(identifier, None)
        return replies

    def _one(self, body: Mapping[str, object], now: float) -> Reply | None:
        identifier, status = str(body.get("id")), str(body.get("status"))
        entry = self._open.get(identifier)
        if entry is None:  # accepted before link was restarted: its sender still waits
            return Reply(dict(body), None, None, remember=False)
        if entry.given_up or status in entry.said:
            self.counts["answers_too_late" if entry.given_up else "answers_repeated"] += 1
            return None
        return self._reply(entry, dict(body), status, now)

    def overdue(self, now: float) -> list[Reply]:
        """Failures for commands about which guard has said nothing for too long."""
        late = [name for name, entry in self._open.items() if not entry.said and now - entry.since > NO_ANSWER_S]
        return [self._fail(name, "E_NO_ANSWER", f"guard said nothing for {NO_ANSWER_S:.0f} s", now) for name in late]

    def guard_lost(self, now: float) -> list[Reply]:
        """Failures for everything that is still open: nobody will report its outcome."""
        unfinished = [name for name, entry in self._open.items() if entry.said <= {"accepted"} and not entry.given_up]
        return [
            self._fail(name, "E_NO_GUARD", "guard was lost before it reported the outcome", now) for name in unfinished
        ]

    def _fail(self, identifier: str, code: str, reason: str, now: float) -> Reply:
        entry = self._open[identifier]
        body: dict[str, object] = {
            "id": identifier, "target": entry.target, "status": "failed", "code": code, "reason": reason,
        }  # fmt: skip
        reply = self._reply(entry, body, "failed", now)
        entry.given_up = True
        self.counts["commands_without_outcome"] += 1
        return reply

    def _reply(self, entry: _Open, body: dict[str, object], status: str, now: float) -> Reply:
        first = not entry.said
        entry.said.add(status)
        body.setdefault("target", entry.target)
        body.setdefault("took_ms", round((now - entry.since) * 1000))
        return Reply(body, entry.reply_to, entry.correlation, remember=first and entry.given)
