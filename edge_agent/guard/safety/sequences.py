"""The step tables of CONNECTING and STOPPING: each row with its relays, its condition, its time and what a failure does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from edge_agent.guard.model import RELAYS, Level, Mode, Output, State
from edge_agent.guard.safety.interface import Settings
from edge_agent.guard.safety.state import LinkWatch
from edge_agent.guard.safety.turn import CONNECTED, ZERO_TOLERANCE, Turn

MAIN = Output.RELAY1 | Output.RELAY2
MINUS_AND_PRECHARGE = Output.RELAY2 | Output.RELAY3
_ALL_THREE = MAIN | Output.RELAY3

WELD_DWELL_S = 0.5
HELD_S = 0.3
TIMED_PRECHARGE_S = 5.0
RETRY_REST_S = 30.0
BETWEEN_MAINS_S = 0.1
RESENDS = 3
CALM_SAMPLES = 2
CALM_SPACING_S = 0.1
REST_A = 2.0
WELD_WATCH_S = 10.0
V1_EXTRA_S = 6.0
FIRST_LINE_S = 4.0


class Step(NamedTuple):
    """One row. `relays` None leaves them as they are; `trouble` ends the sequence at once, `late` after `limit_s`."""

    name: str
    relays: Output | None
    limit_s: float
    done: Callable[[Turn], bool]
    late: Callable[[Turn], None]
    trouble: Callable[[Turn], bool]


def walk(turn: Turn, steps: tuple[Step, ...], finish: Callable[[Turn], None]) -> None:
    """Look at the step under way; at most one step ends in a turn, so that its outputs are ordered before the next is judged."""
    row = steps[turn.phase.step]
    if row.trouble(turn):
        return
    if row.done(turn):
        if turn.phase.step + 1 < len(steps):
            turn.go(turn.phase.step + 1)
        else:
            finish(turn)
    elif turn.now - turn.phase.step_since > row.limit_s + (0.0 if turn.reads_back else V1_EXTRA_S):
        row.late(turn)


def never(_turn: Turn) -> bool:
    """No trouble can show in this step."""
    return False


def live_v(turn: Turn) -> float:
    """Above this the link is live."""
    return max(60.0, 0.2 * (turn.facts.pack_v or 0.0))


# --- CONNECTING -----------------------------------------------------------------------------------------------------------


def fail_connecting(turn: Turn, code: str, reason: str, latch: tuple[str, Level] | None = None) -> None:
    """Give up closing: the command learns why, everything opens again."""
    for pending in [p for p in turn.pending if p.expects == "closed"]:
        turn.answer(pending, "failed", code=code, reason=reason)
    turn.pending = tuple(p for p in turn.pending if p.expects != "closed")
    turn.shut((reason,), () if latch is None else (latch,))


def _ready_to_close(turn: Turn) -> bool:
    vault, facts = turn.vault, turn.facts
    if vault.written < vault.ticket or not vault.record.armed:
        return False
    if not turn.all_open() or (turn.reads_back and not facts.board.armed) or not turn.inverter_zero():
        return False
    if not turn.knows_link:
        return True
    return facts.link is not None and facts.link.t > turn.phase.since and facts.link.value <= live_v(turn)


def _not_ready(turn: Turn) -> None:
    link = turn.facts.link
    if link is not None and link.value > live_v(turn):
        fail_connecting(turn, "E_LINK_LIVE", f"link still at {link.value:.0f} V, at most {live_v(turn):.0f} V to close")
    elif turn.vault.written < turn.vault.ticket:
        fail_connecting(turn, "E_STATE", "the mark that contactors may be closed could not be written")
    elif not turn.inverter_zero():
        fail_connecting(turn, "E_NOT_CONFIRMED", "the inverter does not read back off")
    else:
        fail_connecting(turn, "E_NOT_CONFIRMED", "the board did not arm its relays with all of them open")


def _risen(turn: Turn) -> bool:
    link, mark_v = turn.facts.link, turn.phase.mark_v
    if link is None or mark_v is None or link.t <= turn.outputs.changed:
        return False
    return link.value > mark_v + max(15.0, 0.05 * (turn.facts.pack_v or 0.0))


def _weld(latch_id: str, reason: str) -> Callable[[Turn], bool]:
    def trouble(turn: Turn) -> bool:
        if not _risen(turn):
            return False
        fail_connecting(turn, "E_DANGER", reason, (latch_id, Level.CRITICAL))
        return True

    return trouble


def _dwelt(relays: Output) -> Callable[[Turn], bool]:
    def done(turn: Turn) -> bool:
        since = turn.outputs.changed + WELD_DWELL_S
        link = turn.facts.link
        return turn.confirmed(relays) and turn.now >= since and link is not None and link.t >= since - 0.1

    return done


def _shows(relays: Output) -> Callable[[Turn], bool]:
    def done(turn: Turn) -> bool:
        return turn.confirmed(relays)

    return done


def _unconfirmed(turn: Turn) -> None:
    reason = "the relays did not read back as commanded"
    fail_connecting(turn, "E_NOT_CONFIRMED", reason, ("relays.unconfirmed", Level.CRITICAL))


def near_v(pack_v: float) -> float:
    """Closer to the pack's voltage than this the link is charged."""
    return max(5.0, 0.015 * pack_v)


