"""The visible table of drivers: what each is called and where it lives, imported only when a rig has one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

DRIVERS = {
    "can": "can_bus.CanBus",
    "inverter": "inverter.Inverter",
    "arduino-v2": "arduino.ArduinoV2",
    "arduino-v1": "arduino.ArduinoV1",
    "gpio": "gpio.Gpio",
}


def driver(name: str) -> Any:  # noqa: ANN401 - each driver's constructor has keys of its own
    """The class of a driver; KeyError for a name that is not in the table."""
    module, _, kind = DRIVERS[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), kind)
