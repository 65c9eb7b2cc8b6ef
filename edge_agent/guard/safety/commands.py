"""Doing what a command asks once the interlocks allow it: one row per verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.guard.model import RELAYS, Level, State
from edge_agent.guard.safety.drive import MODES
from edge_agent.guard.safety.interface import Answer, Command
from edge_agent.guard.safety.interlocks import OUTPUT_BITS, judge, rounds_of, verb_of
from edge_agent.guard.safety.schedule import aborted, paused, resumed, started
from edge_agent.guard.safety.sequences import watch_link
from edge_agent.guard.safety.state import NEVER
from edge_agent.guard.safety.turn import CONNECTED, Turn
from edge_agent.guard.safety.waiting import accept, done, expect

MOST_WINDOW_H = 24.0


def obey(turn: Turn, command: Command) -> None:
    """Answer one command, and do it when it is allowed."""
    refusal = judge(turn, command)
    if refusal is not None:
        answer = Answer(
            command.id, command.target, "rejected", turn.state.value, refusal.code, refusal.reason, refusal.blocked_by
        )
        turn.answers.append(answer)
        return
    DEEDS[verb_of(command)](turn, command)


def _by(command: Command) -> str:
    return f"command:{command.actor or 'unknown'}"


def _estop(turn: Turn, command: Command) -> None:
    expect(turn, command, "open")
    turn.shut((f"emergency stop by {command.actor}",), (("estop", Level.DANGER),))


def _open(turn: Turn, command: Command) -> None:
    expect(turn, command, "open")
    if turn.state not in {State.STANDBY, State.LATCHED}:
        turn.shut((f"opened by {command.actor}",))


def _close(turn: Turn, command: Command) -> None:
    expect(turn, command, "closed")
    if turn.state is State.STANDBY:
        turn.outputs = replace(turn.outputs, closer=_by(command))
        turn.enter(State.CONNECTING, why=(f"closed by {command.actor}",))


def _setpoint(turn: Turn, command: Command) -> None:
    inverter = turn.settings.inverter
    assert inverter is not None  # the interlock refused otherwise
    setpoint = float(str(command.body["setpoint"]))
    expect(turn, command, "setpoint", wanted=setpoint)
    turn.programme = paused(turn.programme, turn.now)
    mode = MODES[str(command.body["mode"])]
    turn.drive = replace(turn.drive, manual_mode=mode, manual=setpoint, lease_until=turn.now + inverter.lease_s)


def _start(turn: Turn, command: Command) -> None:
    assert command.schedule is not None  # the interlock refused otherwise
    rounds = rounds_of(command)
    turn.programme = started(command.schedule, turn.now, rounds)
    turn.drive = replace(turn.drive, lease_until=NEVER)
    done(turn, command, {"file": command.schedule.name, "steps": len(command.schedule.steps), "rounds": rounds})


def _resume(turn: Turn, command: Command) -> None:
    if turn.programme.state == "paused":
        turn.programme = resumed(turn.programme, turn.now)
    turn.drive = replace(turn.drive, lease_until=NEVER)
    done(turn, command, {"step": turn.programme.step + 1})


def _pause(turn: Turn, command: Command) -> None:
    turn.programme = paused(turn.programme, turn.now)
    expect(turn, command, "zero")


def _stop(turn: Turn, command: Command) -> None:
    turn.programme = aborted(turn.programme, turn.now)
    turn.drive = replace(turn.drive, lease_until=NEVER)
    expect(turn, command, "zero")


def _cooler(turn: Turn, command: Command) -> None:
    on, bit = bool(command.body.get("on")), OUTPUT_BITS[command.target]
    by = _by(command)
    by_hand = by if on else ""
    pump, fan = command.target == "pump", command.target == "fan"
    turn.outputs = replace(
        turn.outputs, pump=by_hand if pump else turn.outputs.pump, fan=by_hand if fan else turn.outputs.fan
    )
    if not on and turn.outputs.cooling:
        # the interlock found it cool: the five minutes of running on end with the operator's word, for both
        turn.outputs = replace(turn.outputs, cooling=False, cool_since=None)
    expect(turn, command, "mask", wanted=int(bit) if on else 0, mask=int(bit))


def _relay(turn: Turn, command: Command) -> None:
    on, bit = bool(command.body.get("on")), OUTPUT_BITS[command.target]
    if not on and turn.settings.profile == "contactor" and turn.state in CONNECTED | {State.CONNECTING}:
        _open(turn, command)
        return
    if not on and turn.state is State.SERVICE:
        watch_link(turn)
    switched = turn.outputs.switched | bit if on else turn.outputs.switched & ~bit
    turn.outputs = replace(turn.outputs, switched=switched & RELAYS, closer=_by(command))
    if turn.state in {State.BOOT, State.STOPPING}:
        expect(turn, command, "open")
    else:
        expect(turn, command, "mask", wanted=int(bit) if on else 0, mask=int(bit))


def _reset(turn: Turn, command: Command) -> None:
    name = command.body.get("latch")
    turn.latches = tuple(latch for latch in turn.latches if latch.id != name)
    done(turn, command, {"latch": str(name)})


def _ack(turn: Turn, command: Command) -> None:
    turn.acks.append((str(command.body.get("alarm")), command.actor or "unknown"))
    done(turn, command)


def _reload(turn: Turn, command: Command) -> None:
    """New settings from the next turn on. Latches stay, and what was fine must be found fine again for as long as ever."""
    reload = command.reload
    if reload is None:
        accept(turn, command)
        why = command.trouble or "no settings were read"
        turn.answers.append(Answer(command.id, command.target, "failed", turn.state.value, "E_FILE", why))
        return
    turn.reload = reload.settings
    turn.watch = replace(turn.watch, fine_since=None)
    done(turn, command, {"config": reload.config})


def _arm(turn: Turn, command: Command) -> None:
    hours = command.body.get("hours", 1.0)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0.0 < hours <= MOST_WINDOW_H:
        reason = f"hours {hours!r:.40}: above 0 and at most {MOST_WINDOW_H:.0f}"
        turn.answers.append(Answer(command.id, command.target, "rejected", turn.state.value, "E_SYNTAX", reason))
        return
    turn.watch = replace(turn.watch, window_until=turn.now + 3600.0 * hours)
    done(turn, command)


def _commission(turn: Turn, command: Command) -> None:
    roster = tuple(sorted(turn.facts.present))
    turn.vault = replace(turn.vault, record=turn.vault.record._replace(roster=roster), ticket=turn.vault.ticket + 1)
    done(turn, command, {"modules": ", ".join(map(str, roster))})


def _service(turn: Turn, command: Command) -> None:
    on = bool(command.body.get("on"))
    if on and turn.state is State.STANDBY:
        turn.enter(State.SERVICE, why=(f"service by {command.actor}",))
    elif not on and turn.state is State.SERVICE:
        turn.shut(("end of service",))
    done(turn, command)


def _status(turn: Turn, command: Command) -> None:
    done(turn, command, {"latches": ", ".join(latch.id for latch in turn.latches)})


DEEDS: dict[str, Callable[[Turn, Command], None]] = {
    "estop": _estop, "contactor.open": _open, "contactor.close": _close, "inverter.setpoint": _setpoint,
    "schedule.start": _start, "schedule.resume": _resume, "schedule.pause": _pause, "schedule.stop": _stop,
    "relay.on": _relay, "relay.off": _relay, "pump.on": _cooler, "pump.off": _cooler, "fan.on": _cooler, "fan.off": _cooler,
    "safety.reset_latch": _reset, "alarm.ack": _ack, "config.reload": _reload,
    "arm": _arm, "commission": _commission, "service.on": _service, "service.off": _service, "status": _status,
}  # fmt: skip
