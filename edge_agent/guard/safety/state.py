"""The supervisor's whole state: frozen, hashable values; times only as instants that are compared with `now`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.guard.model import Level, Mode, Output, State
from edge_agent.guard.safety.interface import Durable, ScheduleFile

NEVER = float("-inf")


class Latch(NamedTuple):
    """What holds LATCHED until a reset names it."""

    id: str
    level: Level


@dataclass(frozen=True, slots=True)
class Phase:
    """Where the supervisor is, and the memory of the step it is in.

    Attributes:
        step, step_since, tries: row of the sequence table, when it began, how often something was tried again.
        why: what led here (ids or sentences); in HOLD what is waited for.
        mark_v: link voltage when the step began. `held_since`: since when the step's condition has held.
        calm, calm_seq, calm_t, calm_sum, calm_zero: the run of consecutive samples of small current so far: how many, the last
            one's number, the first one's time, their sum, whether the inverter read back zero all the while.
    """

    state: State
    since: float
    origin: State = State.BOOT
    step: int = 0
    step_since: float = NEVER
    tries: int = 0
    why: tuple[str, ...] = ()
    mark_v: float | None = None
    held_since: float | None = None
    calm: int = 0
    calm_seq: int = -1
    calm_t: float = NEVER
    calm_sum: float = 0.0
    calm_zero: bool = False


@dataclass(frozen=True, slots=True)
class Drive:
    """What the inverter is told, and why. Setpoints in A or kW by mode, + discharge.

    `manual` holds a leased setpoint until `lease_until`; `charge_a`, `discharge_a` are the limits allowed now (≥ 0).
    """

    mode: Mode = Mode.OFF
    setpoint: float = 0.0
    changed: float = NEVER
    ramped: float = NEVER
    epoch: int = 1
    epoch_at: float = NEVER
    opened: int = 0
    manual_mode: Mode = Mode.OFF
    manual: float = 0.0
    lease_until: float = NEVER
    charge_a: float = 0.0
    discharge_a: float = 0.0
    limited_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the board is told. `mask` is the whole of it; `by` names who, in the order of model.OUTPUT_NAMES.

    `pump`, `fan`: who switched it on by hand, "" for nobody. `switched`: relays held on in SERVICE or profile switch.
    """

    mask: Output = Output.NONE
    changed: float = NEVER
    by: tuple[str, ...] = ("shutdown",) * 5
    pump: str = ""
    fan: str = ""
    switched: Output = Output.NONE
    closer: str = "shutdown"
    cooling: bool = False
    cool_since: float | None = None
    boot: int = 0
    wrong_since: float | None = None


@dataclass(frozen=True, slots=True)
class Programme:
    """The schedule. Elapsed time = `elapsed_s` + (now − `resumed`) while running; `state` as in CONTRACT §4.

    `step` counts from 0 within its `round`, which counts from 0 to `rounds` − 1.
    """

    state: str = "idle"
    file: ScheduleFile | None = None
    elapsed_s: float = 0.0
    resumed: float = NEVER
    step: int = 0
    step_end_s: float = 0.0
    round: int = 0
    rounds: int = 1


class Pending(NamedTuple):
    """An accepted command whose effect is still being waited for."""

    id: str
    target: str
    expects: str
    began: float
    until: float
    wanted: float = 0.0
    mask: int = 0


class LinkWatch(NamedTuple):
    """After opening: the link must fall below `below_v` before `until`, else a main relay is welded."""

    below_v: float
    until: float
    opened: float


@dataclass(frozen=True, slots=True)
class Vault:
    """What is or should be on disk, and the number of the last order to write it."""

    record: Durable = field(default_factory=Durable)
    ticket: int = 0
    written: int = 0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """Slow memories: who may energise until when, how long rules have been fine, how late turns came.

    `unseen`: since when it is asked whether a current flowed when the board opened by itself.
    """

    window_until: float = NEVER
    broker_lost: float | None = None
    fine_since: float | None = None
    overruns: tuple[float, ...] = ()
    late_until: float = NEVER
    link: LinkWatch | None = None
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Everything `step` remembers between turns."""

    phase: Phase
    drive: Drive = field(default_factory=Drive)
    outputs: Outputs = field(default_factory=Outputs)
    programme: Programme = field(default_factory=Programme)
    vault: Vault = field(default_factory=Vault)
    watch: Watch = field(default_factory=Watch)
    latches: tuple[Latch, ...] = ()
    pending: tuple[Pending, ...] = ()
    turned: float = NEVER
