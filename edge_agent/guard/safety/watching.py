"""What is noticed before anything is decided: durable writes, lateness, the broker, the board, the emergency stop, dangers."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.guard.model import RELAYS, Level, State
from edge_agent.guard.safety.interface import Settings
from edge_agent.guard.safety.rules import DEFAULTS, as_pair
from edge_agent.guard.safety.schedule import paused
from edge_agent.guard.safety.sequences import OPEN_AT_ONCE, judge_link_watch
from edge_agent.guard.safety.state import NEVER
from edge_agent.guard.safety.turn import CONNECTED, Turn

BROKER_PATIENCE_S = 10.0
BOARD_LOST_S = 3.0
WRONG_PINS_S = 0.5
OPEN_WRONG_PINS_S = 1.0
# past this the inverter's timer has acted and the board's dead-man is about to: waiting for zero would only keep relays closed
BEYOND_TIMERS_S = 3.0
BOARD_OPENED_S = 4.0
"""After so long without a turn the board's dead-man has opened (SAFETY: agent dead, open within 4.0 s)."""
MANY_OVERRUNS, MANY_WITHIN_S, LONG_OVERRUN_S = 3, 60.0, 0.5
LATE_SHOWN_S = 5.0
ENERGISED = CONNECTED | {State.CONNECTING}


def notice(turn: Turn) -> None:
    """Everything that may change the state without a command."""
    _durable(turn)
    _broker(turn)
    _overrun(turn)
    _unseen(turn)
    _estop(turn)
    _board(turn)
    judge_link_watch(turn)
    _dangers(turn)


def _durable(turn: Turn) -> None:
    written, failed = turn.inputs.written, turn.inputs.write_failed
    if (written, failed) != (turn.vault.written, turn.vault.failed):
        turn.vault = replace(turn.vault, written=max(written, turn.vault.written), failed=failed)


def _broker(turn: Turn) -> None:
    """The PC is gone: no trip, but a schedule that is not autonomous waits at 0 for `resume`."""
    watch = turn.watch
    if turn.inputs.broker:
        if watch.broker_lost is not None:
            turn.watch = replace(watch, broker_lost=None)
        return
    if watch.broker_lost is None:
        turn.watch = replace(watch, broker_lost=turn.now)
    elif turn.now - watch.broker_lost >= BROKER_PATIENCE_S and not turn.settings.autonomous:
        turn.programme = paused(turn.programme, turn.now)


def overrun_limits_s(settings: Settings) -> tuple[float, float]:
    """From which gap between turns on the supervisor is late, and too late."""
    rule, given = DEFAULTS["overrun"], settings.limits.get("overrun")
    late_s, too_late_s = rule.warning[1] or 0.0, rule.danger[1] or 0.0
    if given is not None and given.warning is not None:
        late_s = as_pair(rule, given.warning)[1] or late_s
    if given is not None and given.danger is not None:
        too_late_s = as_pair(rule, given.danger)[1] or too_late_s
    return late_s, too_late_s


def _overrun(turn: Turn) -> None:
    """Its own lateness: whatever happened meanwhile was not judged."""
    gap_s = turn.now - turn.turned
    if turn.turned == NEVER:
        return
    late_s, too_late_s = overrun_limits_s(turn.settings)
    if gap_s <= late_s:
        return
    turn.watch = replace(turn.watch, late_until=turn.now + LATE_SHOWN_S)
    recent = tuple(t for t in turn.watch.overruns if turn.now - t < MANY_WITHIN_S)
    if gap_s > LONG_OVERRUN_S:
        recent = (*recent, turn.now)
    turn.watch = replace(turn.watch, overruns=recent)
    override = turn.settings.limits.get("overrun")
    if turn.state is State.BOOT or (override is not None and override.action in {"warn", "record"}):
        return
    if gap_s > too_late_s or len(recent) >= MANY_OVERRUNS:
        step = OPEN_AT_ONCE if gap_s > BEYOND_TIMERS_S else 0
        if step and turn.outputs.mask & RELAYS and _may_flow(turn):
            _ask_whether_loaded(turn, gap_s)
        turn.shut((f"no turn for {gap_s:.2f} s",), (("guard.overrun", Level.FAULT),), step=step)


