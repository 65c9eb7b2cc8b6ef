"""The agent's settings: `edge.toml`, strict, with the lab's rig as default; dangerous or contradictory values are refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.settings import RelativePath, Section, load

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
SensorName = Literal["temp1", "temp2", "press"]
OutputName = Literal["pump", "fan", "relay1", "relay2", "relay3"]
Action = Literal["trip", "warn", "record"]


class Node(Section):
    """Who this agent is and where it keeps its files."""

    site: Name = "lab"
    name: Name = "rig-1"
    state_dir: RelativePath = Path("/var/lib/cellguard")
    runtime_dir: RelativePath = Path("/run/cellguard")


class Tls(Section):
    """PEM files: the CA to trust, and this client's own certificate and key."""

    ca: RelativePath
    cert: RelativePath | None = None
    key: RelativePath | None = None


class Broker(Section):
    """Where to publish. `receipts_from` names the collectors whose receipts may release records."""

    host: str = "192.168.137.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    tls: Tls | None = None
    username: str | None = None
    password_file: RelativePath | None = None
    receipts_from: tuple[Name, ...] = ("pc-1",)


class Pack(Section):
    """How many modules in series, how many cells in each."""

    series: Annotated[int, Field(ge=1, le=15)] = 8
    cells: Annotated[int, Field(ge=1, le=14)] = 12


def _compiles(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        message = f"a regular expression ({error})"
        raise ValueError(message) from error
    if "module" not in groups:
        message = "a regular expression with a group named module, such as BMU(?P<module>\\d\\d)_"
        raise ValueError(message)
    return pattern


class Can(Section):
    """The BMUs' bus. `unix` carries struct can_frame over a datagram socket (simulator); others are python-can's."""

    interface: Name = "socketcan"
    channel: str = "can0"
    bitrate: Literal[125000, 250000, 500000, 1000000] = 500000
    dbc: RelativePath | None = None
    sync_period_s: Annotated[float, Field(ge=0.02, le=2.0)] = 0.2
    group: Annotated[str, AfterValidator(_compiles)] = r"BMU(?P<module>\d\d)_"
    modules: Literal["auto"] | Annotated[int, Field(ge=1, le=15)] = "auto"


class Inverter(Section):
    """The inverter on RS-485. Limits are written to it at start and judged by our own rules too."""

    port: str
    baudrate: Literal[9600, 19200, 38400, 57600, 115200] = 19200
    unit: Annotated[int, Field(ge=1, le=247)] = 2
    poll_period_s: Annotated[float, Field(ge=0.1, le=2.0)] = 0.25
    mode: Literal["current", "power"] = "current"
    max_voltage_v: Annotated[float, Field(gt=0.0, le=1000.0)] = 384.0
    min_voltage_v: Annotated[float, Field(ge=0.0, le=1000.0)] = 264.0
    max_charge_a: Annotated[float, Field(gt=0.0, le=222.0)] = 100.0
    max_discharge_a: Annotated[float, Field(gt=0.0, le=222.0)] = 100.0
    max_power_kw: Annotated[float, Field(gt=0.0, le=60.0)] = 30.0
    comm_timer_s: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    lease_s: Annotated[float, Field(ge=1.0, le=600.0)] = 10.0
    dc_current_scale: Annotated[float, Field(gt=1.0, le=1000.0)] = 52.094

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_voltage_v >= self.max_voltage_v:
            message = f"min_voltage_v {self.min_voltage_v} below max_voltage_v {self.max_voltage_v}"
            raise ValueError(message)
        return self


class Arduino(Section):
    """The board with sensors and relays. `pins` only tells the v1 sketch, v2 knows its own."""

    port: str
    protocol: Literal["v1", "v2"] = "v2"
    sensors: tuple[SensorName, ...] = ("temp1", "temp2", "press")
    pins: Mapping[OutputName, Annotated[int, Field(ge=2, le=13)]] = {
        "pump": 6,
        "fan": 7,
        "relay1": 5,
        "relay2": 3,
        "relay3": 4,
    }
    deadman_s: Annotated[float, Field(ge=3.5, le=3.5)] = 3.5
    accept_no_deadman: bool = False


class Gpio(Section):
    """Optional pins of the Pi's own header, BCM numbers. Never a contactor: the header has no dead-man."""

    never: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("relay1", "relay2", "relay3", "contactor", "precharge"),
        "never a contactor: the header has no dead-man, what it holds closed stays closed when the Pi dies; use the [arduino]",
    )
    pump: Annotated[int, Field(ge=0, le=27)] | None = None
    fan: Annotated[int, Field(ge=0, le=27)] | None = None
    estop_in: Annotated[int, Field(ge=0, le=27)] | None = None


