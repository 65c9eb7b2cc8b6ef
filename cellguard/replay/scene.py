"""From the file of a trip to what a core needs: its settings, its state when the window begins, and its arrivals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cellguard.replay.trip_file import Body, Row, TripFile
from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import Bus, core_settings
from edge_agent.guard.model import Mode, Output, Reading, State
from edge_agent.guard.safety.interface import Command, Durable, Settings, SignalInfo
from edge_agent.guard.safety.state import Drive, Outputs, Phase, Supervisor, Watch
from edge_agent.guard.safety.supervisor import initial
from shared.errors import CellguardError, ConfigError
from shared.settings import over

BASE_S = 1000.0
"""The replay's clock when the recorded trip was decided; everything else lies around it."""
WARM_UP_S = 3.0
"""So long the rules see data before the supervisor is put into the state it was in."""
FOREVER = 1e9
_STEADY = frozenset({State.STANDBY, State.READY, State.RUN, State.HOLD, State.LATCHED, State.SERVICE})
_ARMED = frozenset({State.READY, State.RUN, State.HOLD})
_ABSENT = frozenset({"stale", "never", "absent"})
_FOLLOWED = frozenset({"inverter", "schedule", "config", "status"})
"""Commands that need not be given again: the inverter's goals are recorded as such."""


class Start(NamedTuple):
    """When the supervisor begins, in which state, entered when; `fresh` when the guard itself was started then."""

    now: float
    state: State
    since: float
    fresh: bool


def clock(trip: TripFile, t_us: int) -> float:
    """The replay's time of a recorded one."""
    return BASE_S + (t_us - trip.ts) / 1e6


def settings_of(trip: TripFile, where: str, other: Path | None = None) -> Settings:
    """The core's settings as recorded, or with what another file says instead; raises ConfigError."""
    config = over(trip.head["config"], where, EdgeConfig, overlays=() if other is None else (other,))
    parts: dict[str, list[SignalInfo]] = {}
    for name, entry in trip.head["catalog"].get("module", {}).items():
        try:
            signal = SignalInfo(name, entry["unit"], entry["scale"], entry["offset"])
            parts.setdefault(entry["part"], []).append(signal)
        except (LookupError, TypeError) as error:
            raise ConfigError(f"{where}: catalog: {name}", str(entry)[:60], "part, unit, scale and offset") from error
    bus = Bus({}, {part: tuple(signals) for part, signals in parts.items()}, "", ())
    return core_settings(config, bus, where if other is None else str(other))


def start_of(trip: TripFile) -> Start:
    """A moment in the window from which the supervisor can be followed; raises CellguardError when there is none.

    The state that it tripped in, entered long enough ago that the rules know what the guard knew; else the guard's own start; else
    an earlier steady state.
    """
    before = [event for event in trip.events if event["kind"] == "state" and event["ts"] <= trip.ts]
    first = clock(trip, trip.rows[0].t_us) if trip.rows else BASE_S
    if before and before[-1]["from"] in _STEADY:
        since = clock(trip, before[-1]["ts"]) - float(before[-1]["after_s"])
        if since + WARM_UP_S < BASE_S:
            return Start(max(first, since) + WARM_UP_S, State(before[-1]["from"]), since, fresh=False)
    boots = [event for event in before if event["from"] == State.BOOT]
    if boots:
        now = clock(trip, boots[-1]["ts"]) - float(boots[-1]["after_s"])
        return Start(max(now, first), State.BOOT, now, fresh=True)
    for event in before[:-1]:
        if event["to"] in _STEADY:
            now = clock(trip, event["ts"])
            return Start(max(now, first + WARM_UP_S), State(event["to"]), now, fresh=False)
    message = "the recording begins in the middle of a sequence that led to the trip: there is nothing to begin from"
    raise CellguardError(message)


def supervisor_of(trip: TripFile, settings: Settings, start: Start) -> Supervisor:
    """The supervisor's state at the start, as far as the records tell it."""
    modules = trip.head["info"].get("modules")
    roster = tuple(modules) if isinstance(modules, list) else None
    state = initial(settings, Durable(armed=start.state in _ARMED, roster=roster), start.now)
    if start.fresh:
        return state
    inverter = _last_before(trip, "inverter", start.now)
    pins = Output(int(_last_before(trip, "arduino", start.now).get("pins", 0)))
    drive = Drive(
        mode=Mode(int(inverter.get("mode", 0))),
        setpoint=inverter.get("setpoint", 0.0),
        changed=start.now,
        ramped=start.now,
    )
    if start.state is State.RUN:
        mode, goal = _goal_before(trip, start.now) or (drive.mode, drive.setpoint)
        drive = replace(drive, manual_mode=mode, manual=goal, lease_until=FOREVER)
    outputs = Outputs(
        mask=pins,
        changed=start.now - 1.0,
        by=("recorded",) * 5,
        pump="recorded" if pins & Output.PUMP else "",
        fan="recorded" if pins & Output.FAN else "",
        boot=int(_board_before(trip)["boot"]),
        closer="recorded",
    )
    return replace(
        state,
        phase=Phase(start.state, start.since),
        drive=drive,
        outputs=outputs,
        latches=(),
        watch=Watch(window_until=FOREVER),
        turned=start.now,
    )


