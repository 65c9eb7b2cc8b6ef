"""The front's loop: guard's socket on one side, commands, heartbeat, status and retained topics on the other. Never the disk."""

from __future__ import annotations

import logging
import select
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from edge_agent.link import clock as clocks
from edge_agent.link import health, status
from edge_agent.link.clock import Clock
from edge_agent.link.commands import Arrived, CommandDesk, World
from edge_agent.link.guard_socket import GuardSocket
from edge_agent.link.inbox import Inbox
from edge_agent.link.jobs import Durable, Hello, Opened, OwnEvent, Packets, Reloaded, Snapshot
from edge_agent.link.mirror import ROWS_EVERY_S, Mirror, sources_of
from edge_agent.link.own_alarms import OwnAlarms
from edge_agent.link.reception import Reception
from edge_agent.link.recorder import Recorder
from edge_agent.link.spool_file import BOOKS
from edge_agent.link.status import Moment, Status
from shared import ipc
from shared.errors import WireError
from shared.mqtt import Mqtt

log = logging.getLogger(__name__)

_TURN_S = 0.05
_COMMANDS_AT_ONCE, _COMMANDS_EVERY_S = 20, 0.01
"""At most 2 000 commands a second are judged, however many come: the interpreter's time is needed for reading them off the line."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop drives, all named by main."""

    root: str
    session: str
    energise: str
    clock: Clock
    guard: GuardSocket
    inbox: Inbox
    recorder: Recorder
    mqtt: Mqtt
    desk: CommandDesk
    reception: Reception
    mirror: Mirror


@dataclass(slots=True)
class _Seen:
    """What the loop remembers of the others."""

    snapshot: Snapshot = field(
        default_factory=lambda: Snapshot(dict.fromkeys(BOOKS, 0), 0, 0, 0.0, {}, "the spool is not open yet")
    )
    durable: dict[str, int] = field(default_factory=dict)
    session: str = ""
    last_packet: float = 0.0
    behind: bool = False


