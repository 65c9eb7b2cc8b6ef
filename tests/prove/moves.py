"""What the environment may do between two ticks, and which commands are worth trying in which state."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_agent.guard.model import State
from edge_agent.guard.safety.interface import Command, ScheduleFile, ScheduleStep
from edge_agent.guard.safety.state import Supervisor
from edge_agent.guard.safety.supervisor import initial
from tests.prove.plant import DEAD, LIVE, R1, R2, R3, SETPOINT_A, STALLED, Model, World, reset_board
from tests.prove.senses import forget

FILE = ScheduleFile("lab.csv", "A", (ScheduleStep(2.0, -SETPOINT_A), ScheduleStep(12.0, SETPOINT_A)))
CONNECTED = frozenset({State.READY, State.RUN, State.HOLD})
RESTING = frozenset({State.BOOT, State.STANDBY, State.LATCHED})


def faults(world: World) -> int:
    """How many faults are present at once."""
    return (
        world.danger + world.can_cut + world.line_cut + world.usb_cut + (world.agent != LIVE) + world.welded.bit_count()
        + world.precharge_fails + world.link_held + world.ignores + world.stage_stuck + world.deaf + world.pins_stuck
        + (world.disk != "ok") + world.rule_zero
    )  # fmt: skip


class Move(NamedTuple):
    """One thing the environment may do, in no time. `counts`: it is a fault and needs room among those present."""

    name: str
    may: Callable[[World, Supervisor | None], bool]
    do: Callable[[World, float], None]
    counts: bool = False


def _set(**changes: object) -> Callable[[World, float], None]:
    def do(world: World, _now: float) -> None:
        world.__dict__.update(changes)

    return do


def _flag(
    name: str, said: str, back: str, when: Callable[[World, Supervisor | None], bool] | None = None
) -> list[Move]:
    """A fault that can come and go."""
    return [
        Move(
            said, lambda w, s: not getattr(w, name) and (when is None or when(w, s)), _set(**{name: True}), counts=True
        ),
        Move(back, lambda w, _s: getattr(w, name), _set(**{name: False})),
    ]


def _line_back(world: World, now: float) -> None:
    world.line_cut, world.openings, world.dirty, world.untold_t = False, world.openings + 1, True, now


def _obeys_again(world: World, now: float) -> None:
    """Its driver sees that the registers differ and writes them again."""
    world.ignores, world.dirty, world.refused_t = False, True, now


def _hears(world: World, now: float) -> None:
    world.deaf, world.deaf_t = False, now


def _stops_driving(world: World, now: float) -> None:
    world.stage_stuck, world.refused_t = False, now


def _goes_on(world: World, now: float) -> None:
    """What a start may take is counted from here: a stopped process decides nothing."""
    world.agent, world.untold_t = LIVE, now
    if world.started_t is not None:
        world.started_t = now


def _usb_cut(world: World, now: float) -> None:
    world.usb_cut, world.port_lost_t = True, now


def _usb_back(world: World, _now: float) -> None:
    world.usb_cut = world.port_open = False


def _killed(world: World, _now: float) -> None:
    world.agent = DEAD
    world.danger_t = world.lost_t = world.wrong_t = world.fine_t = world.started_t = None
    world.asked, world.dirty = False, True
    forget(world)


def _stalled(world: World, _now: float) -> None:
    world.agent, world.danger_t, world.lost_t, world.wrong_t = STALLED, None, None, None


def _restarted(world: World, now: float) -> None:
    world.agent, world.started_t, world.new_session = LIVE, now, True
    forget(world)


def _weld(bit: int) -> Callable[[World, float], None]:
    def do(world: World, _now: float) -> None:
        world.welded |= bit

    return do


def _welds() -> list[Move]:
    return [
        Move(
            f"relay {number} welds",
            lambda w, _s, bit=bit: bool(w.pins & bit & ~w.welded),  # type: ignore[misc]  # a default binds the bit
            _weld(bit),
            counts=True,
        )
        for number, bit in enumerate((R1, R2, R3), start=1)
    ]


def _connecting(_world: World, state: Supervisor | None) -> bool:
    return state is not None and state.phase.state is State.CONNECTING


def _connected(_world: World, state: Supervisor | None) -> bool:
    return state is not None and state.phase.state in CONNECTED


def _board_reset(world: World, now: float) -> None:
    world.apart = world.apart or (world.closed and bool(world.current))
    reset_board(world, now)


MOVES: dict[str, list[Move]] = {
    "danger": [
        Move(
            "danger raised",
            lambda w, s: not w.danger and not w.can_cut and s is not None,
            _set(danger=True),
            counts=True,
        ),
        Move("danger gone", lambda w, s: w.danger and (s is None or s.phase.state in RESTING), _set(danger=False)),
    ],
    "can": [
        Move("CAN lost", lambda w, _s: not w.can_cut, _set(can_cut=True), counts=True),
        Move("CAN back", lambda w, _s: w.can_cut and not w.can_fresh, _set(can_cut=False)),
    ],
    "line": [
        Move("inverter line lost", lambda w, _s: not w.line_cut, _set(line_cut=True), counts=True),
        Move("inverter line back", lambda w, _s: w.line_cut and not w.line_fresh, _line_back),
    ],
    "usb": [
        Move("Arduino lost", lambda w, _s: not w.usb_cut, _usb_cut, counts=True),
        Move("Arduino back", lambda w, _s: w.usb_cut and not w.usb_fresh, _usb_back),
    ],
    "kill": [
        Move("agent killed", lambda w, s: w.agent == LIVE and s is not None, _killed, counts=True),
        Move("agent started", lambda w, _s: w.agent == DEAD, _restarted),
    ],
    "stall": [
        Move("agent stopped (SIGSTOP)", lambda w, s: w.agent == LIVE and s is not None, _stalled, counts=True),
        Move("agent goes on (SIGCONT)", lambda w, _s: w.agent == STALLED, _goes_on),
    ],
    "weld": _welds(),
    "precharge": _flag("precharge_fails", "precharge fails", "precharge works", _connecting),
    "link": _flag("link_held", "link held up", "link bleeds again", lambda w, _s: w.link > 0),
    "ignores": [
        Move("inverter ignores writes", lambda w, _s: not w.ignores, _set(ignores=True), counts=True),
        Move("inverter obeys again", lambda w, _s: w.ignores, _obeys_again),
    ],
    "stage": [
        Move(
            "inverter drives on",
            lambda w, _s: not w.stage_stuck and w.current != 0,
            _set(stage_stuck=True),
            counts=True,
        ),
        Move("inverter stops driving", lambda w, _s: w.stage_stuck, _stops_driving),
    ],
    "deaf": [
        Move("Arduino deaf", lambda w, _s: not w.deaf, _set(deaf=True), counts=True),
        Move("Arduino hears", lambda w, _s: w.deaf, _hears),
    ],
    "stuck": _flag("pins_stuck", "relay pins stuck", "relay pins free", lambda w, _s: not w.pins_stuck),
    "disk": [
        Move("disk delays", lambda w, s: w.disk == "ok" and s is not None, _set(disk="slow"), counts=True),
        Move("disk works", lambda w, _s: w.disk != "ok", _set(disk="ok")),
    ],
    "full": [
        Move("disk fails", lambda w, s: w.disk == "ok" and s is not None, _set(disk="fails"), counts=True),
        Move("disk works", lambda w, _s: w.disk != "ok", _set(disk="ok")),
    ],
    "reset": [Move("Arduino resets", lambda w, _s: not w.usb_cut, _board_reset, counts=True)],
    "rule_zero": _flag("rule_zero", "current against command", "current as commanded", _connected),
    "heat": [
        Move("hot", lambda w, _s: not w.hot, _set(hot=True)),
        Move("cool", lambda w, _s: w.hot, _set(hot=False)),
    ],
    "blocks": [
        Move("charging blocked", lambda w, s: not w.blocked and _connected(w, s), _set(blocked="charge")),
        Move("both blocked", lambda w, s: not w.blocked and _connected(w, s), _set(blocked="both")),
        Move("nothing blocked", lambda w, _s: bool(w.blocked), _set(blocked="")),
    ],
    "estop": [
        Move("emergency stop pressed", lambda w, _s: not w.estop, _set(estop=True)),
        Move("emergency stop released", lambda w, _s: w.estop, _set(estop=False)),
    ],
    "broker": [
        Move(
            "broker gone",
            lambda w, s: w.broker and s is not None and s.programme.state == "running",
            _set(broker=False),
        ),
        Move("broker back", lambda w, _s: not w.broker, _set(broker=True)),
    ],
}
"""Every kind of event; a domain names the kinds it lets loose."""


def _late(part: str) -> Callable[[World, float], None]:
    def do(world: World, now: float) -> None:
        world.late = world.late | {part}
        world.__dict__[f"late_{part}_t"] = now

    return do


MOVES["late"] = [
    Move("an inverter poll comes late", lambda w, _s: _timely(w, "line"), _late("line")),
    Move("an Arduino line comes late", lambda w, _s: _timely(w, "usb"), _late("usb")),
]


def _timely(world: World, part: str) -> bool:
    """One sample in three may be missing of a healthy source: its age stays within the limit."""
    last: float = world.inverter.t if part == "line" else world.board.t
    since: float = getattr(world, f"late_{part}_t")
    return part not in world.late and last > since


def started(model: Model, world: World, now: float) -> Supervisor:
    """The production's state of a new process on what the last one left on disk."""
    return initial(model.settings, world.record, now)


