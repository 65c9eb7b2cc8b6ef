"""The table of the move: which old key becomes which setting, what is said about it, and why the rest is left out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cellguard.toml import Value

MODBUS, ARDUINO, CAN, PC = "ModbusHandler", "ArduinoHandler", "PcanConnection", "PCConnection"
HANDLERS = {
    MODBUS: "[inverter] is left out: without it the agent has no inverter",
    ARDUINO: "[arduino] is left out: without it the agent has no relays, no pump and no sensors of its own",
    CAN: "[can], [pack] and [limits] keep their defaults",
    PC: "[mqtt] host keeps its default",
}
"""The four objects of the old file, and what is said when one is missing."""

PORT = "/dev/serial/by-id/PUT-THE-NAME-HERE"


def number(value: object) -> float:
    """A finite number, also one written as text; raises ValueError saying what is allowed."""
    if isinstance(value, str):
        try:
            value = float(value) if "." in value or "e" in value.lower() else int(value)
        except ValueError:
            raise ValueError("a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number")
    return value


def _size(value: object) -> float:
    return abs(number(value))


def _whole(value: object) -> int:
    if int(found := number(value)) != found:
        raise ValueError("a whole number")
    return int(found)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("text")
    return value


def _pair(low: object, high: object) -> Value:
    return [number(low), number(high)]


def _mode(mode: object, current: object, power: object) -> str:
    if mode not in (current, power) or current == power:
        raise ValueError("currentControlMode or powerControlMode")
    return "current" if mode == current else "power"


def _interface(value: object) -> str:
    return "socketcan" if (found := _text(value)) == "pcan" else found


def _channel(value: object) -> str:
    return "can0" if (found := _text(value)).upper().startswith("PCAN") else found


class Row(NamedTuple):
    """One setting. Without `make` it is always `otherwise`; else that is what stands where the old value is of no use.

    `says` stands behind the old value in a comment; CHECK in it asks for a person's eye.
    """

    handler: str
    old: tuple[str, ...]
    section: str
    key: str
    make: Callable[..., Value] | None
    says: str = "kept"
    otherwise: Value | None = None


def _always(handler: str, old: tuple[str, ...], place: tuple[str, str], value: Value, says: str) -> Row:
    return Row(handler, old, *place, None, says, value)


_OUTSIDE = "kept; the manual's range is {} V, the lab wrote {} for its pack"
_BY_NUMBER = (
    "CHECK: a port's number changes when another adapter is plugged in first; use its name in /dev/serial/by-id"
)
_SWAPPED = (
    "CHECK: in the old sketch pump is 7 and fan 6, in the lab's settings 6 and 7: switch the pump on and look which one turns;"
    ' only protocol = "v1" reads pins, firmware v2 knows its own'
)
_OLD_LIMIT = "kept; the old check missed a value exactly on the limit, this one does not"

ROWS = (
    _always("", (), ("node", "site"), "lab", "new: the first half of every topic"),
    _always("", (), ("node", "name"), "rig-1", "CHECK: new: this rig's name, that of its certificate"),
    Row(PC, ("ip_addre",), "mqtt", "host", _text, "kept: the PC, where the broker now runs"),
    _always(PC, ("ip_port",), ("mqtt", "port"), 8883, "CHANGED: MQTT over TLS instead of a bare TCP connection"),
    _always("", (), ("mqtt.tls", "ca"), "certs/ca.crt", "CHECK: new: made on the PC with `cellguard certs`"),
    _always("", (), ("mqtt.tls", "cert"), "certs/rig-1.crt", "its name is [node] name"),
    _always("", (), ("mqtt.tls", "key"), "certs/rig-1.key", "0640, root:cellguard"),
    _always("", (), ("pack", "series"), 8, "CHECK: not in the old file: how many modules are in series"),
    Row(CAN, ("cellVoltageNum",), "pack", "cells", _whole, "cells in each module; the old loop left the last one out"),
    Row(CAN, ("bustype",), "can", "interface", _interface, "the PEAK adapter is driven by the kernel as SocketCAN"),
    Row(CAN, ("channel",), "can", "channel", _channel, "kept, or can0 for a PCAN name"),
    Row(MODBUS, ("USB_Port",), "inverter", "port", _text, _BY_NUMBER, PORT),
    Row(MODBUS, ("slaveAddress",), "inverter", "unit", _whole),
    Row(MODBUS, ("ControlMode", "currentControlMode", "powerControlMode"), "inverter", "mode", _mode),
    Row(MODBUS, ("max_vol",), "inverter", "max_voltage_v", number, _OUTSIDE.format("400..840", 384)),
    Row(MODBUS, ("min_vol",), "inverter", "min_voltage_v", number, _OUTSIDE.format("270..400", 264)),
    Row(MODBUS, ("max_crt",), "inverter", "max_charge_a", _size, "kept, without the sign"),
    Row(MODBUS, ("max_dis_crt",), "inverter", "max_discharge_a", _size),
    Row(MODBUS, ("max_power",), "inverter", "max_power_kw", _size),
    _always(
        MODBUS, ("heartBeatRate",), ("inverter", "comm_timer_s"), 2.0,
        "CHANGED, was dangerous: tenths of a second, 333 means that the inverter goes on for 33.3 s after the Pi is gone",
    ),
    Row(MODBUS, ("current_scale",), "inverter", "dc_current_scale", number, "kept: counts per A of register 30267"),
    Row(ARDUINO, ("USB_Port",), "arduino", "port", _text, _BY_NUMBER, PORT),
    _always(
        ARDUINO, ("port_rate",), ("arduino", "protocol"), "v2",
        "CHECK: flash firmware v2 first (docs/hardware/arduino.md). The old sketch has no dead-man and no read-back, and its"
        " glued commands could switch a relay on; v2 has its own baud rate",
    ),
    Row(ARDUINO, ("pumpPIN",), "arduino.pins", "pump", _whole, _SWAPPED, 6),
    Row(ARDUINO, ("FanPIN",), "arduino.pins", "fan", _whole, _SWAPPED, 7),
    *(Row(ARDUINO, (f"Relay{n}PIN",), "arduino.pins", f"relay{n}", _whole, "kept", pin) for n, pin in ((1, 5), (2, 3), (3, 4))),
    Row(CAN, ("Cell_Voltage_Low_Warning", "Cell_Voltage_High_Warning"), "limits.cell_voltage", "warning", _pair, _OLD_LIMIT),
    Row(CAN, ("Cell_Voltage_Low_Dangerous", "Cell_Voltage_High_Dangerous"), "limits.cell_voltage", "danger", _pair, _OLD_LIMIT),
    Row(CAN, ("CMA_Voltage_Low_Warning", "CMA_Voltage_High_Warning"), "limits.module_voltage", "warning", _pair),
    Row(CAN, ("CMA_Voltage_Low_Dangerous", "CMA_Voltage_High_Dangerous"), "limits.module_voltage", "danger", _pair),
    Row(MODBUS, ("volLowWarning", "volHighWarning"), "limits.bus_voltage", "warning", _pair),
    Row(MODBUS, ("volLowDangerous", "volHighDangerous"), "limits.bus_voltage", "danger", _pair),
    Row(CAN, ("CMA_Temp_Dangerous",), "limits.temperature", "danger", number),
    _always(
        MODBUS, ("currentVal", "powerValue"), ("safety", "recover"), value=False,
        says="CHANGED, was dangerous: after a voltage warning the old program drove the pack back by itself; a person decides now",
    ),
    Row(
        CAN, ("CMA_Temp_Warning",), "cooling", "on_c", number,
        "kept as what it did: pump and fan on. The temperature warning stays at its default of 40 °C",
    ),
)  # fmt: skip

_DRIVEN = "the inverter's driver has its own table"
_RUNTIME = "was a variable of the old program, no setting"

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    MODBUS: {
        "currentControlMode": "only named what ControlMode may be",
        "powerControlMode": "only named what ControlMode may be",
        "variance_current": "each step of connecting has its own bounds (docs/states.md)",
        "variance_power": "each step of connecting has its own bounds (docs/states.md)",
        "variance_voltage": "each step of connecting has its own bounds (docs/states.md)",
        "intervalCount": "the inverter is polled every [inverter] poll_period_s",
        "controlValueFile": "CHECK: put the file into [schedule] folder, judge it with `cellguard schedule check`, start it with"
        " `cellguard send schedule`; it runs once, by its own clock, and its unit must be that of the mode",
        "label_list": "`cellguard export --wide` names its own columns",
    },
    ARDUINO: {},
    CAN: {
        "CMA_Temp_security": "cooling ends by itself, 5 minutes after 3 °C below [cooling] on_c",
        "exitNum": "a silent bus is judged by the age of its values; the guard does not end",
    },
    PC: {"errorTimes": _RUNTIME, "isError": _RUNTIME, "recurTimes": _RUNTIME},
}  # fmt: skip
"""Known keys without a setting, and why."""

DRIVEN: Mapping[str, float] = {
    "current_mode": 2, "power_mode": 1, "voltage_mode": 4, "voltage_scale": 32.767, "power_scale": 218.44,
    "security_code": 41024, "Heartbeat": 41025, "K_op_mode": 41026, "Op_mode_setpoint": 41027, "bat_max_volt": 41028,
    "bat_min_volt": 41029, "bat_max_chrg_crt": 41030, "bat_max_dischrg_crt": 41031, "bat_max_chrg_power": 41032,
    "epcl_remote_volt": 30263, "epcl_dc_link_volt": 30265, "epcl_dc_link_pwr": 30266, "epc1_dc_link_crnt": 30267,
}  # fmt: skip
"""Registers, scales and modes of the ModbusHandler: the driver's own numbers, which no setting changes."""


def why_left_out(handler: str, key: str, value: object) -> str | None:
    """Why a key has no setting; None for a key that is not known at all."""
    if handler == MODBUS and key in DRIVEN:
        same = value == DRIVEN[key]
        return (
            f"{_DRIVEN}, with the same number"
            if same
            else f"CHECK: {_DRIVEN}, with {DRIVEN[key]:g}: is it this inverter?"
        )
    if isinstance(value, Sequence) and not value and handler == CAN:
        return _RUNTIME
    return LEFT_OUT.get(handler, {}).get(key)