def _fell_away(turn: Turn) -> bool:
    """The order for relay 1 may wait on its way; a link that lost its charge meanwhile must not meet it."""
    link, pack_v = turn.facts.link, turn.facts.pack_v
    if link is None or pack_v is None or abs(link.value - pack_v) < 2.0 * near_v(pack_v):
        return False
    if turn.confirmed(_ALL_THREE):
        return False
    _precharge_late(turn)
    return True


def _precharged(turn: Turn) -> bool:
    link, pack_v, current = turn.facts.link, turn.facts.pack_v, turn.facts.current
    if not turn.confirmed(MINUS_AND_PRECHARGE) or link is None or pack_v is None or link.t <= turn.outputs.changed:
        return False
    near = abs(link.value - pack_v) < near_v(pack_v)
    if not near or current is None or abs(current.value) >= turn.small_a:
        turn.phase = replace(turn.phase, held_since=None)
        return False
    if turn.phase.held_since is None:
        turn.phase = replace(turn.phase, held_since=link.t)
    held_since = turn.phase.held_since
    return held_since is not None and link.t > held_since and turn.now - held_since >= HELD_S


def _precharge_late(turn: Turn) -> None:
    if not turn.phase.tries:
        turn.go(_index(turn, "rest"), tries=1)
    else:
        latch = ("precharge.failed", Level.FAULT)
        fail_connecting(turn, "E_DANGER", "the link did not reach the pack's voltage, twice", latch)


def _rested(turn: Turn) -> bool:
    """After the pause the steps begin again at `minus`; a first connection never gets here."""
    if not turn.phase.tries:
        return True
    if turn.now - turn.phase.step_since >= RETRY_REST_S and turn.confirmed(Output.NONE):
        turn.go(_index(turn, "minus"))
    return False


def _timed(turn: Turn) -> bool:
    return turn.confirmed(MINUS_AND_PRECHARGE) and turn.now - turn.outputs.changed >= TIMED_PRECHARGE_S


def _index(turn: Turn, name: str) -> int:
    return next(i for i, row in enumerate(connecting(turn.settings)) if row.name == name)


def _row(name: str, relays: Output, limit_s: float = 1.0) -> Step:
    return Step(name, relays, limit_s, _shows(relays), _unconfirmed, never)


