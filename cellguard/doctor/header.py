"""The check of the Pi's own header: whether gpiozero finds its pins, and what becomes of them without us."""

from __future__ import annotations

from pathlib import Path

from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient

PULLED_UP = range(9)
"""BCM 0..8 are pulled up from power-on until somebody sets them."""
_PERSIST = ("pinctrl_bcm2835", "pinctrl_rp1")
_PAGE = "(docs/hardware/gpio.md)"


def gpio(patient: Patient) -> Finding:
    """Pins of `[gpio]`: can they be used, and how do they behave at power-on and after a kill."""
    settings, words = patient.settings.gpio, patient.guard
    if settings is None:
        return unchecked("no [gpio] in edge.toml")
    if words is not None and not words.trouble:
        said = words.device("gpio")
        if said.startswith(("absent", "lost")):
            return fault(f"gpio {said}", f"`sudo apt install python3-lgpio`, and a venv that sees it {_PAGE}")
    else:
        from edge_agent.guard.devices.gpio import pin_factory
        from shared.errors import DeviceError

        try:
            said = pin_factory()
        except DeviceError as error:
            return fault(str(error), f"`sudo apt install python3-lgpio`, and a venv that sees it {_PAGE}")
    early = [f"{name} {pin}" for name in ("pump", "fan") if (pin := getattr(settings, name)) in PULLED_UP]
    if early:
        return note(f"{said}; on while the Pi boots: {', '.join(early)}", f"use BCM 9 to 27 for outputs {_PAGE}")
    if any(_persists(driver) for driver in _PERSIST):
        return note(
            f"{said}; this kernel keeps the pins of a killed program driven",
            f"`dtparam=strict_gpiod` in /boot/firmware/config.txt, and 10 kΩ pull-downs {_PAGE}",
        )
    return ok(said)


def _persists(driver: str) -> bool:
    parameter = Path("/sys/module") / driver / "parameters" / "persist_gpio_outputs"
    try:
        return parameter.read_text(encoding="ascii").strip() == "Y"
    except OSError:
        return False
