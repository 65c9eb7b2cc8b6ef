"""What the safety core takes and gives: settings, inputs and actions of one turn. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from edge_agent.guard.model import InverterOrder, NoData, Opened, OutputOrder, Reading

Arrival = Reading | NoData | Opened


class SignalInfo(NamedTuple):
    """One signal of a part: physical = raw · scale + offset."""

    name: str
    unit: str
    scale: float
    offset: float


class LimitOverride(NamedTuple):
    """One `[limits.NAME]` of the configuration; None keeps the row's default. Pairs are (low, high)."""

    warning: tuple[float | None, float | None] | float | None = None
    danger: tuple[float | None, float | None] | float | None = None
    hysteresis: float | None = None
    n: int | None = None
    t_on_s: float | None = None
    action: Literal["trip", "warn", "record"] | None = None


@dataclass(frozen=True, slots=True)
class InverterSettings:
    """What the core must know of the inverter."""

    mode: Literal["current", "power"] = "current"
    poll_period_s: float = 0.25
    max_voltage_v: float = 384.0
    min_voltage_v: float = 264.0
    max_charge_a: float = 100.0
    max_discharge_a: float = 100.0
    max_power_kw: float = 30.0
    comm_timer_s: float = 2.0
    lease_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ArduinoSettings:
    """What the core must know of the board."""

    protocol: Literal["v1", "v2"] = "v2"
    sensors: tuple[str, ...] = ("temp1", "temp2", "press")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the core decides by; built once from the configuration by `guard.main`.

    `module_parts`: part → signals of a module, alike for all (`pdo1` → (CMA_Current, …)). `inverter_signals` and
    `arduino_signals` are the lists of the parts `poll` and `line`. `commission_count` is [can] modules when it is a number.
    """

    module_parts: Mapping[str, tuple[SignalInfo, ...]]
    inverter_signals: tuple[SignalInfo, ...]
    arduino_signals: tuple[SignalInfo, ...]
    series: int = 8
    cells: int = 12
    commission_count: int | None = None
    sync_period_s: float = 0.2
    inverter: InverterSettings | None = None
    arduino: ArduinoSettings | None = None
    profile: Literal["contactor", "switch", "monitor"] = "contactor"
    precharge: Literal["measured", "inverter", "timed"] = "measured"
    main_path: bool = True
    pack_current: tuple[str, ...] = ("inverter.current",)
    pack_voltage: str = "sum(modules)"
    link_voltage: str = "inverter.dc_bus_voltage"
    current_noise_a: float = 1.4
    limits: Mapping[str, LimitOverride] = field(default_factory=dict)
    hold_s: float = 10.0
    wait_s: float = 2.5
    ramp_a_per_s: float = 50.0
    limit_rise_a_per_s: float = 0.5
    recover: bool = False
    cooling_on_c: float = 35.0
    energise: Literal["remote", "window", "local"] = "remote"
    autonomous: bool = False


class EndCondition(NamedTuple):
    """A step ends when a new, good sample of SOURCE.SIGNAL is ≥ `limit` (`above`) or ≤ it. `any`: of any module.

    `line`: where it stands in its file, from 1.
    """

    source: str
    signal: str
    above: bool
    limit: float
    line: int

    def __str__(self) -> str:
        """As it is written in a schedule."""
        return f"{self.source}.{self.signal}{'>=' if self.above else '<='}{self.limit:g}"


class ScheduleStep(NamedTuple):
    """Hold `setpoint` for `duration_s`, or until `end` is met; + discharge, in the schedule's unit."""

    duration_s: float
    setpoint: float
    end: EndCondition | None = None


class ScheduleFile(NamedTuple):
    """A schedule as parsed from its CSV. `unit` is `A` or `kW`."""

    name: str
    unit: Literal["A", "kW"]
    steps: tuple[ScheduleStep, ...]


class Command(NamedTuple):
    """A command that link (or the local door) has found well-formed.

    `body` is the command without id, actor and hb. For `schedule` start the loop has read the file: `schedule` is its
    content, or `trouble` says why it cannot be used (answered E_FILE); `reload` likewise for `config`
    reload. `local` marks the local door, which adds the targets `arm` {hours}, `commission` {}, `service` {on}, `status` {}.
    """

    id: str
    target: str
    klass: Literal["S", "A", "E"]
    actor: str
    body: Mapping[str, object]
    local: bool = False
    schedule: ScheduleFile | None = None
    trouble: str = ""
    reload: Reload | None = None


class Reload(NamedTuple):
    """Settings read again for `config reload`, and their fingerprint."""

    settings: Settings
    config: str


class Durable(NamedTuple):
    """What survives a crash: whether contactors may be closed, which latches hold, which modules are commissioned."""

    armed: bool = False
    latches: tuple[str, ...] = ()
    roster: tuple[int, ...] | None = None


class DurableWrite(NamedTuple):
    """Order to the writer thread; `ticket` comes back in `Inputs.written` once it is on disk."""

    ticket: int
    record: Durable


class Inputs(NamedTuple):
    """Everything that arrived since the last turn.

    `broker`: True while link is connected to guard and has the broker; `written`: highest durable ticket that is on disk;
    `write_failed`: a sentence while the writer cannot write.
    """

    arrivals: Sequence[Arrival] = ()
    commands: Sequence[Command] = ()
    broker: bool = False
    written: int = 0
    write_failed: str = ""
    estop_input: bool = False


class Answer(NamedTuple):
    """One `ack` of CONTRACT §4 without `hb` and `ts`."""

    id: str
    target: str
    status: Literal["accepted", "rejected", "done", "failed", "expired"]
    state: str
    code: str | None = None
    reason: str | None = None
    blocked_by: tuple[str, ...] = ()
    readback: Mapping[str, object] | None = None
    took_ms: int | None = None


class Actions(NamedTuple):
    """What the loop must carry out after a turn; every field is attempted even when another fails.

    `outputs` and `inverter` are renewed every turn (they carry the token's end). `states` holds only bodies that changed, by
    topic below the node (`state/safety`, `state/outputs`, `state/schedule`, `alarm/ID`, `degraded`); `events` are bodies with
    `kind`. Times inside are `mono_us` / `since_mono_us`.
    """

    outputs: OutputOrder | None = None
    inverter: InverterOrder | None = None
    answers: tuple[Answer, ...] = ()
    events: tuple[Mapping[str, object], ...] = ()
    states: Mapping[str, Mapping[str, object]] = {}
    durable: DurableWrite | None = None


class SafetyCore(Protocol):
    """The core as the loop sees it. Pure: no clock, no I/O; all state inside, one owner (the loop's thread).

    `edge_agent.guard.safety.core.Core(settings, durable, now)` implements it: it feeds the rule engine with the arrivals, then
    calls the pure `supervisor.step(state, inputs, now)`.
    """

    def turn(self, inputs: Inputs, now: float) -> Actions:
        """One evaluation. `now` is s of CLOCK_MONOTONIC and never goes back. Called at least every 50 ms and on each arrival."""
        ...

    def snapshot(self, now: float) -> Mapping[str, Mapping[str, object]]:
        """All states as in `Actions.states`, for a link that has just connected and for `local status`."""
        ...
