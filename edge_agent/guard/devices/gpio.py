"""Pins of the Pi's own header, and the one door to gpiozero: pump and fan out, emergency stop in."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from edge_agent.guard.model import Output, OutputOrder, Reading
from edge_agent.guard.ports import Arrival
from shared.errors import DeviceError

LGPIO_CALL = "gpiochip_open"
"""What every lgpio offers but the empty placeholder of that name."""
TURN_S = 0.02
REPORT_S = 0.1
COOLING = Output.PUMP | Output.FAN


class Gpio:
    """Device `gpio`. Pins are BCM numbers; None = not fitted. Never a contactor: the header has no dead-man.

    The emergency stop is a normally closed contact to ground: open, by a press or a broken wire, is a stop.
    """

    source = "gpio"

    def __init__(self, *, pump: int | None = None, fan: int | None = None, estop_in: int | None = None) -> None:
        self._numbers = {output: pin for output, pin in ((Output.PUMP, pump), (Output.FAN, fan)) if pin is not None}
        self._estop_number = estop_in
        self._pins: dict[Output, Any] = {}
        self._estop: Any = None
        self._order: OutputOrder | None = None
        self._woken = threading.Event()
        self._reported: tuple[float, float] = (float("-inf"), -1.0)
        self._switched = 0

    def order_outputs(self, order: OutputOrder) -> None:
        """Take over the wanted mask; relays are not ours. Loop thread."""
        before, self._order = self._order, order
        if before is None or before.mask != order.mask:
            self._woken.set()

    def open(self) -> str:
        """Claim the pins; outputs start switched off."""
        pin_factory()
        import gpiozero  # noqa: PLC0415 - only on a Pi that uses its header

        try:
            for output, number in self._numbers.items():
                self._pins[output] = gpiozero.OutputDevice(number, active_high=True, initial_value=False)
            if self._estop_number is not None:
                self._estop = gpiozero.Button(self._estop_number, pull_up=True)
        except (gpiozero.GPIOZeroError, OSError, ValueError, ImportError) as error:
            self.close()
            raise DeviceError(f"[gpio] pins cannot be used: {error}") from error
        names = [f"{(output.name or '').lower()} {number}" for output, number in self._numbers.items()]
        return "gpiozero " + ", ".join([*names, *([f"estop_in {self._estop_number}"] if self._estop else [])])

    def read(self) -> Sequence[Arrival]:
        """One turn: outputs as ordered, without a valid order pump and fan on; the emergency stop's contact."""
        self._woken.wait(TURN_S)
        self._woken.clear()
        now = time.monotonic()
        self._switch(now)
        if self._estop is None:
            return []
        pressed = 0.0 if self._estop.is_pressed else 1.0
        reported_at, reported = self._reported
        if pressed == reported and now < reported_at + REPORT_S:
            return []
        self._reported = (now, pressed)
        return [Reading(self.source, "estop", now, (int(pressed),), (pressed,))]

    def close(self) -> None:
        """Give the pins back."""
        for pin in (*self._pins.values(), *([self._estop] if self._estop else [])):
            pin.close()
        self._pins.clear()
        self._estop = None

    def counters(self) -> dict[str, int]:
        """How often an output was switched."""
        return {"switched": self._switched}

    def _switch(self, now: float) -> None:
        order = self._order
        mask = order.mask if order is not None and now < order.valid_until else COOLING
        for output, pin in self._pins.items():
            if bool(pin.value) != (output in mask):
                pin.value = output in mask
                self._switched += 1


def pin_factory() -> str:
    """Let gpiozero choose what reaches the pins, and say what it is; DeviceError says what is missing."""
    try:
        import gpiozero  # noqa: PLC0415 - only on a Pi that uses its header
    except ImportError as error:
        raise DeviceError(f"[gpio] pins cannot be used: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each library it does not find; what matters is said below
            gpiozero.Device.ensure_pin_factory()
    except (ImportError, OSError, RuntimeError, gpiozero.GPIOZeroError) as error:
        raise DeviceError(f"[gpio] pins cannot be used: {error} ({_lgpio()})") from error
    return f"gpiozero on {type(gpiozero.Device.pin_factory).__name__}"


def _lgpio() -> str:
    """What is wrong with the library that gpiozero reaches the pins with."""
    try:
        lgpio = import_module("lgpio")
    except ImportError:
        return "the library lgpio is not installed here"
    if not hasattr(lgpio, LGPIO_CALL):
        return "the library lgpio here is an empty placeholder from a package index"
    return "lgpio is there, but finds no pins: is this a Raspberry Pi, and the user in the group gpio?"