def _may_flow(turn: Turn) -> bool:
    """Whether a current is measured, or nothing is."""
    current = turn.facts.current
    return turn.settings.inverter is not None and (current is None or abs(current.value) >= turn.small_a)


def _ask_whether_loaded(turn: Turn, gap_s: float) -> None:
    """Opening blindly is said at once; what the dead-man has opened is judged by what the inverter says next."""
    if gap_s > BOARD_OPENED_S and turn.reads_back:
        turn.watch = replace(turn.watch, unseen=turn.now)
    else:
        turn.latch("relays.opened_under_load", Level.CRITICAL)


def _unseen(turn: Turn) -> None:
    """An inverter whose timer has acted had stopped before the dead-man opened; without that word it may have been under load."""
    since, inverter = turn.watch.unseen, turn.facts.inverter
    if since is None:
        return
    stopped_first = inverter.t >= since and inverter.timed_out
    if not stopped_first and turn.now - since <= turn.settings.wait_s:
        return
    turn.watch = replace(turn.watch, unseen=None)
    if not stopped_first:
        turn.latch("relays.opened_under_load", Level.CRITICAL)


def _estop(turn: Turn) -> None:
    if turn.inputs.estop:
        turn.shut(("emergency stop input",), (("estop", Level.DANGER),))


def _board(turn: Turn) -> None:
    """The board may reset, let its dead-man act, fall silent or disobey; an old mask is never sent to it again."""
    facts, outputs = turn.facts.board, turn.outputs
    if turn.settings.arduino is None:
        return
    closed = bool(outputs.mask & RELAYS)
    # a board that says it has opened but shows closed pins carries current still: then zero comes first, as always
    at_once = 0 if facts.pins is not None and facts.pins & RELAYS else OPEN_AT_ONCE
    if facts.boot != outputs.boot:
        if closed and outputs.boot:
            turn.shut(("the board was reset",), (("arduino.reset", Level.CRITICAL),), step=at_once)
        turn.outputs = outputs = replace(outputs, boot=facts.boot)
    if closed and facts.held and facts.t > outputs.changed:
        turn.shut(("the board's dead-man has opened",), (("arduino.deadman", Level.CRITICAL),), step=at_once)
    if turn.reads_back and turn.state in ENERGISED and turn.now - facts.t > BOARD_LOST_S:
        turn.shut(("the board is silent",), (("arduino.lost", Level.CRITICAL),), step=OPEN_AT_ONCE)
    _pins(turn, closed=closed)


def _pins(turn: Turn, *, closed: bool) -> None:
    """The pins must show what is commanded; a silent board shows nothing and is judged by its age.

    STOPPING has its own verdict. In CONNECTING the steps that wait long for something else rely on this one.
    """
    steady = turn.state not in {State.STOPPING, State.BOOT}
    outputs, board = turn.outputs, turn.facts.board
    wrong = (
        steady and board.pins is not None and board.t > outputs.changed and (board.pins ^ outputs.mask) & RELAYS != 0
    )
    if not wrong:
        if outputs.wrong_since is not None:
            turn.outputs = replace(outputs, wrong_since=None)
        return
    if outputs.wrong_since is None:
        turn.outputs = replace(outputs, wrong_since=board.t)
    elif board.t - outputs.wrong_since > (
        WRONG_PINS_S if closed and turn.state is not State.CONNECTING else OPEN_WRONG_PINS_S
    ):
        turn.shut(("the relays do not read back as commanded",), (("relays.unconfirmed", Level.CRITICAL),))


def _dangers(turn: Turn) -> None:
    """Rules at DANGER or above: latched, and everything opens."""
    trips = turn.facts.trips
    if trips:
        turn.shut((trip.id for trip in trips), trips)
    fine = not trips and not turn.facts.unknown and not turn.inputs.estop
    if not fine and turn.watch.fine_since is not None:
        turn.watch = replace(turn.watch, fine_since=None)
    elif fine and turn.watch.fine_since is None:
        turn.watch = replace(turn.watch, fine_since=turn.now)
