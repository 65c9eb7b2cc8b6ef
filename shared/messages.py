"""Strict models of what travels over MQTT: commands, answers and receipts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Actor = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Heartbeat = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}:[0-9]{1,12}$")]
ScheduleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.csv$")]
CommandClass = Literal["S", "A", "E"]

MAX_COMMAND_BYTES = 2048


class Wire(BaseModel):
    """Strict, closed, without NaN: what is not described here is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Command(Wire):
    """What every command may carry: an id (one is given when missing), who sent it, the heartbeat it answers to."""

    id: Identifier | None = None
    actor: Actor | None = None
    hb: Heartbeat | None = None


class Estop(Command):
    """`cmd/estop`: any payload stops, this model only reads an id and actor where they are readable."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Switch(Command):
    """`cmd/pump`, `cmd/fan`, `cmd/relay1..3`."""

    on: bool


class Contactor(Command):
    """`cmd/contactor`."""

    action: Literal["open", "close"]


class Setpoint(Command):
    """`cmd/inverter`: a lease, + discharge; A in mode current, kW in mode power."""

    mode: Literal["current", "power"]
    setpoint: Annotated[float, Field(ge=-1000.0, le=1000.0)]


class Schedule(Command):
    """`cmd/schedule`; `file` and `repeat` (how often the list runs, once when missing) only with start."""

    action: Literal["start", "stop", "pause", "resume"]
    file: ScheduleName | None = None
    repeat: Annotated[int, Field(ge=1, le=1000)] | None = None


class AlarmAck(Command):
    """`cmd/alarm`."""

    action: Literal["ack"]
    alarm: Identifier


class SafetyReset(Command):
    """`cmd/safety`."""

    action: Literal["reset_latch"]
    latch: Identifier


class ConfigReload(Command):
    """`cmd/config`."""

    action: Literal["reload"]


COMMANDS: dict[str, type[Command]] = {
    "estop": Estop,
    "contactor": Contactor,
    "schedule": Schedule,
    "pump": Switch,
    "fan": Switch,
    "relay1": Switch,
    "relay2": Switch,
    "relay3": Switch,
    "inverter": Setpoint,
    "alarm": AlarmAck,
    "safety": SafetyReset,
    "config": ConfigReload,
}
"""Target (the last level of `cmd/{target}`) → its model."""

_CLASSES: dict[tuple[str, object], CommandClass] = {
    ("contactor", "open"): "S",
    ("schedule", "stop"): "S",
    ("schedule", "pause"): "A",
    ("pump", True): "S",
    ("fan", True): "S",
    ("pump", False): "A",
    ("fan", False): "A",
    ("relay1", False): "S",
    ("relay2", False): "S",
    ("relay3", False): "S",
    ("alarm", "ack"): "A",
}


def command_class(target: str, command: Command) -> CommandClass:
    """S (towards safe), A or E (energising): everything that is not named safe or harmless needs E's proof."""
    if target == "estop":
        return "S"
    return _CLASSES.get((target, getattr(command, "on", getattr(command, "action", None))), "E")


class Ack(Wire):
    """`ack`: the one answer to a command, followed by done or failed with measured evidence when it was accepted."""

    id: str
    target: str
    status: Literal["accepted", "rejected", "done", "failed", "expired"]
    code: str | None = None
    reason: str | None = None
    blocked_by: tuple[str, ...] = ()
    state: str | None = None
    hb: str | None = None
    readback: dict[str, bool | float | str | None] | None = None
    took_ms: int | None = None
    first: dict[str, object] | None = None
    ts: int


class Receipt(Wire):
    """`receipt`: these message numbers are stored (or set aside with a reason) and may leave the spool. Ranges are inclusive."""

    collector: Identifier
    spool: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    lane: Literal["tele", "event"]
    ranges: list[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]] = []
    quarantined: list[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], str]] = []