class Ask(NamedTuple):
    """One command as it is put to `step`."""

    name: str
    target: str
    body: dict[str, object]
    local: bool = False
    schedule: ScheduleFile | None = None

    def command(self, now: float, number: int = 0) -> Command:
        """The command, with an id that no other of this path has."""
        return Command(
            f"{self.name}@{now:g}.{number}", self.target, "E", "operator", self.body, self.local, self.schedule
        )


ASKS: dict[str, Ask] = {
    ask.name: ask
    for ask in (
        Ask("close", "contactor", {"action": "close"}),
        Ask("open", "contactor", {"action": "open"}),
        Ask("estop", "estop", {}),
        Ask("discharge", "inverter", {"mode": "current", "setpoint": SETPOINT_A}),
        Ask("charge", "inverter", {"mode": "current", "setpoint": -SETPOINT_A}),
        Ask("start", "schedule", {"action": "start", "file": FILE.name}, schedule=FILE),
        Ask("pause", "schedule", {"action": "pause"}),
        Ask("resume", "schedule", {"action": "resume"}),
        Ask("stop", "schedule", {"action": "stop"}),
        Ask("reset", "safety", {"action": "reset_latch"}, local=True),
        Ask("reset remotely", "safety", {"action": "reset_latch"}),
        Ask("reset first", "safety", {"action": "reset_latch"}, local=True),
        Ask("reset another", "safety", {"action": "reset_latch", "latch": "nothing"}),
        Ask("service on", "service", {"on": True}, local=True),
        Ask("service off", "service", {"on": False}, local=True),
        Ask("relay 1 on", "relay1", {"on": True}),
        Ask("relay 2 on", "relay2", {"on": True}),
        Ask("relay 3 on", "relay3", {"on": True}),
        Ask("relay 1 off", "relay1", {"on": False}),
        Ask("relay 2 off", "relay2", {"on": False}),
        Ask("pump on", "pump", {"on": True}),
        Ask("pump off", "pump", {"on": False}),
        Ask("fan off", "fan", {"on": False}),
        Ask("reload", "config", {"action": "reload"}),
        Ask("commission", "commission", {}, local=True),
        Ask("acknowledge", "alarm", {"action": "ack", "alarm": "estop"}),
        Ask("nonsense", "contactor", {"action": "weld"}),
    )
}