_PREPARE = Step("prepare", Output.NONE, 60.0, _ready_to_close, _not_ready, never)
_PLUS_WELDED = _weld("relays.weld_plus", "the link rose with relay 2 alone: relay 1 or 3 is welded")
_MINUS_WELDED = _weld("relays.weld_minus", "the link rose with relay 3 alone: relay 2 is welded")
_WELD_CHECK = (
    Step("weld_minus", Output.RELAY2, 3.0, _dwelt(Output.RELAY2), _unconfirmed, _PLUS_WELDED),
    _row("weld_pause", Output.NONE),
    Step("weld_plus", Output.RELAY3, 3.0, _dwelt(Output.RELAY3), _unconfirmed, _MINUS_WELDED),
    _row("weld_done", Output.NONE),
)
_MINUS = _row("minus", Output.RELAY2)
_PLUS = _row("plus", _ALL_THREE)
_MAINS = _row("mains", MAIN)
_CONTACTOR: dict[tuple[bool, str], tuple[Step, ...]] = {}
for _link in (True, False):
    _first = (_PREPARE, *(_WELD_CHECK if _link else ()))
    _CONTACTOR[_link, "timed"] = (
        *_first, _MINUS, Step("precharge", MINUS_AND_PRECHARGE, 8.0, _timed, _unconfirmed, never), _PLUS, _MAINS,
    )  # fmt: skip
    _CONTACTOR[_link, "inverter"] = (*_first, _MINUS, _MAINS)
_CONTACTOR[True, "measured"] = (
    _PREPARE, *_WELD_CHECK,
    Step("rest", Output.NONE, RETRY_REST_S + 5.0, _rested, _unconfirmed, never),
    _MINUS,
    Step("precharge", MINUS_AND_PRECHARGE, 5.0, _precharged, _precharge_late, never),
    _PLUS._replace(trouble=_fell_away), _MAINS,
)  # fmt: skip


def connecting(settings: Settings) -> tuple[Step, ...]:
    """The rows of CONNECTING for this rig. `measured` without a link voltage cannot be configured."""
    return _CONTACTOR[settings.link_voltage != "none", settings.precharge]


# --- STOPPING -------------------------------------------------------------------------------------------------------------


def count_calm(turn: Turn) -> None:
    """Count consecutive new samples of small current, well apart; the run begins anew when the inverter reads back zero."""
    phase, current = turn.phase, turn.facts.current
    if current is None or current.seq == phase.calm_seq:
        return
    zero = turn.inverter_zero()
    if current.t <= turn.drive.changed or abs(current.value) >= turn.small_a:
        turn.phase = replace(phase, calm=0, calm_seq=current.seq)
    elif phase.calm == 0 or zero != phase.calm_zero:
        turn.phase = replace(
            phase, calm=1, calm_seq=current.seq, calm_t=current.t, calm_sum=current.value, calm_zero=zero
        )
    elif current.t - phase.calm_t >= CALM_SPACING_S:
        turn.phase = replace(phase, calm=phase.calm + 1, calm_seq=current.seq, calm_sum=phase.calm_sum + current.value)


def rested(turn: Turn) -> bool:
    """The samples show no current: each below 4σ, and their mean nearer to nothing than to 4σ."""
    phase = turn.phase
    return phase.calm >= CALM_SAMPLES and abs(phase.calm_sum / phase.calm) < max(REST_A, turn.small_a / 2.0)


def calm(turn: Turn) -> bool:
    """No current flows: measured while the inverter reads back zero, or there is no inverter that could drive one."""
    count_calm(turn)
    return turn.settings.inverter is None or (turn.phase.calm_zero and rested(turn))


def loaded(turn: Turn) -> bool:
    """T_wait is over, and there is an inverter: whether the circuit carries a current, or nothing says that it does not.

    A mode that is only late to read back is no load when the samples show none; a setpoint that still reads back is.
    """
    seen = turn.facts.inverter
    drives = seen.mode != Mode.OFF and abs(seen.setpoint or 0.0) >= ZERO_TOLERANCE
    return drives or turn.facts.current is None or not rested(turn)


def _zero_and_calm(turn: Turn) -> bool:
    return not turn.outputs.mask & RELAYS or turn.all_open() or calm(turn)


def _waited(turn: Turn) -> None:
    """T_wait is over: open all the same, and say when it was, or may have been, under load."""
    if loaded(turn):
        turn.latch("relays.opened_under_load", Level.CRITICAL)
    turn.go(turn.phase.step + 1)
    watch_link(turn)


