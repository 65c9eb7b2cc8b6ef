"""What was decided, on what evidence, and what confirmed it: the bodies of `event/state` and `event/output`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edge_agent.guard.model import OUTPUT_NAMES, Mode, Output, State
from edge_agent.guard.safety.alarms import evidence_body
from edge_agent.guard.safety.drive import asked
from edge_agent.guard.safety.facts import BoardFacts, Facts
from edge_agent.guard.safety.state import Supervisor
from edge_agent.guard.safety.trackers import Active
from edge_agent.guard.safety.turn import ZERO_TOLERANCE

Body = dict[str, object]
UNITS = {Mode.OFF: "", Mode.POWER: "kW", Mode.CURRENT: "A"}


class Goal(NamedTuple):
    """Where the inverter is told to go, and who wants it. The ramp and the limits on the way are not told."""

    mode: Mode = Mode.OFF
    setpoint: float = 0.0
    by: str = "start"


class Teller:
    """Looks at the state after each turn; remembers what it has told."""

    def __init__(self) -> None:
        self._pins: Output | None = None
        self._board = (0, False, False)
        self._goal = Goal()
        self._goal_at = 0.0
        self._awaited = False

    def bodies(
        self, decided: Iterable[Mapping[str, object]], state: Supervisor, facts: Facts, actives: Iterable[Active]
    ) -> list[Body]:
        """The events of one turn, with the evidence, the inverter's goal and what was read back."""
        events = [_explained(event, state, actives) if event["kind"] == "state" else dict(event) for event in decided]
        return [*events, *self._inverter(state, facts), *self._boot(facts.board), *self._read_back(state, facts.board)]

    def _inverter(self, state: Supervisor, facts: Facts) -> Iterator[Body]:
        goal, drive, seen = _goal(state), state.drive, facts.inverter
        if goal != self._goal:
            moved = goal[:2] != self._goal[:2]
            self._goal = goal
            if moved:
                self._goal_at, self._awaited = state.turned, True
                yield {
                    "kind": "output", "output": "inverter", "mode": goal.mode.name, "commanded": goal.setpoint,
                    "unit": UNITS[goal.mode], "by": goal.by,
                }  # fmt: skip
        if self._awaited and drive.setpoint == goal.setpoint and seen.t > drive.changed and _obeyed(state, facts):
            self._awaited = False
            yield {
                "kind": "output", "output": "inverter", "mode": drive.mode.name, "readback": seen.setpoint,
                "unit": UNITS[drive.mode], "took_ms": _ms(seen.t - self._goal_at),
                "current_a": None if facts.current is None else round(facts.current.value, 2),
            }  # fmt: skip

    def _boot(self, board: BoardFacts) -> Iterator[Body]:
        """The board's own state: which boot of it, whether it obeys relay bits, whether its dead-man holds."""
        now = (board.boot, board.armed, board.held)
        if now != self._board:
            before, self._board = self._board, now
            yield {"kind": "output", "output": "board", **_named(now), "before": _named(before)}

    def _read_back(self, state: Supervisor, board: BoardFacts) -> Iterator[Body]:
        """Pins that moved since they were last looked at."""
        pins, before = board.pins, self._pins
        self._pins = pins
        if pins is None or before is None or pins == before:
            return
        for output, name in OUTPUT_NAMES.items():
            if (pins ^ before) & output:
                body: Body = {"kind": "output", "output": name, "readback": int(bool(pins & output))}
                if not (pins ^ state.outputs.mask) & output:
                    body["took_ms"] = _ms(board.t - state.outputs.changed)
                yield body


def _obeyed(state: Supervisor, facts: Facts) -> bool:
    drive, seen = state.drive, facts.inverter
    return (
        seen.mode == drive.mode and seen.setpoint is not None and abs(seen.setpoint - drive.setpoint) < ZERO_TOLERANCE
    )


def _named(board: tuple[int, bool, bool]) -> Body:
    boot, armed, held = board
    return {"boot": boot, "armed": int(armed), "held": int(held)}


def _goal(state: Supervisor) -> Goal:
    phase, programme = state.phase, state.programme
    wanted = asked(programme, state.drive, state.turned) if phase.state is State.RUN else None
    if wanted is None:
        return Goal(state.drive.mode, 0.0, phase.state.value.lower())
    running = programme.state == "running" and programme.file is not None
    return Goal(*wanted, f"schedule:{programme.file.name}" if running and programme.file else "setpoint")


def _explained(event: Mapping[str, object], state: Supervisor, actives: Iterable[Active]) -> Body:
    """A state event with the rules that led to it, as they were seen, and the latches that now hold."""
    why = event["why"]
    assert isinstance(why, list)
    seen = [_seen(active) for active in actives if active.id in why]
    told: Body = {**event, "latches": [latch.id for latch in state.latches]}
    return {**told, "seen": seen} if seen else told


def _seen(active: Active) -> Body:
    return {
        "alarm": active.id, "level": active.level.name, "value": active.value, "limit": active.limit, "unit": active.unit,
        **evidence_body(active.evidence),
    }  # fmt: skip


def _ms(duration_s: float) -> int:
    return max(0, round(duration_s * 1000.0))
