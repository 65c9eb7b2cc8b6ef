"""The one loop: it owns all state and the only clock, gives the core what arrived and carries out what the core decides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from edge_agent.guard.board_permit import BoardPermit
from edge_agent.guard.durable import Writer
from edge_agent.guard.estop_input import EstopInput
from edge_agent.guard.health import About, Memory, Window
from edge_agent.guard.inbox import Inbox
from edge_agent.guard.link_door import LinkDoor
from edge_agent.guard.local import LocalDoor
from edge_agent.guard.model import InverterOrder, Mode
from edge_agent.guard.notify import Notifier
from edge_agent.guard.ports import Arrival, InverterActuator, OutputActuator
from edge_agent.guard.rows import Rows
from edge_agent.guard.safety.interface import Actions, Answer, Command, Inputs, SafetyCore
from edge_agent.guard.seen import Seen

WAIT_S = 0.05
"""The longest wait of a turn; the token of a turn is valid for 0.2 s."""
PACE_S = 0.002
"""Turns start at least this far apart, so that 4 000 frames/s are 500 turns and not 4 000."""
HEALTH_S = 2.0
RETELL_S = 10.0
"""States are told when they change, and this often all the same: who keeps them sees that they still hold."""
LINK_SILENT_S = 10.0
STOP_S = 3.0
_FAREWELL_S = 1.0
_ASKED_KEPT = 1000
_AT_REST = frozenset({"STANDBY", "LATCHED", "SERVICE"})

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class Parts:
    """Everything the loop works with, built by `main`."""

    inbox: Inbox
    link: LinkDoor
    local: LocalDoor
    writer: Writer
    rows: Rows
    about: About
    notifier: Notifier
    outputs: Sequence[OutputActuator] = ()
    inverter: InverterActuator | None = None
    permit: BoardPermit | None = None
    estop: EstopInput | None = None
    counters: Mapping[str, Callable[[], Mapping[str, object]]] = field(default_factory=dict)
    footing: Mapping[str, str] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)


class Loop:
    """Runs turns until it is told to stop. Only `stop` may be called from elsewhere, also from a signal handler."""

    def __init__(self, core: SafetyCore, parts: Parts) -> None:
        self._core = core
        self._parts = parts
        self._memory = Memory()
        self._cycles, self._latencies, self._confirmations = Window(), Window(), Window()
        self._counts = {"turns": 0, "commands": 0, "outputs_failed": 0, "records_failed": 0}
        self._state = ""
        self._beats, self._beat_at = 0, 0.0
        self._health_at = self._retold_at = 0.0
        self._turned_at = 0.0
        self._stop_asked = ""
        self._asked: dict[str, Command] = {}

    def stop(self, why: str) -> None:
        """Ask for an orderly end: open, wait up to 3 s for it, return from `run`."""
        self._stop_asked = why
        self._parts.inbox.wake()

    def run(self) -> int:
        """Turn until stopped; returns the exit code: 0 after an orderly end, 1 when the core failed."""
        try:
            while not self._stop_asked:
                self._turn(())
            return self._orderly_end()
        except Exception:
            log.critical(
                "the safety core failed; no more tokens: the inverter's timer and the board's dead-man act",
                exc_info=True,
            )
            self._farewell()
            return 1
        finally:
            self._memory.close()

    def _orderly_end(self) -> int:
        log.info("%s: opening, then the end", self._stop_asked)
        self._parts.notifier.stopping()
        deadline = time.monotonic() + STOP_S
        self._turn(
            (Command("shutdown", "contactor", "S", f"guard:{self._stop_asked}", {"action": "open"}, local=True),)
        )
        while self._state not in _AT_REST and time.monotonic() < deadline:
            self._turn(())
        if self._state not in _AT_REST:
            log.error("not open within %s s, the state is %s: the dead-man must do the rest", STOP_S, self._state)
            return 1
        return 0

    def _turn(self, own: Sequence[Command]) -> None:
        parts = self._parts
        arrivals = parts.inbox.collect(WAIT_S)
        early_s = self._turned_at + PACE_S - time.monotonic()
        if early_s > 0.0:
            time.sleep(early_s)
            arrivals.extend(parts.inbox.collect(-1.0))
        now = time.monotonic()
        if self._turned_at:
            self._cycles.add(now - self._turned_at, now)
        self._turned_at = now
        commands = [*own, *self._without_status(parts.inbox.commands(), now)]
        self._remember(commands)
        actions = self._core.turn(self._inputs(arrivals, commands, now), now)
        self._carry_out(actions)
        done = time.monotonic()
        parts.notifier.alive(done)
        try:
            self._record(arrivals, actions, done)
        except Exception as error:  # noqa: BLE001 - the edge to the telling side: it must not stop the guarding
            self._complain("records_failed", "a turn could not be told to link", error)

    def _inputs(self, arrivals: Sequence[Arrival], commands: Sequence[Command], now: float) -> Inputs:
        link, writer, estop = self._parts.link, self._parts.writer, self._parts.estop
        if estop is not None:
            estop.see(arrivals)
        if link.beats != self._beats:
            self._beats, self._beat_at = link.beats, now
        broker = link.broker and now - self._beat_at < LINK_SILENT_S
        return Inputs(arrivals, commands, broker, writer.written, writer.failed, estop is not None and estop.pressed)

    def _carry_out(self, actions: Actions) -> None:
        """Every output is attempted even when another fails; a failure is no failure of the core."""
        parts = self._parts
        if actions.inverter is not None and parts.inverter is not None:
            self._attempt("inverter", parts.inverter.order_inverter, actions.inverter)
        if actions.outputs is not None:
            for actuator in parts.outputs:
                self._attempt("outputs", actuator.order_outputs, actions.outputs)
        if actions.durable is not None:
            parts.writer.order(actions.durable)

    def _attempt(self, what: str, order: Callable[[T], None], wanted: T) -> None:
        try:
            order(wanted)
        except Exception as error:  # noqa: BLE001 - an actuator's edge: the others must still get their orders
            self._complain("outputs_failed", f"{what}: the order could not be given", error)

    def _complain(self, count: str, what: str, error: Exception) -> None:
        self._counts[count] += 1
        if self._counts[count] in {1, 10, 100} or self._counts[count] % 1000 == 0:
            log.error("%s (%d times so far)", what, self._counts[count], exc_info=error)

    def _record(self, arrivals: Sequence[Arrival], actions: Actions, done: float) -> None:
        parts = self._parts
        mono_us = int(done * 1_000_000)
        self._counts["turns"] += 1
        if arrivals:
            self._latencies.add(done - arrivals[0].t_mono, done)
            parts.link.rows(parts.rows.feed(arrivals))
            parts.about.see(arrivals)
            parts.seen.see(arrivals)
            if parts.permit is not None:
                parts.permit.see(arrivals)
        if parts.permit is not None:
            parts.permit.at(done)
        for answer in actions.answers:
            self._answer(answer, mono_us)
        self._tell(actions.events, mono_us)
        for name, body in actions.states.items():
            parts.link.state(name, body)
            if name == "state/safety":
                self._state = str(body.get("state", self._state))
        if parts.about.changed:
            parts.about.changed = False
            parts.link.state("info", {**parts.about.body(), "mono_us": mono_us})
        if done - self._health_at >= HEALTH_S:
            self._health_at = done
            parts.link.state("state/health", self._health(done))
        if done - self._retold_at >= RETELL_S:
            self._retold_at = done
            self._retell(done)

    def _retell(self, now: float) -> None:
        for name, body in self._core.snapshot(now).items():
            if name.startswith("state/"):
                self._parts.link.state(name, body)

    def _tell(self, events: Sequence[Mapping[str, object]], mono_us: int) -> None:
        for body in events:
            stamp, took_ms = body.get("mono_us"), body.get("took_ms")
            if isinstance(took_ms, int):
                self._confirmations.add(took_ms / 1000.0, mono_us / 1e6)
            self._parts.link.event(stamp if isinstance(stamp, int) else mono_us, body)

    def _answer(self, answer: Answer, mono_us: int) -> None:
        body = {key: value for key, value in answer._asdict().items() if value is not None}
        body["mono_us"] = mono_us
        self._parts.link.answer(body)
        self._parts.local.answer(body)
        if answer.target == "config" and answer.status == "done" and answer.readback is not None:
            self._parts.about.fix("config", answer.readback["config"])
        asked = self._asked.get(answer.id)
        told = {} if asked is None else {"actor": asked.actor, "command": dict(asked.body)}
        if answer.status != "accepted":
            self._asked.pop(answer.id, None)
        self._parts.link.event(mono_us, {"kind": "command", **body, **told})

    def _remember(self, commands: Sequence[Command]) -> None:
        """Who asked for what, until it is answered."""
        self._counts["commands"] += len(commands)
        for command in commands:
            self._asked[command.id] = command
        while len(self._asked) > _ASKED_KEPT:
            del self._asked[next(iter(self._asked))]

    def _without_status(self, commands: Sequence[Command], now: float) -> list[Command]:
        """`status` of the local door asks the loop, not the core; however many ask, it is worked out once in a turn."""
        asked = [command for command in commands if command.local and command.target == "status"]
        if not asked:
            return list(commands)
        body = {"states": dict(self._core.snapshot(now)), "health": self._health(now)}
        body |= {"info": self._parts.about.body(), "seen": self._parts.seen.body(now)}
        for command in asked:
            self._parts.local.answer({"id": command.id, "target": "status", "status": "done", **body})
        return [command for command in commands if command not in asked]

    def _health(self, now: float) -> dict[str, object]:
        parts = self._parts
        return {
            "cycle_ms": self._cycles.body(),
            "latency_ms": self._latencies.body(),
            "output_ms": self._confirmations.body(),
            "footing": dict(parts.footing),
            "ring": parts.link.fill(),
            "rss_kb": self._memory.resident_kb(),
            "counters": {
                **{source: dict(counters()) for source, counters in parts.counters.items()},
                "loop": {
                    **self._counts,
                    "commands_refused": parts.inbox.refused,
                    "durable_failures": parts.writer.failures,
                },
                "rows": dict(parts.rows.counters),
                "link_door": dict(parts.link.counts),
                "local_door": dict(parts.local.counts),
            },
            "mono_us": int(now * 1_000_000),
        }

    def _farewell(self) -> None:
        """Zero to the inverter, once; the relays are left to the dead-man, which opens them after the current is gone."""
        if self._parts.inverter is not None:
            until = time.monotonic() + _FAREWELL_S
            self._attempt(
                "inverter", self._parts.inverter.order_inverter, InverterOrder(Mode.OFF, 0.0, until, epoch=2**31)
            )
