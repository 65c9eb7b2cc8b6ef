"""The working set of one `step`: the parts of the state, what was told, and what is being decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from edge_agent.guard.model import RELAYS, Level, Mode, Output, State
from edge_agent.guard.safety.facts import Facts
from edge_agent.guard.safety.interface import Answer, Command, Settings
from edge_agent.guard.safety.rules import small_current_a
from edge_agent.guard.safety.schedule import Met
from edge_agent.guard.safety.state import Latch, Pending, Phase, Supervisor

READBACK_DELAY_S = 0.03
"""A status line that left the board before the order may still be on its way for this long."""

ZERO_TOLERANCE = 0.03  # one count of the setpoint register in A is 0.0192

CONNECTED = frozenset({State.READY, State.RUN, State.HOLD})


class StepInputs(NamedTuple):
    """What one step is told besides the settings.

    `alarms` are the ids that can be acknowledged; `met` says which step's end condition is met.
    """

    facts: Facts = Facts()
    commands: tuple[Command, ...] = ()
    broker: bool = True
    written: int = 0
    write_failed: str = ""
    estop: bool = False
    alarms: frozenset[str] = frozenset()
    met: Met | None = None


class Decision(NamedTuple):
    """What one step decided besides the new state: answers, events without time, acknowledged alarms (id, actor), settings."""

    answers: tuple[Answer, ...] = ()
    events: tuple[Mapping[str, object], ...] = ()
    acks: tuple[tuple[str, str], ...] = ()
    reload: Settings | None = None


class Turn:
    """Mutable for the length of one step only; every part it holds is frozen."""

    __slots__ = (
        "acks", "answers", "drive", "events", "facts", "inputs", "latches", "now", "outputs", "pending", "phase", "programme", "reload",
        "settings", "turned", "vault", "watch",
    )  # fmt: skip

    def __init__(self, settings: Settings, state: Supervisor, inputs: StepInputs, now: float) -> None:
        self.settings, self.inputs, self.facts, self.now = settings, inputs, inputs.facts, now
        self.phase, self.drive, self.outputs, self.programme = state.phase, state.drive, state.outputs, state.programme
        self.vault, self.watch, self.latches, self.pending = state.vault, state.watch, state.latches, state.pending
        self.turned = state.turned
        self.answers: list[Answer] = []
        self.events: list[Mapping[str, object]] = []
        self.acks: list[tuple[str, str]] = []
        self.reload: Settings | None = None

    def close(self) -> tuple[Supervisor, Decision]:
        """The new state and what was decided."""
        state = Supervisor(
            self.phase,
            self.drive,
            self.outputs,
            self.programme,
            self.vault,
            self.watch,
            self.latches,
            self.pending,
            self.now,
        )
        return state, Decision(tuple(self.answers), tuple(self.events), tuple(self.acks), self.reload)

    @property
    def state(self) -> State:
        """The state now."""
        return self.phase.state

    def enter(self, state: State, *, why: Iterable[str] = (), step: int = 0) -> None:
        """Change the state and say so."""
        why = tuple(why)
        link = self.facts.link
        old, self.phase = (
            self.phase,
            Phase(
                state, self.now, self.phase.state, step, self.now, why=why, mark_v=None if link is None else link.value
            ),
        )
        current = self.facts.current
        self.events.append({
            "kind": "state", "from": old.state.value, "to": state.value, "why": list(why),
            "after_s": round(self.now - old.since, 3), "current_a": None if current is None else round(current.value, 2),
        })  # fmt: skip

    def go(self, step: int, *, tries: int | None = None) -> None:
        """Begin another step of the same sequence."""
        link = self.facts.link
        self.phase = replace(
            self.phase, step=step, step_since=self.now, held_since=None, mark_v=None if link is None else link.value,
            tries=self.phase.tries if tries is None else tries,
        )  # fmt: skip

    def latch(self, latch_id: str, level: Level) -> None:
        """Hold LATCHED until a reset names this; a second cause may raise its level."""
        held = {latch.id: latch.level for latch in self.latches}
        if held.get(latch_id, Level.OK) >= level:
            return
        held[latch_id] = level
        self.latches = tuple(Latch(name, held[name]) for name in held)

    def shut(self, why: Iterable[str], latches: Iterable[tuple[str, Level]] = (), *, step: int = 0) -> None:
        """Towards open, from any state; latches are held first. A sequence under way is only ever moved on, never restarted.

        `step` > 0 skips waiting for zero: the board has opened, or will not listen any more.
        """
        for latch_id, level in latches:
            self.latch(latch_id, level)
        if self.state not in {State.STOPPING, State.BOOT, State.LATCHED}:
            self.enter(State.STOPPING, why=why, step=step)
        elif self.state is State.STOPPING and self.phase.step < step:
            self.go(step)

    def answer(self, pending: Pending, status: str, **more: object) -> None:
        """The last answer of an accepted command."""
        took_ms = round((self.now - pending.began) * 1000)
        self.answers.append(
            Answer(pending.id, pending.target, status, self.state.value, took_ms=took_ms, **more)  # type: ignore[arg-type]  # fields of Answer
        )

    @property
    def small_a(self) -> float:
        """Below this a current counts as none."""
        return small_current_a(self.settings)

    @property
    def reads_back(self) -> bool:
        """Whether the board says what its pins do."""
        board = self.settings.arduino
        return board is not None and board.protocol == "v2"

    def confirmed(self, wanted: Output, among: Output = RELAYS) -> bool:
        """Whether a line that came after the last change of outputs shows `wanted` among these outputs.

        Without read-back (v1) two lines after the change are all there is; without a board nothing is ever confirmed.
        """
        board, since = self.facts.board, self.outputs.changed + READBACK_DELAY_S
        if self.settings.arduino is None or self.now - board.t > (1.0 if self.reads_back else 5.0):
            return False
        if not self.reads_back:
            return board.t >= since + 2.0
        return board.pins is not None and board.t >= since and board.pins & among == wanted & among

    def all_open(self) -> bool:
        """No relay closed, read back; without a board there are none."""
        if self.settings.arduino is None:
            return True
        return not self.outputs.mask & RELAYS and self.confirmed(Output.NONE)

    def inverter_zero(self) -> bool:
        """Setpoint 0 and mode off read back after they were ordered, or there is no inverter to tell."""
        if self.settings.inverter is None:
            return True
        seen = self.facts.inverter
        if self.facts.current is None or seen.t <= self.drive.changed or seen.setpoint is None:
            return False
        return seen.mode == Mode.OFF and abs(seen.setpoint) < ZERO_TOLERANCE

    @property
    def knows_link(self) -> bool:
        """Whether the link voltage is measured at all."""
        return self.settings.link_voltage != "none"
