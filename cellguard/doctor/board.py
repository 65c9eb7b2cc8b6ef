"""Checks of the Arduino: which sketch, and whether opening its port resets it, seen by the guard or tried while there is none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient
from cellguard.tolerant import Body, number, table

if TYPE_CHECKING:
    from edge_agent.config import Arduino
    from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2

FIRST_LINE_S = 6.0
LISTEN_S = 3.0
"""A board that is reset by the opening may still send a line of before, then is mute for up to 2 s."""
REST_S = 0.5
"""So that the adapter drops DTR before it raises it again."""
SILENT_S = {"v1": 5.0, "v2": 2.0}
BOOT = 0
"""Place of the boot number among the values of the part `board`: 1 = the first boot id seen."""
BAD_FRAMES = 4
OLD_SKETCH = note(
    "the lab's old sketch (v1): no dead-man, no read-back, not fail-safe",
    'flash firmware/cellguard and set protocol = "v2" (docs/hardware/arduino.md)',
)
_SKETCH = "is the sketch of [arduino] protocol flashed? the old one prints `Ardu_Temp1:…` at 9600 Bd"
_CAPACITOR = (
    "fit 10 µF from RESET to GND: opening the port resets the board and drops its relays (docs/hardware/arduino.md)"
)
CAPACITOR_FAULT = fault("the boot id changed when the port was opened", _CAPACITOR)
CAPACITOR_OK = ok("the boot id stayed the same when the port was opened again")


def firmware(patient: Patient) -> Finding:
    """Which sketch speaks."""
    settings = patient.settings.arduino
    if settings is None:
        return unchecked("no [arduino] in edge.toml")
    if patient.words.trouble:
        return patient.measured.get("arduino-firmware", unchecked("the guard does not answer"))
    words = patient.words
    said, line = words.device("arduino"), table(words.heard("arduino"), "line")
    if said.startswith(("absent", "lost")):
        return fault(f"arduino {said}", "plug the board in, or set [arduino] port (`ls /dev/serial/by-id`)")
    if not line or number(line, "age_s") > SILENT_S[settings.protocol]:
        return fault(f"{settings.port} says nothing that is protocol {settings.protocol}", _SKETCH)
    return OLD_SKETCH if settings.protocol == "v1" else _v2(patient)


def _v2(patient: Patient) -> Finding:
    """Whether lines and commands of protocol v2 arrive whole."""
    words = patient.words
    told = table(words.heard("arduino"), "board").get("values")
    refused = told[BAD_FRAMES] if isinstance(told, list) and len(told) > BAD_FRAMES else 0
    broken = sum(words.counted("arduino").get(name, 0) for name in ("bad_crc_lines", "noise_lines"))
    if refused or broken:
        return note(
            f"sketch v2; {refused:.0f} commands arrived broken, {broken} lines just now",
            "another USB cable, away from the DC cables; does a second program write to the port?",
        )
    return ok("sketch v2, every line and command whole")


def reset_capacitor(patient: Patient) -> Finding:
    """Whether the board keeps running when its port is opened: from the guard's own openings, else from ours."""
    settings = patient.settings.arduino
    if settings is None:
        return unchecked("no [arduino] in edge.toml")
    if settings.protocol == "v1":
        return unchecked("the old sketch has no boot id", "pull-downs and power-off test: docs/hardware/arduino.md")
    if patient.words.trouble:
        return patient.measured.get("reset-capacitor", unchecked("the guard does not answer"))
    return judge_openings(patient.words.counters("arduino"), table(patient.words.heard("arduino"), "board"))


def judge_openings(counters: Body, board: Body) -> Finding:
    """What the guard's own openings of the port show: it never opens it for our sake."""
    opens = int(number(counters, "opens"))
    numbers = board.get("values")
    boots = int(numbers[BOOT]) if isinstance(numbers, list) and numbers else 0
    if opens > 1 and boots == 1:
        return ok(f"one boot id over {opens} openings of the port")
    # the guard only opens it again after a loss, and a board that was unplugged has another boot id anyway
    return unchecked("the guard holds the port", "stop the guard, then run doctor again: it opens the port twice")


def try_board(settings: Arduino) -> dict[str, Finding]:
    """Listen to the board, twice, sending nothing. Only for who knows that no guard runs and no relay is closed."""
    from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2
    from shared.errors import DeviceError

    device: ArduinoV1 | ArduinoV2
    if settings.protocol == "v1":
        device = ArduinoV1(settings.port, settings.sensors, pins=dict(settings.pins.items()))
    else:
        device = ArduinoV2(settings.port, settings.sensors)
    device.permit_open()
    try:
        first = _boot_number(device)
        if first is None:
            return {
                "arduino-firmware": fault(f"{settings.port} says nothing that is protocol {settings.protocol}", _SKETCH)
            }
        if settings.protocol == "v1":
            return {"arduino-firmware": OLD_SKETCH}
        found = {"arduino-firmware": ok(f"sketch v2 on {settings.port}")}
        second = _boot_number(device)
    except DeviceError as error:
        return {
            "arduino-firmware": fault(str(error), "plug the board in, or set [arduino] port (`ls /dev/serial/by-id`)")
        }
    if second is None:
        return found | {"reset-capacitor": fault("mute after its port was opened again", _CAPACITOR)}
    return found | {"reset-capacitor": CAPACITOR_OK if second == first else CAPACITOR_FAULT}


def _boot_number(device: ArduinoV1 | ArduinoV2) -> int | None:
    """Open, listen for LISTEN_S or until the board speaks, close; its last boot number, 0 without one, None for silence."""
    from edge_agent.guard.model import Reading

    device.open()
    found: int | None = None
    began = time.monotonic()
    try:
        while time.monotonic() < began + (LISTEN_S if found is not None else FIRST_LINE_S):
            for arrival in device.read():
                if isinstance(arrival, Reading) and (found is None or arrival.part == "board"):
                    found = int(arrival.raw[BOOT] or 0) if arrival.part == "board" else 0
    finally:
        device.close()
    time.sleep(REST_S)
    return found


def holders(port: str) -> list[str]:
    """Processes that have the port open, as far as we may look."""
    wanted, found = Path(port).resolve(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(handle.resolve() == wanted for handle in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
    return found
