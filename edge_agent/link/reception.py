"""Where commands come in and every answer goes out: the desk's refusals, guard's verdicts, and the record of both."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Protocol

import orjson

from edge_agent.link.answers import Answers, Reply
from edge_agent.link.clock import Clock
from edge_agent.link.commands import Arrived, CommandDesk, Order, Refusal, World
from edge_agent.link.crowd import Crowd, Ready
from edge_agent.link.jobs import Answered, Job, OwnEvent
from edge_agent.link.stamps import in_wall_time
from shared import ipc

EVENTS_PER_S = 10
COALESCE_S = 10.0
_REPLY_TO_MOST = 200
_ROOM_FOR_OTHERS = 10
"""Answers leave so much: a flood of commands must not keep the heartbeat from going out."""


class Publisher(Protocol):
    """The broker as far as answers need it."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, correlation: bytes | None = None) -> bool:
        """Send once, or say False. The topic is a full one."""
        ...

    def room(self) -> int:
        """How many more it would take now."""
        ...


class Reception:
    """Driven by the front's loop; `now` is monotonic seconds."""

    def __init__(
        self, root: str, desk: CommandDesk, clock: Clock, publisher: Publisher, record: Callable[[Job], bool]
    ) -> None:
        self._root, self._desk, self._clock = root, desk, clock
        self._publisher, self._record = publisher, record
        self._answers, self._crowd = Answers(), Crowd()
        self._events: deque[float] = deque(maxlen=EVENTS_PER_S)
        self._untold: Counter[str] = Counter()
        self._tell_at = 0.0
        self._counts: Counter[str] = Counter()
        self.state: str | None = None

    def counters(self) -> Counter[str]:
        """Refusals by code, and answers that could not be given."""
        crowd = Counter(commands_joined=self._crowd.joined, senders_unheard=self._crowd.unheard)
        return self._counts + self._answers.counts + crowd

    def take(self, arrived: Arrived, world: World, now: float) -> bytes | None:
        """Judge one command: a COMMAND packet for guard, or None when it was refused here or waits with its equals."""
        verdict = self._desk.judge(arrived, world, now)
        if isinstance(verdict, Refusal):
            self._refuse(verdict, arrived, now)
            return None
        ready = Ready(verdict, arrived) if verdict.kind != "S" else self._crowd.take(verdict, arrived, now)
        return None if ready is None else self._hand_over(ready, now)

    def due(self, now: float) -> list[bytes]:
        """COMMAND packets of those that waited with their equals."""
        return [self._hand_over(ready, now) for ready in self._crowd.due(now)]

    def _hand_over(self, ready: Ready, now: float) -> bytes:
        self._answers.expect(ready.order, ready.arrived, now)
        self._answers.join(ready.order, ready.others, now)
        return ipc.pack_json(ipc.COMMAND, _command(ready.order))

    def from_guard(self, body: Mapping[str, object], now: float) -> None:
        """Publish an ANSWER of guard."""
        for reply in self._answers.from_guard(body, now):
            self._reply(reply)

    def tick(self, now: float) -> None:
        """Answer for a guard that says nothing, and tell in one event what was refused too often to be told one by one."""
        for reply in self._answers.overdue(now):
            self._fail(reply)
        if self._untold and now >= self._tell_at:
            self._tell_at = now + COALESCE_S
            counts, self._untold = dict(self._untold), Counter()
            self._event({"status": "rejected", "code": "E_RATE", "refused": counts, "reason": "refused in bulk"})

    def guard_lost(self, now: float) -> None:
        """Answer everything that guard can no longer answer."""
        for reply in self._answers.guard_lost(now):
            self._fail(reply)

    def _refuse(self, refusal: Refusal, arrived: Arrived, now: float) -> None:
        self._counts[refusal.code] += 1
        body: dict[str, object] = {
            "id": refusal.identifier, "target": refusal.target, "status": "rejected",
            "code": refusal.code, "reason": refusal.reason, "took_ms": 0,
        }  # fmt: skip
        if refusal.first is not None:
            body["first"] = refusal.first
        self._reply(Reply(body, arrived.reply_to, arrived.correlation, refusal.remember))
        often = len(self._events) == EVENTS_PER_S and now - self._events[0] < 1.0
        if refusal.code == "E_RATE" or often:
            self._untold[refusal.code] += 1
            return
        self._events.append(now)
        self._event({**{key: value for key, value in body.items() if key != "first"}, "actor": refusal.actor})

    def _fail(self, reply: Reply) -> None:
        self._counts[str(reply.body.get("code"))] += 1
        self._event(reply.body)
        self._reply(reply)

    def _event(self, body: Mapping[str, object]) -> None:
        if not self._record(OwnEvent("command", body)):
            self._counts["events_not_recorded"] += 1

    def _reply(self, reply: Reply) -> None:
        ack = {"blocked_by": [], "state": self.state, **in_wall_time(reply.body, self._clock.offset_us)}
        ack |= {"hb": self._desk.heartbeat, "ts": self._clock.now_us()}
        payload = orjson.dumps(ack)
        if reply.remember:
            self._desk.remember(str(ack["id"]), ack)
            self._record(Answered(str(ack["id"]), ack))
        if self._publisher.room() <= _ROOM_FOR_OTHERS or not self._publisher.publish(f"{self._root}/ack", payload):
            self._counts["answers_not_sent"] += 1
        if reply.reply_to is not None and self._may_reply_to(reply.reply_to):
            self._publisher.publish(reply.reply_to, payload, correlation=reply.correlation)

    def _may_reply_to(self, topic: str) -> bool:
        """A response topic may not be one of ours, or a sender could have link write it; nor one that is no topic."""
        ours = topic.startswith("cellguard/") and not topic.startswith(f"{self._root}/ack/")
        allowed = 0 < len(topic) <= _REPLY_TO_MOST and not ours and not set(topic) & set("+#$\0")
        self._counts["reply_topics_refused"] += not allowed
        return allowed


def _command(order: Order) -> dict[str, object]:
    return {
        "id": order.identifier, "target": order.target, "class": order.kind, "actor": order.actor, "body": order.body,
    }  # fmt: skip