def _last_before(trip: TripFile, source: str, now: float) -> Mapping[str, float]:
    found: Mapping[str, float] = {}
    for row in trip.rows:
        if row.source == source and (not found or clock(trip, row.t_us) <= now):
            found = row.values
    return found


def as_shown(state: Supervisor, readings: Iterable[Reading], settings: Settings) -> Supervisor:
    """The same with the orders that the inverter shows, so that nothing seems refused while the rules warm up."""
    for reading in readings:
        if reading.part == "poll":
            names = [signal.name for signal in settings.inverter_signals]
            shown = dict(zip(names, reading.values, strict=True))
            mode, setpoint = shown.get("mode"), shown.get("setpoint")
            if mode is not None and setpoint is not None:
                state = replace(state, drive=replace(state.drive, mode=Mode(int(mode)), setpoint=setpoint))
    return state


def _goal_before(trip: TripFile, now: float) -> tuple[Mode, float] | None:
    """Where the inverter was last ordered to go; it may still be on its ramp."""
    for event in reversed(trip.events):
        ordered = event["kind"] == "output" and event.get("output") == "inverter" and "commanded" in event
        if ordered and clock(trip, event["ts"]) <= now:
            return Mode[event["mode"]], float(event["commanded"])
    return None


def _board_before(trip: TripFile) -> Body:
    """The board's own state before the first recorded change of it."""
    for event in trip.events:
        if event["kind"] == "output" and event.get("output") == "board" and isinstance(event.get("before"), dict):
            before: Body = event["before"]
            return before
    return {"boot": 1, "armed": 1, "held": 0}


def arrivals(trip: TripFile, settings: Settings) -> Iterator[tuple[float, Reading]]:
    """Every recorded row as the readings it was made of, each SYNC before its answers."""
    cycle_us, cycle = -1, 0
    layouts = _layouts(settings)
    now = clock(trip, trip.rows[0].t_us) if trip.rows else BASE_S
    yield now, _board(_board_before(trip), now)
    for row in trip.rows:
        now = clock(trip, row.t_us)
        if row.source.startswith("module-") and row.t_us > cycle_us:
            cycle_us, cycle = row.t_us, cycle + 1
            yield now, Reading("can", "sync", now, (cycle,), (float(cycle),))
        for part, signals in layouts.get("module" if row.source.startswith("module-") else row.source, {}).items():
            reading = _reading(row, part, signals, now)
            if reading is not None:
                yield now, reading


def _layouts(settings: Settings) -> dict[str, Mapping[str, tuple[SignalInfo, ...]]]:
    return {
        "module": settings.module_parts,
        "inverter": {"poll": settings.inverter_signals},
        "arduino": {"line": settings.arduino_signals},
    }


def _reading(row: Row, part: str, signals: tuple[SignalInfo, ...], now: float) -> Reading | None:
    """One part of a row; None when it did not arrive."""
    values = tuple(row.values.get(signal.name) for signal in signals)
    bad = tuple((i, row.bad.get(s.name, "invalid")) for i, s in enumerate(signals) if values[i] is None)
    if len(bad) == len(values) and all(reason in _ABSENT or signals[i].name not in row.bad for i, reason in bad):
        return None
    raw = tuple(
        None if value is None else round((value - signal.offset) / signal.scale)
        for value, signal in zip(values, signals, strict=True)
    )
    return Reading(row.source, part, now, raw, values, bad)


def _board(told: Body, now: float) -> Reading:
    raw = (int(told["boot"]), int(told["armed"]), int(told["held"]))
    return Reading("arduino", "board", now, raw, tuple(map(float, raw)))


def board_of(event: Body, now: float) -> Reading | None:
    """The board's own state as an event told it; None for any other event."""
    return _board(event, now) if event["kind"] == "output" and event.get("output") == "board" else None


def command_of(event: Body) -> Command | None:
    """The command that this event is the first answer to; None when there is nothing to do again."""
    if event["kind"] != "command" or event.get("status") != "accepted" or event.get("target") in _FOLLOWED:
        return None
    body: Mapping[str, Any] = event.get("command", {})
    return Command(str(event["id"]), str(event["target"]), "S", str(event.get("actor", "")), body, local=True)
