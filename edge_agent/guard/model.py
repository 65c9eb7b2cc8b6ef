"""The guard's vocabulary: readings, qualities, levels, states, orders. Values only, no behaviour beyond naming."""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum
from typing import NamedTuple


class Quality(IntEnum):
    """How much a sample may be believed."""

    GOOD = 0
    INVALID = 1
    STALE = 2
    NEVER = 3
    NOT_POPULATED = 4


class Reading(NamedTuple):
    """One arrival of one part of one source, decoded by a codec, enqueued by a device thread.

    Attributes:
        source: `module-03`, `inverter`, `arduino`, or `can` (part `sync`: a SYNC was sent at `t_mono`; raw = (cycle,)).
        part: `pdo1`…`pdo8` of a module, `poll` of the inverter, `line` of the Arduino, `sync`.
        t_mono: s of CLOCK_MONOTONIC at reception.
        raw: counts as received, in the order of the part's signal list; None where a multiplexed signal is absent.
        values: physical values in the same order.
        bad: (index, reason of shared.ipc.REASONS) of values that must not be believed; most readings have none.
    """

    source: str
    part: str
    t_mono: float
    raw: tuple[int | float | None, ...]
    values: tuple[float | None, ...]
    bad: tuple[tuple[int, str], ...] = ()


class NoData(NamedTuple):
    """The absence of an expected arrival, with its reason; it never moves a rule towards OK.

    `part` is "" when the whole source's link is meant. `reason`: `absent` (cannot be opened), `lost` (was open, is gone),
    `timeout`, or one of shared.ipc.REASONS (`wrong_length`, `crc`, `duplicate`, …). `detail` is for people.
    """

    source: str
    part: str
    t_mono: float
    reason: str
    detail: str = ""


class Opened(NamedTuple):
    """A device's link was opened (again). `identity` is what it says of itself, for `info`."""

    source: str
    t_mono: float
    identity: str = ""


class Level(IntEnum):
    """Severity of a rule or alarm."""

    OK = 0
    WARNING = 1
    DANGER = 2
    FAULT = 3
    CRITICAL = 4


class State(StrEnum):
    """States of the supervisor."""

    BOOT = "BOOT"
    STANDBY = "STANDBY"
    CONNECTING = "CONNECTING"
    READY = "READY"
    RUN = "RUN"
    HOLD = "HOLD"
    STOPPING = "STOPPING"
    LATCHED = "LATCHED"
    SERVICE = "SERVICE"


class Output(IntFlag):
    """The whole output mask, bits as in firmware/PROTOCOL.md."""

    NONE = 0
    PUMP = 1
    FAN = 2
    RELAY1 = 4
    RELAY2 = 8
    RELAY3 = 16


RELAYS = Output.RELAY1 | Output.RELAY2 | Output.RELAY3
OUTPUT_NAMES = {
    Output.PUMP: "pump",
    Output.FAN: "fan",
    Output.RELAY1: "relay1",
    Output.RELAY2: "relay2",
    Output.RELAY3: "relay3",
}


class Mode(IntEnum):
    """Operating mode of the inverter, register 41026."""

    OFF = 0
    POWER = 1
    CURRENT = 2


class OutputOrder(NamedTuple):
    """The whole wanted mask for the actuator of the outputs, valid until `valid_until` (s, CLOCK_MONOTONIC).

    After `valid_until` the actuator sends nothing more: the board's dead-man does the rest. `feed` is False in BOOT:
    then nothing is sent either.
    """

    mask: Output
    valid_until: float
    feed: bool = True


class InverterOrder(NamedTuple):
    """What the inverter shall do, valid until `valid_until` (s, CLOCK_MONOTONIC); after it the RTU line falls silent.

    `setpoint` in A (CURRENT) or kW (POWER), + discharge. A changed `mode` is written as setpoint 0 → mode → setpoint, each read
    back. `epoch` rises when everything must be written again although nothing changed (after BOOT, a fault, a timer trip).
    """

    mode: Mode
    setpoint: float
    valid_until: float
    epoch: int = 0
