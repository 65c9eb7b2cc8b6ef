"""Which command is allowed in which state: SAFETY §5 as one table, and the conditions it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_agent.guard.model import OUTPUT_NAMES, RELAYS, State
from edge_agent.guard.safety.drive import MODES, volts
from edge_agent.guard.safety.ending import unknown_end
from edge_agent.guard.safety.interface import Command, ScheduleFile
from edge_agent.guard.safety.outputs import HOT
from edge_agent.guard.safety.schedule import MODE_UNITS, MOST_ROUNDS, obstacle, over_limit, too_short
from edge_agent.guard.safety.turn import Turn
from edge_agent.guard.safety.watching import BROKER_PATIENCE_S

COLUMNS = (
    State.BOOT, State.STANDBY, State.CONNECTING, State.READY, State.RUN, State.HOLD, State.STOPPING, State.LATCHED, State.SERVICE,
)  # fmt: skip
A = "A"
OUTPUT_BITS = {name: output for output, name in OUTPUT_NAMES.items()}
FINE_BEFORE_RESET_S = 30.0
LOCAL_LATCHES = ("relays.weld", "arduino.ground_fault")


class Refusal(NamedTuple):
    """Why a command is not done."""

    code: str
    reason: str
    blocked_by: tuple[str, ...] = ()


REASONS = {
    "E_BUSY": "{state}: another sequence is under way",
    "E_STATE": "not possible in {state}",
    "E_LATCHED": "latched: reset_latch first",
    "E_NOT_CONNECTED": "the contactors are open: contactor close first",
    "E_CONNECTED": "the contactors are closed: contactor open first",
    "E_SERVICE_ONLY": "single relays only in SERVICE: cellguard local service",
    "E_THERMAL": "cooling is needed: hot, unknown, or {state}",
    "E_STALE": "data is missing",
    "E_LOCAL_ONLY": "only through the local door",
}

_DRIVE = ("E_STATE", "E_NOT_CONNECTED", "E_BUSY", "{}", "{}", "E_STALE", "E_BUSY", "E_LATCHED", "E_STATE")


def _drive(condition: str) -> tuple[str, ...]:
    return tuple(cell.format(condition) for cell in _DRIVE)


MATRIX: dict[str, tuple[str, ...]] = {
    #                       BOOT, STANDBY, CONNECTING, READY, RUN, HOLD, STOPPING, LATCHED, SERVICE
    "estop": (A,) * 9,
    "contactor.open": (A,) * 9,
    "schedule.stop": (A,) * 9,
    "schedule.pause": (A,) * 9,
    "contactor.close": ("E_BUSY", "close", "E_BUSY", A, A, A, "E_BUSY", "E_LATCHED", "E_STATE"),
    "inverter.setpoint": _drive("setpoint"),
    "schedule.start": _drive("start"),
    "schedule.resume": _drive("resume"),
    "relay.on": (*("E_SERVICE_ONLY",) * 8, "single"),
    "relay.off": (A,) * 9,
    "pump.on": ("board",) * 9,
    "fan.on": ("board",) * 9,
    "pump.off": ("E_THERMAL", "cool", "cool", "cool", "cool", "cool", "E_THERMAL", "cool", "cool"),
    "fan.off": ("E_THERMAL", "cool", "cool", "cool", "cool", "cool", "E_THERMAL", "cool", "cool"),
    "safety.reset_latch": ("E_STATE", A, "E_STATE", "E_STATE", "E_STATE", "E_STATE", "E_BUSY", "reset", A),
    "alarm.ack": ("known",) * 9,
    "config.reload": ("E_STATE", A, "E_BUSY", "E_CONNECTED", "E_CONNECTED", "E_CONNECTED", "E_BUSY", A, A),
    # the local door
    "arm": (A,) * 9,
    "status": (A,) * 9,
    "commission": ("E_STATE", "modules", "E_BUSY", "E_CONNECTED", "E_CONNECTED", "E_CONNECTED", "E_BUSY", "modules", "modules"),
    "service.on": ("E_BUSY", "board", "E_BUSY", "E_CONNECTED", "E_CONNECTED", "E_CONNECTED", "E_BUSY", "E_LATCHED", A),
    "service.off": (A,) * 9,
}  # fmt: skip
"""verb → one cell per state of COLUMNS: A, a code, or the name of a condition below."""

_OUTPUT_VERBS = (
    "contactor.close", "inverter.setpoint", "schedule.start", "schedule.resume", "relay.on", "pump.on", "pump.off",
    "fan.on", "fan.off", "service.on",
)  # fmt: skip

PROFILES: dict[str, dict[str, tuple[str, ...]]] = {
    "contactor": {},
    "switch": {
        "relay.on": ("E_BUSY", "board", "board", "board", "board", "board", "E_BUSY", "E_LATCHED", "board"),
    },
    "monitor": dict.fromkeys(_OUTPUT_VERBS, ("E_STATE",) * 9),
}
"""Rows that differ in a profile: `switch` relays feed auxiliary loads, `monitor` has no outputs at all."""

ENERGISING = frozenset(
    {"contactor.close", "inverter.setpoint", "schedule.start", "schedule.resume", "relay.on", "safety.reset_latch"}
)

_BY_ACTION = frozenset({"contactor", "schedule", "alarm", "safety", "config"})
_SWITCHES = frozenset({"pump", "fan", "relay1", "relay2", "relay3", "service"})


def verb_of(command: Command) -> str:
    """The row of the matrix this command belongs to; one that is not in it is unknown."""
    target, body = command.target, command.body
    if target in _BY_ACTION:
        return f"{target}.{body.get('action')}"
    if target in _SWITCHES:
        return f"{target.rstrip('123')}.{'on' if body.get('on') else 'off'}"
    return "inverter.setpoint" if target == "inverter" else target


def judge(turn: Turn, command: Command) -> Refusal | None:
    """None when the command may be done now."""
    verb = verb_of(command)
    row = PROFILES[turn.settings.profile].get(verb) or MATRIX.get(verb)
    if row is None:
        return Refusal("E_SYNTAX", f"{verb[:60]}: no such command; allowed: {', '.join(MATRIX)}")
    if verb in ENERGISING and not command.local and not _window_open(turn):
        return Refusal(
            "E_NOT_ARMED",
            f"energising commands over MQTT need cellguard local arm (energise = {turn.settings.energise})",
        )
    cell = row[COLUMNS.index(turn.state)]
    if cell == A:
        return None
    if cell.startswith("E_"):
        blocked_by = tuple(latch.id for latch in turn.latches) if cell == "E_LATCHED" else ()
        blocked_by = turn.facts.unknown if cell == "E_STALE" else blocked_by
        return Refusal(cell, REASONS[cell].format(state=turn.state.value), blocked_by)
    return CONDITIONS[cell](turn, command)


def _window_open(turn: Turn) -> bool:
    energise = turn.settings.energise
    return energise == "remote" or (energise == "window" and turn.now < turn.watch.window_until)


def _stale(turn: Turn, reason: str = "") -> Refusal | None:
    unknown = turn.facts.unknown
    return Refusal("E_STALE", reason or f"not fresh: {', '.join(unknown)}", unknown) if unknown else None


def _close(turn: Turn, _command: Command) -> Refusal | None:
    settings = turn.settings
    roster = turn.vault.record.roster
    if roster is None or len(roster) != settings.series:
        count = "no module is" if roster is None else f"{len(roster)} modules are"
        return Refusal("E_NOT_COMMISSIONED", f"{count} commissioned, [pack] series = {settings.series}")
    if settings.profile == "contactor" and settings.arduino is None:
        return Refusal("E_STALE", "no [arduino]: nothing could close the contactors")
    if settings.inverter is None and (turn.knows_link or settings.pack_current):
        return Refusal("E_STALE", "no [inverter]: link voltage and current are not known")
    if turn.vault.failed:
        return Refusal("E_STATE", f"the latch file cannot be written: {turn.vault.failed}")
    return _stale(turn)


def _setpoint(turn: Turn, command: Command) -> Refusal | None:
    mode, setpoint = command.body.get("mode"), command.body.get("setpoint")
    inverter = turn.settings.inverter
    if inverter is None:
        return Refusal("E_STALE", "no [inverter] is configured")
    if mode not in MODES or isinstance(setpoint, bool) or not isinstance(setpoint, int | float):
        return Refusal("E_SYNTAX", 'allowed: {"mode": "current" or "power", "setpoint": a number}')
    excess = over_limit(inverter, MODE_UNITS[str(mode)], float(setpoint), volts(turn))
    return Refusal("E_LIMIT", excess) if excess else _blocked(turn, float(setpoint))


def _blocked(turn: Turn, setpoint: float) -> Refusal | None:
    for sign, ids, code in (
        (-1, turn.facts.charge, "E_BLOCKED_CHARGE"),
        (1, turn.facts.discharge, "E_BLOCKED_DISCHARGE"),
    ):
        if setpoint * sign > 0 and ids:
            return Refusal(code, f"blocked by {', '.join(ids)}", ids)
    return None


def _start(turn: Turn, command: Command) -> Refusal | None:
    schedule, inverter = command.schedule, turn.settings.inverter
    if command.trouble or schedule is None:
        return Refusal("E_FILE", command.trouble or "no such schedule file")
    if inverter is None:
        return Refusal("E_STALE", "no [inverter] is configured")
    why = obstacle(schedule, inverter, volts(turn)) or _unfit(turn, schedule, rounds_of(command))
    return Refusal(*why) if why else _alone(turn) or _blocked(turn, schedule.steps[0].setpoint)


def _unfit(turn: Turn, schedule: ScheduleFile, rounds: int) -> tuple[str, str] | None:
    """What speaks against its end conditions or its repetition, as (code, reason)."""
    unknown = unknown_end(schedule, turn.settings, turn.vault.record.roster or ())
    if unknown:
        return "E_FILE", unknown
    if not 1 <= rounds <= MOST_ROUNDS:
        return "E_SYNTAX", f"repeat: a whole number from 1 to {MOST_ROUNDS}"
    short = too_short(schedule, rounds)
    return ("E_LIMIT", short) if short else None


def rounds_of(command: Command) -> int:
    """How often a schedule is to run; 0 for what is no whole number."""
    rounds = command.body.get("repeat", 1)
    return rounds if type(rounds) is int else 0


def _alone(turn: Turn) -> Refusal | None:
    """A schedule that is not autonomous would be paused in the next turn."""
    lost = turn.watch.broker_lost
    if lost is None or turn.settings.autonomous or turn.now - lost < BROKER_PATIENCE_S:
        return None
    return Refusal("E_STATE", f"the broker has been gone for {turn.now - lost:.0f} s and no schedule is autonomous")


def _resume(turn: Turn, _command: Command) -> Refusal | None:
    programme = turn.programme
    if programme.file is None or programme.state not in {"paused", "running"}:
        return Refusal("E_STATE", f"no schedule is paused ({programme.state})")
    return _alone(turn) or _blocked(turn, programme.file.steps[programme.step].setpoint)


def _single(turn: Turn, command: Command) -> Refusal | None:
    others = [n for n in ("relay1", "relay2", "relay3") if n != command.target]
    if any(turn.outputs.switched & RELAYS & OUTPUT_BITS[name] for name in others):
        return Refusal("E_STATE", "one relay at a time in SERVICE: switch the other off first")
    if not turn.inverter_zero():
        return Refusal("E_STATE", "the inverter must read back off first")
    return None


def _board(turn: Turn, _command: Command) -> Refusal | None:
    if turn.settings.arduino is None:
        return Refusal("E_STALE", "no [arduino] is configured")
    return None


def _cool(turn: Turn, _command: Command) -> Refusal | None:
    """Off when hot or unknown is refused, also in the hysteresis below; the five minutes after it are the operator's."""
    needed = turn.facts.heat == HOT or (turn.facts.heat and turn.outputs.cooling)
    return (
        Refusal("E_THERMAL", REASONS["E_THERMAL"].format(state=turn.state.value)) if needed else _board(turn, _command)
    )