WORTHWHILE: dict[State, tuple[str, ...]] = {
    State.BOOT: (),
    State.STANDBY: ("close",),
    State.CONNECTING: ("open",),
    State.READY: ("open", "discharge"),
    State.RUN: ("open",),
    State.HOLD: ("open",),
    State.STOPPING: (),
    State.LATCHED: ("reset",),
    State.SERVICE: (),
}
"""The main road. Other domains add to it: `commands` tries every command in every state."""

ROADS: dict[str, dict[State, tuple[str, ...]]] = {
    "main": WORTHWHILE,
    "local": {State.STANDBY: ("close",), State.READY: ("discharge",)},
    "service": {
        State.STANDBY: ("service on",),
        State.SERVICE: ("relay 1 on", "relay 2 on", "relay 3 on", "relay 1 off", "relay 2 off", "service off"),
        State.LATCHED: ("reset",),
    },
    "lease": {
        **WORTHWHILE,
        State.READY: ("open", "discharge", "charge"),
        State.RUN: ("open", "charge", "stop"),
    },
    "schedule": {
        **WORTHWHILE,
        State.READY: ("open", "start", "resume"),
        State.RUN: ("open", "pause", "stop"),
        State.HOLD: ("stop",),
    },
    "cooling": {state: ("pump on", "pump off", "fan off", *WORTHWHILE[state]) for state in State},
    "all": {state: tuple(ASKS) for state in State},
}
"""Which commands a search tries in which state; what the state alone refuses is tried by `all`."""


def commands(ask: Ask, state: Supervisor, now: float) -> tuple[Command, ...]:
    """A reset names every latch that is held, one command each; the others are one command."""
    if not ask.name.startswith("reset") or "latch" in ask.body:
        return (ask.command(now),)
    held = state.latches[:1] if ask.name == "reset first" else state.latches
    return tuple(
        ask._replace(body={**ask.body, "latch": latch.id}).command(now, number) for number, latch in enumerate(held)
    )