def _mains_apart(turn: Turn) -> bool:
    return turn.now - turn.phase.step_since >= BETWEEN_MAINS_S


def _verified(turn: Turn) -> bool:
    if not turn.all_open():
        return False
    current, since = turn.facts.current, turn.phase.step_since
    if turn.settings.inverter is None or "inverter.stale" in turn.facts.unknown or current is None:
        return True
    return current.t > since and abs(current.value) < turn.small_a


def watch_link(turn: Turn) -> None:
    """A live link must begin to fall once relays open that are closed, or that a crash may have left closed."""
    watch, link = turn.watch, turn.facts.link
    if turn.settings.profile != "contactor":
        return  # relays of other profiles are not in the path that feeds the link
    crashed = turn.phase.origin is State.BOOT and turn.vault.record.armed
    if watch.link is not None or link is None or not (turn.outputs.mask & RELAYS or crashed):
        return
    if link.value <= live_v(turn):
        return
    below_v = link.value - max(3.0, 0.01 * link.value)
    turn.watch = replace(watch, link=LinkWatch(below_v, turn.now + WELD_WATCH_S, turn.now))


def judge_link_watch(turn: Turn) -> None:
    """In any state after opening: the link fell, or a main relay is welded."""
    watch, link = turn.watch.link, turn.facts.link
    if watch is None:
        return
    if link is not None and link.t > watch.opened and link.value <= watch.below_v:
        turn.watch = replace(turn.watch, link=None)
    elif turn.now > watch.until and link is not None:  # a link that cannot be seen is watched until it can
        turn.watch = replace(turn.watch, link=None)
        turn.shut(("the link stays up after opening",), (("relays.weld_main", Level.CRITICAL),))


def _not_verified(turn: Turn) -> None:
    """Resend, then say that the opening is not confirmed; at start an absent board is only absent."""
    facts = turn.facts
    if turn.phase.origin is State.BOOT and facts.board.seq == 0:
        if turn.now - turn.phase.step_since < FIRST_LINE_S:
            return
        if turn.vault.record.armed or turn.latches:
            turn.latch("relays.unconfirmed", Level.CRITICAL)
        finish_stopping(turn)
    elif turn.phase.tries < RESENDS:
        turn.go(turn.phase.step, tries=turn.phase.tries + 1)
    else:
        turn.latch("relays.unconfirmed", Level.CRITICAL)
        finish_stopping(turn)


def finish_stopping(turn: Turn) -> None:
    """Open: LATCHED while anything is latched, else STANDBY."""
    turn.enter(State.LATCHED if turn.latches else State.STANDBY, why=turn.phase.why)


STOPPING = (
    Step("zero", None, 0.0, _zero_and_calm, _waited, never),
    Step("open_plus", Output.RELAY2, 1.0, _mains_apart, _waited, never),
    Step("open_minus", Output.NONE, 1.0, _verified, _not_verified, never),
)
"""`relays` of `open_plus` is a mask on what is closed. The limit of `zero` is [safety] wait_s."""

OPEN_AT_ONCE = 2


def stopping(turn: Turn) -> None:
    """One look at STOPPING."""
    if turn.phase.step:
        walk(turn, STOPPING, finish_stopping)
    elif _zero_and_calm(turn):
        turn.go(1)
        watch_link(turn)
    elif turn.now - turn.phase.since > turn.settings.wait_s:
        _waited(turn)


def relays_wanted(turn: Turn) -> Output:
    """The relays of the step under way in CONNECTING or STOPPING."""
    if turn.state is State.CONNECTING:
        wanted = connecting(turn.settings)[turn.phase.step].relays
        return Output.NONE if wanted is None else wanted
    closed = turn.outputs.mask & RELAYS
    pins = turn.facts.board.pins
    if turn.phase.origin not in CONNECTED and pins is not None:
        closed &= pins  # a relay that was ordered and not seen closed yet must not close now
    wanted = STOPPING[turn.phase.step].relays
    return closed if wanted is None else closed & wanted