class Front:
    """One thread. `stop` may be called from any other or from a signal handler."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen = _Seen()
        self._status = Status(parts.session)
        self._alarms = OwnAlarms()
        self._wear = health.Wear(time.monotonic())
        self._stopping = False
        self._counter = 0
        self._beat_at = self._rows_at = self._commands_at = 0.0
        self._counts: Counter[str] = Counter()
        self._handlers: Mapping[bytes, Callable[[bytes, float], None]] = {
            ipc.HELLO: self._hello,
            ipc.STATE: lambda packet, _now: self._parts.mirror.state(packet),
            ipc.ANSWER: self._answer,
        }

    def stop(self) -> None:
        """End the loop after this turn."""
        self._stopping = True
        self._parts.inbox.nudge()

    def run(self) -> bool:
        """Loop until `stop`; False when the recorder's thread has died."""
        self._parts.recorder.put(OwnEvent("session", {"session": self._parts.session, "program": "link"}))
        for alarm in self._alarms.every(self._parts.clock.now_us()):
            self._retain_alarm(alarm)
        while not self._stopping:
            self._turn()
            if not self._parts.recorder.alive:
                log.error("the recorder's thread has ended: giving up, so that link is started again")
                return False
        return True

    def farewell(self) -> None:
        """After the recorder has ended: release what it made durable, close guard's socket."""
        now = time.monotonic()
        self._reports(now)
        self._parts.guard.flush(now)
        self._parts.guard.close(now, "link ends")

    def _turn(self) -> None:
        parts = self._parts
        sock = parts.guard.sock
        readers = [parts.inbox.wake] if sock is None else [parts.inbox.wake, sock]
        writers = [sock] if sock is not None and parts.guard.wants_write else []
        patience_s = _COMMANDS_EVERY_S if parts.inbox.fill else _TURN_S
        readable, writable, _ = select.select(readers, writers, [], patience_s)
        now = time.monotonic()
        if parts.inbox.wake in readable:
            parts.inbox.sleep_over()
        if writable:
            parts.guard.flush(now)
        if sock is not None and sock in readable:
            self._packets(parts.guard.receive(now), now)
        self._reports(now)
        for job in parts.inbox.take_jobs():
            parts.recorder.put(job)  # a receipt that is not taken is repeated by the collector
        self._commands(now)
        self._guard_link(sock is not None, now)
        self._periodic(now)

    # ---- guard ------------------------------------------------------------------------------------------------------

    def _guard_link(self, was_connected: bool, now: float) -> None:
        guard = self._parts.guard
        if was_connected and guard.sock is None:
            self._parts.reception.guard_lost(now)
        if guard.connect_when_due(now):
            self._seen.last_packet = now
            guard.send(ipc.pack_json(ipc.LINK_HELLO, {"have": self._seen.durable}), now)

    def _packets(self, packets: list[bytes], now: float) -> None:
        numbered: list[bytes] = []
        for packet in packets:
            kind = packet[:1]
            if kind in (ipc.ROW, ipc.EVENT):
                numbered.append(packet)
                if kind == ipc.ROW:
                    self._parts.mirror.row(packet, now)
            else:
                self._record(numbered)
                numbered = []
                self._other(kind, packet, now)
        self._record(numbered)
        if packets:
            self._seen.last_packet = now

    def _record(self, packets: list[bytes]) -> None:
        """To the recorder; when it is too far behind nothing is lost: guard keeps it, and is asked again later."""
        if not packets:
            return
        if self._seen.behind or not self._parts.recorder.put(Packets(packets)):
            self._seen.behind = True
            self._counts["packets_postponed"] += len(packets)

    def _other(self, kind: bytes, packet: bytes, now: float) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            self._counts["packets_unknown"] += 1
            return
        try:
            handler(packet, now)
        except WireError as error:
            self._counts["packets_malformed"] += 1
            log.warning("guard sent a packet that is not understood: %s", error)

    def _hello(self, packet: bytes, now: float) -> None:
        body = ipc.parse_object(packet[1:])
        session = body.get("session")
        if not isinstance(session, str):
            raise WireError("HELLO without a session")
        sources = sources_of(body)
        self._seen.session, self._seen.behind = session, False
        self._seen.durable = {name: number for name, number in self._seen.durable.items() if name == session}
        told: dict[str, object] = {name: body[name] for name in ("info", "catalog") if name in body}
        if not self._parts.recorder.put(Hello(session, sources, told)):
            self._seen.behind = True
        self._parts.mirror.hello(body, sources, now)

    def _answer(self, packet: bytes, now: float) -> None:
        body = ipc.parse_object(packet[1:])
        if (body.get("target"), body.get("status")) == ("config", "done"):
            self._parts.recorder.put(Reloaded())
        self._parts.reception.from_guard(body, now)

    def _reports(self, now: float) -> None:
        for report in self._parts.inbox.take_reports():
            match report:
                case Durable(session, number):
                    self._seen.durable[session] = number
                    if session == self._seen.session:
                        self._parts.guard.send(ipc.pack_release(number), now)
                case Opened(_, have, commands, resync):
                    self._seen.durable = dict(have)
                    for identifier, answer in commands.items():
                        self._parts.desk.remember(identifier, answer)
                    if resync:
                        self._again(now, "the spool is open again")
                case Snapshot():
                    books = report.books or self._seen.snapshot.books
                    self._seen.snapshot = report._replace(books=books)
        if (
            self._seen.behind
            and self._seen.snapshot.counts.get("queue_fill", 0) == 0
            and not self._seen.snapshot.trouble
        ):
            self._again(now, "the recorder has caught up")

    def _again(self, now: float, reason: str) -> None:
        """Have guard send once more what is not durable."""
        self._seen.behind = False
        self._counts["resyncs"] += 1
        self._parts.guard.close(now, f"connecting anew: {reason}")

    # ---- commands ---------------------------------------------------------------------------------------------------

    def _commands(self, now: float) -> None:
        if now < self._commands_at:
            return
        arrived = self._parts.inbox.take_commands(_COMMANDS_AT_ONCE)
        if arrived:
            self._commands_at = now + _COMMANDS_EVERY_S
        for one in arrived:
            self._command(one, now)
        for packet in self._parts.reception.due(now):
            self._parts.guard.send(packet, now)

    def _command(self, arrived: Arrived, now: float) -> None:
        packet = self._parts.reception.take(arrived, self._world(), now)
        if packet is not None:
            self._parts.guard.send(packet, now)

    def _world(self) -> World:
        safety = self._parts.mirror.safety
        armed, energise, state = safety.get("armed"), safety.get("energise"), safety.get("state")
        self._parts.reception.state = state if isinstance(state, str) else None
        return World(
            self._parts.guard.sock is not None,
            energise if isinstance(energise, str) else self._parts.energise,
            armed if isinstance(armed, bool) else None,
        )

    # ---- what is said -----------------------------------------------------------------------------------------------

    def _periodic(self, now: float) -> None:
        parts = self._parts
        if now >= self._beat_at:
            self._beat_at = max(self._beat_at + 1.0, now + 0.5)
            self._beat(now)
        if now >= self._rows_at:
            self._rows_at = now + ROWS_EVERY_S
            parts.mirror.publish_rows(now)
        parts.reception.tick(now)
        since_s = None if parts.guard.sock is None else now - self._seen.last_packet
        why = (*status.reasons(since_s, parts.mirror.why, self._seen.snapshot), *self._alarms.why)
        moment = Moment(now, parts.clock.now_us(), parts.clock.state, why)
        payload = self._status.due(moment)
        if payload is not None:
            parts.mqtt.retain(f"{parts.root}/status", payload)

    def _beat(self, now: float) -> None:
        parts = self._parts
        if moved_us := parts.clock.sample(clocks.read_kernel()):
            self._clock_set(moved_us)
        self._counter += 1
        beat = parts.desk.beat(self._counter, now)
        parts.mqtt.publish(f"{parts.root}/hb", beat.encode(), qos=0)
        drops = self._drops()
        for alarm in self._alarms.step(drops, now, parts.clock.now_us()):
            parts.recorder.put(OwnEvent("alarm", alarm))
            self._retain_alarm(alarm)
        parts.guard.send(ipc.pack_json(ipc.LINK_STATE, {"broker": parts.mqtt.connected, "dropped": drops}), now)
        parts.mqtt.retain(f"{parts.root}/state/health", self._health(drops, now), urgent=False)

    def _clock_set(self, moved_us: int) -> None:
        """What is kept at the broker is dated by the clock as it is now, not for ever by the one that was wrong."""
        self._status.moved(moved_us)
        self._parts.mirror.say_again()
        for alarm in self._alarms.every(self._parts.clock.now_us(), moved_us):
            self._retain_alarm(alarm)

    def _retain_alarm(self, alarm: Mapping[str, object]) -> None:
        self._parts.mqtt.retain(f"{self._parts.root}/alarm/{alarm['alarm']}", orjson.dumps(alarm))

    def _drops(self) -> dict[str, int]:
        parts = self._parts
        heard = Counter(dict(parts.inbox.counts))  # a copy: adding iterates, and the network thread counts meanwhile
        counts = self._counts + heard + parts.guard.counts + parts.mirror.counts + parts.reception.counters()
        broker = {f"mqtt_{name}": count for name, count in parts.mqtt.counters().items()}
        return {**counts, **broker, **self._seen.snapshot.counts}

    def _health(self, drops: dict[str, int], now: float) -> bytes:
        parts, snapshot = self._parts, self._seen.snapshot
        queue = {
            "recorder": drops.pop("queue_fill", 0),
            "commands": parts.inbox.fill,
            "unreceipted": snapshot.unreceipted,
        }
        own = {"ts": parts.clock.now_us(), "clock": parts.clock.state, "queue": queue, "drops": drops}
        own["disk"] = self._wear.body(now)
        return health.health_body(parts.mirror.health, own, snapshot)
