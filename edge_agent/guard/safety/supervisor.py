"""The pure `step(settings, state, inputs, now) → (state, decision)`: one row per state, nothing but values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.guard.model import Level, State
from edge_agent.guard.safety import drive, outputs, waiting
from edge_agent.guard.safety.commands import obey
from edge_agent.guard.safety.interface import Durable, Settings
from edge_agent.guard.safety.schedule import aborted, paused
from edge_agent.guard.safety.sequences import calm, connecting, loaded, stopping, walk, watch_link
from edge_agent.guard.safety.state import NEVER, Latch, Outputs, Phase, Supervisor, Vault
from edge_agent.guard.safety.turn import Decision, StepInputs, Turn
from edge_agent.guard.safety.watching import notice

OPEN_PLUS = 1
UNCONFIRMED = "relays."
"""Latches of this name say that an opening was ordered and not confirmed: CRITICAL, also after a restart."""


def initial(settings: Settings, durable: Durable, now: float) -> Supervisor:
    """The state at start: BOOT, assuming that relays may be closed under load."""
    latches = [Latch(name, Level.CRITICAL if name.startswith(UNCONFIRMED) else Level.FAULT) for name in durable.latches]
    if durable.armed:
        latches = [
            Latch("guard.restarted", Level.FAULT),
            *(latch for latch in latches if latch.id != "guard.restarted"),
        ]
    if settings.commission_count is not None:
        durable = durable._replace(roster=tuple(range(1, settings.commission_count + 1)))
    return Supervisor(Phase(State.BOOT, now), latches=tuple(latches), vault=Vault(durable), outputs=Outputs())


def step(settings: Settings, state: Supervisor, inputs: StepInputs, now: float) -> tuple[Supervisor, Decision]:
    """One turn of the supervisor. `now` never goes back; called at least every 50 ms.

    The order is fixed: what is noticed, what is commanded, what the state does, then what the actuators are told from it.
    """
    turn = Turn(settings, state, inputs, now)
    notice(turn)
    for command in inputs.commands:
        obey(turn, command)
    STATES[turn.state](turn)
    drive.follow_schedule(turn)
    drive.settle(turn)
    outputs.settle(turn)
    waiting.settle(turn)
    _remember(turn)
    return turn.close()


def _boot(turn: Turn) -> None:
    """Zero is ordered from the first turn; the board is left alone until no current flows or T_wait is over."""
    quiet = calm(turn)
    over = turn.now - turn.phase.since > turn.settings.wait_s
    if not quiet and not over:
        return
    current = turn.facts.current
    flows = current is not None and abs(current.value) >= turn.small_a
    if not quiet and loaded(turn) and (flows or turn.vault.record.armed):
        turn.latch("relays.opened_under_load", Level.CRITICAL)
    turn.enter(State.STOPPING, why=("boot",), step=OPEN_PLUS)
    watch_link(turn)


def _standby(_turn: Turn) -> None:
    """Nothing to do but to wait for a command."""


def _connecting(turn: Turn) -> None:
    if turn.facts.unknown:
        turn.shut(turn.facts.unknown)
        return
    if turn.settings.profile != "contactor":
        turn.enter(State.READY, why=("no relay is in the main path",))
        return
    walk(turn, connecting(turn.settings), lambda t: t.enter(State.READY, why=("closed and read back",)))


def _ready(turn: Turn) -> None:
    if _hold(turn):
        return
    if drive.wish(turn) is not None:
        turn.enter(State.RUN, why=_source(turn))


def _run(turn: Turn) -> None:
    if _hold(turn):
        return
    drive.follow_schedule(turn)
    if drive.wish(turn) is None:
        turn.enter(State.READY, why=(f"schedule {turn.programme.state}" if turn.programme.file else "lease over",))


def _source(turn: Turn) -> tuple[str, ...]:
    programme = turn.programme
    return (programme.file.name,) if programme.state == "running" and programme.file is not None else ("setpoint",)


def _hold(turn: Turn) -> bool:
    """Without fresh data no energy: zero now, and back to READY at most."""
    why = (*turn.facts.unknown, *turn.facts.zero)
    if why:
        turn.enter(State.HOLD, why=why)
    return bool(why)


def _holding(turn: Turn) -> None:
    why = (*turn.facts.unknown, *turn.facts.zero)
    if not why:
        if turn.confirmed(turn.outputs.mask) or turn.settings.profile != "contactor":
            turn.enter(State.READY, why=("fresh again",))
        return
    if why != turn.phase.why:
        turn.phase = replace(turn.phase, why=tuple(dict.fromkeys((*turn.phase.why, *why))))
    if turn.now - turn.phase.since > turn.settings.hold_s:
        turn.shut(why, ((name, Level.FAULT) for name in why))


def _latched(turn: Turn) -> None:
    if not turn.latches and turn.phase.since < turn.now:
        turn.enter(State.STANDBY, why=("every latch was reset",))


def _service(turn: Turn) -> None:
    if turn.inputs.facts.unknown and "arduino.stale" in turn.inputs.facts.unknown:
        turn.shut(("arduino.stale",))


STATES: dict[State, Callable[[Turn], None]] = {
    State.BOOT: _boot,
    State.STANDBY: _standby,
    State.CONNECTING: _connecting,
    State.READY: _ready,
    State.RUN: _run,
    State.HOLD: _holding,
    State.STOPPING: stopping,
    State.LATCHED: _latched,
    State.SERVICE: _service,
}


def _remember(turn: Turn) -> None:
    """What a state implies for the schedule, the lease and the disk."""
    if turn.state is State.HOLD:
        turn.programme = paused(turn.programme, turn.now)
    elif turn.state is not State.RUN and turn.state is not State.READY:
        turn.programme = aborted(turn.programme, turn.now)
    if turn.state not in {State.RUN, State.READY} and turn.drive.lease_until > NEVER:
        turn.drive = replace(turn.drive, lease_until=NEVER)
    if turn.state in {State.STOPPING, State.LATCHED, State.BOOT} and turn.outputs.switched:
        turn.outputs = replace(turn.outputs, switched=turn.outputs.switched & 0)
    _persist(turn)


def _persist(turn: Turn) -> None:
    """The record follows the state: latches as they are held, armed from before closing until the opening is confirmed.

    Confirmed means read back and, where a link was live, seen to fall: who crashes before that cannot know of a weld.
    """
    vault = turn.vault
    armed = vault.record.armed
    if turn.state is State.CONNECTING:
        armed = True
    elif turn.state in {State.STANDBY, State.LATCHED} and turn.all_open() and turn.watch.link is None:
        armed = False
    record = vault.record._replace(armed=armed, latches=tuple(latch.id for latch in turn.latches))
    if record != vault.record:
        turn.vault = replace(vault, record=record, ticket=vault.ticket + 1)
