"""Accepted commands whose effect is still awaited: done with what was measured, or failed when it does not come."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.guard.model import OUTPUT_NAMES, Output, State
from edge_agent.guard.safety import drive
from edge_agent.guard.safety.interface import Answer, Command
from edge_agent.guard.safety.state import Pending
from edge_agent.guard.safety.turn import CONNECTED, ZERO_TOLERANCE, Turn

OUTPUT_WAIT_S = 3.0
OPEN_WAIT_S = 15.0
CLOSE_WAIT_S = 150.0
ZERO_WAIT_S = 3.0
BOOT_WAIT_S = 8.0
MOST_PENDING = 64
WAITS_S = {"mask": OUTPUT_WAIT_S, "open": OPEN_WAIT_S, "closed": CLOSE_WAIT_S, "zero": ZERO_WAIT_S, "setpoint": 10.0}

Result = tuple[str, dict[str, object]] | None


def accept(turn: Turn, command: Command) -> None:
    """Answer accepted: the one first answer."""
    turn.answers.append(Answer(command.id, command.target, "accepted", turn.state.value))


def expect(turn: Turn, command: Command, expects: str, *, wanted: float = 0.0, mask: int = 0) -> None:
    """Accept, and answer again when what is expected has been measured."""
    accept(turn, command)
    wait_s = WAITS_S[expects] + (0.0 if turn.reads_back or expects != "mask" else 3.0)
    if turn.state is State.BOOT:
        wait_s += BOOT_WAIT_S
    pending = Pending(command.id, command.target, expects, turn.now, turn.now + wait_s, wanted, mask)
    if len(turn.pending) >= MOST_PENDING:
        turn.answer(turn.pending[0], "expired", reason=f"more than {MOST_PENDING} commands are waiting")
    turn.pending = (*turn.pending[-MOST_PENDING + 1 :], pending)


def done(turn: Turn, command: Command, readback: dict[str, object] | None = None) -> None:
    """Accept something that needs no waiting."""
    accept(turn, command)
    turn.answer(Pending(command.id, command.target, "", turn.now, turn.now), "done", readback=readback)


def settle(turn: Turn) -> None:
    """Answer every pending command whose effect is there, or whose time is over."""
    if not turn.pending:
        return
    left = []
    for pending in turn.pending:
        result = EXPECTATIONS[pending.expects](turn, pending)
        if result is not None:
            status, more = result
            turn.answer(pending, status, **more)
        elif turn.now > pending.until:
            turn.answer(pending, "failed", code="E_NOT_CONFIRMED", reason="the effect was not read back in time")
        else:
            left.append(pending)
    turn.pending = tuple(left)


def relay_readback(turn: Turn) -> dict[str, object]:
    """What the relay pins show; None where nothing reads back."""
    pins = turn.facts.board.pins
    names = ((output, name) for output, name in OUTPUT_NAMES.items() if name.startswith("relay"))
    return {name: None if pins is None else bool(pins & output) for output, name in names}


def _mask(turn: Turn, pending: Pending) -> Result:
    output, wanted = Output(pending.mask), Output(int(pending.wanted))
    if turn.outputs.mask & output != wanted:
        return "failed", {"code": "E_STATE", "reason": "superseded by what the state or the heat demands"}
    if turn.outputs.changed >= turn.now or not turn.confirmed(wanted, output):
        return None
    on = bool(wanted) if turn.reads_back else None
    return "done", {"readback": {"on": on}}


def _closed(turn: Turn, _pending: Pending) -> Result:
    if turn.state in CONNECTED:
        return "done", {"readback": relay_readback(turn)}
    if turn.state is State.CONNECTING:
        return None
    return "failed", {
        "code": "E_DANGER" if turn.latches else "E_STATE",
        "reason": "; ".join(turn.phase.why) or "stopped",
    }


def _open(turn: Turn, _pending: Pending) -> Result:
    if turn.state not in {State.STANDBY, State.LATCHED}:
        return None
    if turn.all_open():
        return "done", {"readback": relay_readback(turn)}
    if turn.now > turn.phase.since + 1.0:
        return "failed", {"code": "E_NOT_CONFIRMED", "reason": "opening was ordered but is not read back"}
    return None


def _zero(turn: Turn, _pending: Pending) -> Result:
    seen = turn.facts.inverter
    if turn.settings.inverter is None or turn.drive.setpoint != 0:
        return "done", {}
    if seen.t > turn.drive.changed and seen.setpoint is not None and abs(seen.setpoint) < ZERO_TOLERANCE:
        return "done", {"readback": {"setpoint": 0.0}}
    return None


def _setpoint(turn: Turn, pending: Pending) -> Result:
    if turn.state not in {State.RUN, State.READY} or turn.drive.manual != pending.wanted or drive.wish(turn) is None:
        return "expired", {"reason": "superseded or no longer allowed before it was reached"}
    if not drive.arrived(turn):
        return None
    setpoint = turn.drive.setpoint
    reason = None if setpoint == pending.wanted else f"limited to {setpoint:g}"
    return "done", {"readback": {"setpoint": turn.facts.inverter.setpoint}, "reason": reason}


EXPECTATIONS: dict[str, Callable[[Turn, Pending], Result]] = {
    "mask": _mask,
    "closed": _closed,
    "open": _open,
    "zero": _zero,
    "setpoint": _setpoint,
}
