"""The demo's own operator, a thread: connects the pack, keeps a schedule running, opens the circuit at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from cellguard.listener import Listener
from cellguard.operator import Answer, NoAnswer, Operator, subscriptions
from cellguard.tolerant import listed, text
from cellguard.view import View
from shared.errors import CellguardError, Unavailable
from shared.mqtt import BrokerSettings

ASK_S = 2.0
AGAIN_S = 0.5
PATIENCE_S = 5.0
_TURN_S = 0.2
_OPEN_S = 4.0
_AT_REST = ("STANDBY", "LATCHED")


class Meant(NamedTuple):
    """Whom the attendant serves, and with which schedule."""

    broker: BrokerSettings
    site: str
    node: str
    schedule: str


class Step(NamedTuple):
    """One command and when it is due; None means that any state of the schedule will do."""

    target: str
    action: str
    states: tuple[str, ...]
    schedule: str | None = None
    after_run: bool = False
    after_hold: bool = False

    def fits(self, state: str, schedule: str, *, has_run: bool, was_held: bool) -> bool:
        """Whether this command is due now."""
        in_place = state in self.states and self.schedule in {None, schedule}
        return in_place and (self.after_run or not has_run) and (was_held or not self.after_hold)


STEPS = (
    Step("contactor", "close", ("STANDBY",)),
    Step("schedule", "resume", ("READY",), "paused", after_run=True, after_hold=True),
    Step("schedule", "start", ("READY", "RUN"), "done", after_run=True),
    Step("schedule", "start", ("READY",)),
)
"""What the attendant does, the first row that fits. Once the schedule has run, only what came by itself is put right again:
a day is over, or a device was lost for a moment (HOLD). What a person stopped stays stopped."""


class Attendant:
    """Behaves as a person would over MQTT. It never resets a latch, and leaves the pack alone once it has run."""

    def __init__(self, meant: Meant, say: Callable[[str], None]) -> None:
        self.stored = threading.Event()
        """Set at the first receipt for telemetry."""
        self.view = View()
        self._meant = meant
        self._say = say
        self._leaving = threading.Event()
        self._has_run = False
        self._was_held = False
        self._next_try = 0.0
        self._said = ""
        self._refused_since = inf
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def start(self) -> None:
        """Begin; the broker may come up later."""
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """Open the circuit and end; False when that was not confirmed in time (guard makes its outputs safe anyway)."""
        self._leaving.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self.view.state("safety").get("state") in _AT_REST

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                with Listener(self._meant.broker, subscriptions(self._meant.site, self._meant.node)) as listener:
                    self._attend(Operator(listener, self._meant.site, self._meant.node, "demo"))
            except CellguardError as error:
                self._tell(f"the demo's operator: {error}")

    def _attend(self, operator: Operator) -> None:
        self.view = operator.view
        while not self._leaving.is_set():
            operator.watch(_TURN_S, self._notice)
            if self.view.telemetry_stored:
                self.stored.set()
            if self.stored.is_set() and time.monotonic() >= self._next_try:
                self._drive(operator)
        self._open(operator)

    def _notice(self, view: View) -> bool:
        """At each message: it has run, however soon somebody stops it. Never a reason to watch no longer."""
        running = text(view.state("schedule"), "state") == "running"
        self._has_run |= running and text(view.state("safety"), "state") == "RUN"
        return False

    def _drive(self, operator: Operator) -> None:
        """One step towards a running schedule, by what the guard says its state is."""
        self._next_try = time.monotonic() + AGAIN_S
        state = text(self.view.state("safety"), "state")
        schedule = text(self.view.state("schedule"), "state")
        self._was_held = state == "HOLD" or (self._was_held and state == "READY")
        if state == "LATCHED":
            names = listed(self.view.state("safety"), "latches")
            self._tell(f"the guard is LATCHED ({names}) and the demo does not reset it; see cellguard alarms")
        for step in STEPS:
            if step.fits(state, schedule, has_run=self._has_run, was_held=self._was_held):
                extra = {"file": self._meant.schedule} if step.action == "start" else {}
                self._ask(operator, step.target, {"action": step.action, **extra})
                return

    def _open(self, operator: Operator) -> None:
        if self.view.state("safety").get("state") not in _AT_REST:
            self._ask(operator, "contactor", {"action": "open"})
            operator.watch(_OPEN_S, lambda view: view.state("safety").get("state") in _AT_REST)

    def _ask(self, operator: Operator, target: str, body: dict[str, object]) -> None:
        try:
            answer = operator.ask(target, body, timeout_s=ASK_S)
        except (NoAnswer, Unavailable):
            return  # what became of it shows in the guard's state
        if answer.status != "rejected":
            self._refused_since = inf
            return
        # right after the start a device may still be waking up: only what lasts is worth a word
        self._refused_since = min(self._refused_since, time.monotonic())
        if time.monotonic() - self._refused_since > PATIENCE_S:
            self._tell(_refusal(target, body, answer))

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)


def _refusal(target: str, body: dict[str, object], answer: Answer) -> str:
    return f"{target} {body.get('action', '')}: {answer.sentence()}; trying again"