class Signals(Section):
    """Which signal plays which role for the rules."""

    pack_current: tuple[str, ...] = ("inverter.current",)
    pack_voltage: Literal["sum(modules)", "inverter.battery_voltage"] = "sum(modules)"
    link_voltage: Literal["inverter.dc_bus_voltage", "none"] = "inverter.dc_bus_voltage"
    current_noise_a: Annotated[float, Field(ge=0.0, le=20.0)] = 1.4


class Relays(Section):
    """What the relays switch (SAFETY profiles) and how precharge is confirmed."""

    mode: Literal["contactor", "switch", "monitor"] = "contactor"
    precharge: Literal["measured", "inverter", "timed"] = "measured"
    main_path: bool = True


Bounds = tuple[float | None, float | None] | float
LimitName = Literal[
    "cell_voltage", "cell_voltage_fast", "module_voltage", "bus_voltage", "temperature", "temperature_fast", "thermistor",
    "temperature_low", "temperature_rate", "temperature_spread", "cell_spread", "cell_sum", "module_sum", "min_max",
    "current_agree", "current_envelope", "over_current", "over_power", "current_open", "contradiction", "frozen", "pressure",
    "ground_fault", "inverter_fault", "inverter_warning", "overrun",
]  # fmt: skip


class Limit(Section):
    """Overrides of one row of the rule table; what is left out keeps the row's default. A pair is [low, high]."""

    warning: Bounds | None = None
    danger: Bounds | None = None
    hysteresis: NotNegative | None = None
    n: Annotated[int, Field(ge=1, le=100)] | None = None
    t_on_s: Annotated[float, Field(ge=0.0, le=600.0)] | None = None
    action: Action | None = None


class Safety(Section):
    """Times and ramps of the supervisor."""

    hold_s: Annotated[float, Field(ge=1.0, le=12.0)] = 10.0
    wait_s: Annotated[float, Field(gt=2.0, le=3.0)] = 2.5
    ramp_a_per_s: Annotated[float, Field(gt=0.0, le=500.0)] = 50.0
    limit_rise_a_per_s: Annotated[float, Field(gt=0.0, le=50.0)] = 0.5
    recover: bool = False


class Cooling(Section):
    """Pump and fan on at and above this temperature."""

    on_c: Annotated[float, Field(ge=0.0, le=60.0)] = 35.0


class Commands(Section):
    """From where energising commands are taken."""

    energise: Literal["remote", "window", "local"] = "remote"


class ScheduleSettings(Section):
    """Where schedule files lie; `autonomous`: a schedule goes on while the PC is lost."""

    folder: RelativePath = Path("schedules")
    autonomous: bool = False


class SpoolSettings(Section):
    """How much disk unsent records may take."""

    max_mb: Annotated[int, Field(ge=8)] = 2048
    reserved_mb: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.reserved_mb >= self.max_mb:
            message = f"reserved_mb {self.reserved_mb} below max_mb {self.max_mb}"
            raise ValueError(message)
        return self


class Record(Section):
    """How many seconds of samples make one telemetry message."""

    batch_s: Annotated[float, Field(ge=0.1, le=10.0)] = 1.0