def _reset(turn: Turn, command: Command) -> Refusal | None:
    name = str(command.body.get("latch"))
    if name not in {latch.id for latch in turn.latches}:
        held = ", ".join(latch.id for latch in turn.latches)
        return Refusal("E_WRONG_LATCH", f"{name[:64]} is not latched; held: {held}")
    if name.startswith(LOCAL_LATCHES) and not command.local:
        return Refusal("E_LOCAL_ONLY", f"{name}: only cellguard local reset-latch, after a look at the hardware")
    if not turn.all_open():
        return Refusal("E_NOT_CONFIRMED", "the relays do not read back as open")
    since = turn.watch.fine_since
    if since is None or turn.now - since < FINE_BEFORE_RESET_S:
        pressed = ("estop",) if turn.inputs.estop else ()
        ids = (*pressed, *(trip.id for trip in turn.facts.trips), *turn.facts.unknown)
        left = "" if since is None else f"; {FINE_BEFORE_RESET_S - (turn.now - since):.0f} s to go"
        return Refusal("E_DANGER", f"every rule must be fine for {FINE_BEFORE_RESET_S:.0f} s{left}", ids)
    return None


def _known(turn: Turn, command: Command) -> Refusal | None:
    name = str(command.body.get("alarm"))
    if name not in turn.inputs.alarms:
        return Refusal("E_NO_ALARM", f"{name[:64]}: no alarm of that id has been raised")
    return None


def _modules(turn: Turn, _command: Command) -> Refusal | None:
    present = sorted(turn.facts.present)
    if len(present) != turn.settings.series:
        return Refusal("E_NOT_COMMISSIONED", f"modules {present} answer, [pack] series = {turn.settings.series}")
    return None


CONDITIONS: dict[str, Callable[[Turn, Command], Refusal | None]] = {
    "close": _close, "setpoint": _setpoint, "start": _start, "resume": _resume, "single": _single,
    "board": _board, "cool": _cool, "reset": _reset, "modules": _modules,
    "known": _known,
}  # fmt: skip
