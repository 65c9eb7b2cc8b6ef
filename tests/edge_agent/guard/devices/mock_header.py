"""A guard on gpiozero's MockFactory, whose pins are pushed from outside: lines `PIN low` or `PIN high` in, `PIN = 0|1` back.

Arguments: edge.toml, the pin with a contact to ground that is closed until it is driven high, and pins of which it says at the
end of the guard what they are then, `PIN input` or `PIN output`.
"""

from __future__ import annotations

import sys
import threading

from gpiozero import Device
from gpiozero.pins.mock import MockPin

from cellguard.main import main


class Contact(MockPin):
    """An input whose pull-up a closed contact to ground overrules."""

    def _set_pull(self, value: str) -> None:
        super()._set_pull(value)
        self.drive_low()


def obey() -> None:
    """Do what stdin says until it ends."""
    factory = Device.pin_factory
    for line in sys.stdin:
        number, _, word = line.strip().partition(" ")
        pin = factory.pin(int(number))
        if word in {"low", "high"}:
            (pin.drive_low if word == "low" else pin.drive_high)()
        say(f"{number} = {int(pin.state)}")


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    config, contact, *pins = sys.argv[1:]
    Device.ensure_pin_factory()
    Device.pin_factory.pin(int(contact), pin_class=Contact)
    threading.Thread(target=obey, daemon=True).start()
    sys.argv = ["cellguard", "edge", "guard", "--config", config]
    try:
        main()
    finally:
        for number in pins:
            say(f"{number} {Device.pin_factory.pin(int(number)).function}")