class EdgeConfig(Section):
    """The whole of `edge.toml`. Absent [inverter], [arduino], [gpio] mean: not fitted."""

    node: Node = Node()
    mqtt: Broker = Broker()
    pack: Pack = Pack()
    can: Can = Can()
    inverter: Inverter | None = None
    arduino: Arduino | None = None
    gpio: Gpio | None = None
    signals: Signals = Signals()
    relays: Relays = Relays()
    limits: Mapping[LimitName, Limit] = {}
    safety: Safety = Safety()
    cooling: Cooling = Cooling()
    commands: Commands = Commands()
    schedule: ScheduleSettings = ScheduleSettings()
    spool: SpoolSettings = SpoolSettings()
    record: Record = Record()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := contradictions(self):
            raise ValueError("; and ".join(found))
        return self


def contradictions(config: EdgeConfig) -> list[str]:
    """What does not fit together, each as a sentence naming keys and numbers and what is allowed."""
    return [*_relay_contradictions(config), *_deadman_contradictions(config), *_other_contradictions(config)]


def _relay_contradictions(config: EdgeConfig) -> Iterator[str]:
    arduino = config.arduino
    if config.relays.mode == "contactor":
        if arduino is not None and arduino.protocol == "v1" and not arduino.accept_no_deadman:
            yield (
                '[arduino] protocol = "v1" with [relays] mode = "contactor" only with [arduino] accept_no_deadman = true:'
                " the v1 sketch has no read-back and no dead-man"
            )
        if config.signals.link_voltage == "none" and config.relays.precharge == "measured":
            yield '[relays] precharge = "inverter" or "timed" when [signals] link_voltage = "none"'
    if config.relays.mode == "switch" and config.inverter is not None and config.relays.main_path:
        yield '[relays] main_path = false with [relays] mode = "switch" and an [inverter]'


def _deadman_contradictions(config: EdgeConfig) -> Iterator[str]:
    arduino, inverter = config.arduino, config.inverter
    if inverter is None:
        return
    if arduino is not None and inverter.comm_timer_s + 1.0 > arduino.deadman_s:
        yield (
            f"[inverter] comm_timer_s {inverter.comm_timer_s} at most [arduino] deadman_s - 1.0 = {arduino.deadman_s - 1.0}:"
            " the inverter must be at zero before the relays open"
        )
    if config.safety.wait_s <= inverter.comm_timer_s:
        yield f"[safety] wait_s {config.safety.wait_s} above [inverter] comm_timer_s {inverter.comm_timer_s}"


def _other_contradictions(config: EdgeConfig) -> Iterator[str]:
    tls, gpio = config.mqtt.tls, config.gpio
    if isinstance(config.can.modules, int) and config.can.modules != config.pack.series:
        yield f"[can] modules {config.can.modules} equal to [pack] series {config.pack.series}"
    if tls is not None and (tls.cert is None) != (tls.key is None):
        yield "[mqtt.tls] cert and key both, or neither"
    if config.mqtt.password_file is not None and config.mqtt.username is None:
        yield "[mqtt] password_file only together with username"
    if gpio is not None:
        pins = [pin for pin in (gpio.pump, gpio.fan, gpio.estop_in) if pin is not None]
        if len(set(pins)) != len(pins):
            yield f"[gpio] each pin once, given {pins}"
    if config.arduino is not None and len(set(config.arduino.pins.values())) != len(config.arduino.pins):
        yield f"[arduino] pins each pin once, given {dict(config.arduino.pins)}"


def load_edge(path: Path, overlays: Sequence[Path] = ()) -> EdgeConfig:
    """Read `edge.toml` with overlays and environment; raises ConfigError naming every key that is wrong.

    A schedule folder that is not given lies beside the file.
    """
    config = load(path, EdgeConfig, overlays=overlays)
    folder = path.resolve().parent / config.schedule.folder
    return config.model_copy(update={"schedule": config.schedule.model_copy(update={"folder": folder})})


def fingerprint(config: EdgeConfig) -> str:
    """12 hex digits that change with any setting; for `info`."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]
