"""Runs a recorded trip through the guard's core on a virtual clock, and follows what the recording knows and the rules do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

from cellguard.replay.scene import (
    BASE_S,
    FOREVER,
    arrivals,
    as_shown,
    board_of,
    clock,
    command_of,
    start_of,
    supervisor_of,
)
from cellguard.replay.trip_file import Body, TripFile
from edge_agent.guard.model import Mode, Reading, State
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.interface import Command, Durable, Inputs, Settings, SignalInfo
from edge_agent.guard.safety.state import NEVER

TURN_S = 0.05
SAME_TURN_S = 0.001
LATE_S = 0.5
"""A trip this much later than the recorded one is still the same: a row tells when its cycle began, not when it came."""
ESTOP_INPUT = "emergency stop input"
_WRITTEN = 1 << 62
_BY_DATA = frozenset({State.HOLD, State.STOPPING, State.LATCHED})
"""Zero in these states is decided here again, from the data."""
_TOLD = frozenset({"state", "output", "alarm"})


class Moment(NamedTuple):
    """Something that was decided, told or seen; `t_s` from the recorded trip."""

    t_s: float
    body: Body


@dataclass(slots=True)
class Replay:
    """What came of it: everything the core told, the moment of its own trip, and from when on the recording could not follow."""

    began_s: float
    moments: list[Moment] = field(default_factory=list)
    tripped: Moment | None = None
    apart_s: float | None = None


class _Turn(NamedTuple):
    """What goes into the core at once."""

    now: float
    readings: list[Reading]
    events: list[Body]


class Player:
    """One run. `trip` is followed until its end; the core's own decisions are compared by others."""

    def __init__(self, trip: TripFile, settings: Settings) -> None:
        self._trip, self._settings = trip, settings
        self._start = start_of(trip)
        begin = self._start.now if self._start.fresh else clock(trip, trip.rows[0].t_us) if trip.rows else BASE_S
        self._core = Core(settings, Durable(), begin)
        self._on = False
        self._estop = False
        self._poll: Reading | None = None
        self.replay = Replay(self._start.now - BASE_S)

    def run(self) -> Replay:
        """Turn through the whole window. Until the start the rules see the data, while the supervisor is kept where it was."""
        state = supervisor_of(self._trip, self._settings, self._start)
        for turn in _turns(self._trip, self._settings):
            if self._start.fresh and turn.now < self._start.now:
                continue
            if not self._on:
                state = as_shown(state, turn.readings, self._settings)
                self._core.adopt(state)
                self._on = turn.now >= self._start.now
            self._turn(turn)
        return self.replay

    def _turn(self, turn: _Turn) -> None:
        extra = [reading for event in turn.events if (reading := board_of(event, turn.now)) is not None]
        commands: list[Command] = []
        if self._on and not self._apart(turn.now):
            for event in turn.events:
                self._follow(event)
            commands = [command for event in turn.events if (command := command_of(event)) is not None]
        readings = [self._as_ordered(reading, turn.now) for reading in turn.readings]
        inputs = Inputs([*extra, *readings], commands, broker=True, written=_WRITTEN, estop_input=self._estop)
        actions = self._core.turn(inputs, turn.now)
        if self._on:
            self._tell(actions.events, turn.now)

    def _apart(self, now: float) -> bool:
        """Whether the recording has tripped and this run has not: from here on the recorded outputs are another rig's."""
        tripped = self.replay.tripped
        if now <= BASE_S or (tripped is not None and tripped.t_s <= LATE_S):
            return False
        if self.replay.apart_s is None and now > BASE_S + LATE_S:
            self.replay.apart_s = round(now - BASE_S, 3)
        return True

    def _as_ordered(self, reading: Reading, now: float) -> Reading:
        """Once apart, inverter and board are taken to do what this run orders, and the last poll before the trip stands."""
        if reading.source == "inverter" and now <= BASE_S:
            self._poll = reading
        if not self._on or not self._apart(now) or reading.part not in {"poll", "line"}:
            return reading
        state = self._core.state
        if reading.part == "line":
            return _with(reading, self._settings.arduino_signals, {"pins": float(state.outputs.mask)})
        told = {"mode": float(state.drive.mode), "setpoint": state.drive.setpoint}
        stands = self._poll or reading
        return _with(stands._replace(t_mono=reading.t_mono), self._settings.inverter_signals, told)

    def _follow(self, event: Body) -> None:
        """What the supervisor could not know from data alone: where the schedule or a command sent the inverter, the input."""
        if event["kind"] == "state" and ESTOP_INPUT in event.get("why", ()):
            self._estop = True
        if event["kind"] != "output" or event.get("output") != "inverter" or "commanded" not in event:
            return
        by = str(event.get("by", ""))
        if by.upper() in _BY_DATA:
            return
        state = self._core.state
        mode, setpoint = Mode[event["mode"]], float(event["commanded"])
        wanted = by.startswith(("schedule", "setpoint"))
        drive = replace(state.drive, manual_mode=mode, manual=setpoint, lease_until=FOREVER if wanted else NEVER)
        self._core.adopt(replace(state, drive=drive))

    def _tell(self, events: Iterable[Mapping[str, object]], now: float) -> None:
        for event in events:
            if event["kind"] not in _TOLD:
                continue
            moment = Moment(round(now - BASE_S, 3), dict(event))
            self.replay.moments.append(moment)
            if is_trip(event) and self.replay.tripped is None:
                self.replay.tripped = moment


def is_trip(event: Mapping[str, object]) -> bool:
    """Whether this state event is a shutdown that leaves something latched."""
    return (
        event["kind"] == "state"
        and event["to"] == State.STOPPING
        and event["from"] != State.BOOT
        and bool(event.get("latches"))
    )


def _with(reading: Reading, signals: tuple[SignalInfo, ...], told: Mapping[str, float]) -> Reading:
    names = [signal.name for signal in signals]
    values = tuple(told.get(name, value) for name, value in zip(names, reading.values, strict=True))
    return reading._replace(values=values, bad=tuple(b for b in reading.bad if names[b[0]] not in told))


def _turns(trip: TripFile, settings: Settings) -> Iterator[_Turn]:
    """Turns at each arrival and event, and at least every 50 ms in between."""
    items: Iterable[tuple[float, int, Reading | Body]] = chain(
        ((now, 1, reading) for now, reading in arrivals(trip, settings)),
        ((clock(trip, event["ts"]), 0, event) for event in trip.events),
    )
    turn: _Turn | None = None
    for now, _, item in sorted(items, key=lambda one: one[:2]):
        if turn is not None and now - turn.now > SAME_TURN_S:
            yield turn
            for count in range(1, int((now - turn.now) / TURN_S) + 1):
                if now - turn.now - count * TURN_S > SAME_TURN_S:
                    yield _Turn(turn.now + count * TURN_S, [], [])
            turn = None
        turn = turn or _Turn(now, [], [])
        if isinstance(item, Reading):
            turn.readings.append(item)
        else:
            turn.events.append(item)
    if turn is not None:
        yield turn
