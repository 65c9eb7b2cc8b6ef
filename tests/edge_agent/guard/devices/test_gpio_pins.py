from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.guard.devices.gpio import Gpio, pin_factory
from edge_agent.guard.model import Output, OutputOrder
from edge_agent.guard.ports import Arrival
from shared.errors import DeviceError

gpiozero = pytest.importorskip("gpiozero")


@pytest.fixture
def factory() -> Iterator[Any]:
    from gpiozero.pins.mock import MockFactory  # noqa: PLC0415 - only where gpiozero is installed

    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


@pytest.fixture
def pins(factory: Any) -> Iterator[Gpio]:
    made = Gpio(pump=18, fan=17, estop_in=23)
    made.open()
    factory.pin(23).drive_low()  # the contact to ground is closed
    yield made
    made.close()
    made.close()


def test_pump_and_fan_follow_the_order_and_relays_are_not_ours(pins: Gpio, factory: Any) -> None:
    for mask, states in ((Output.PUMP, (1, 0)), (Output.FAN | Output.RELAY1, (0, 1)), (Output.NONE, (0, 0))):
        pins.order_outputs(OutputOrder(mask, time.monotonic() + 5.0))
        pins.read()
        assert (factory.pin(18).state, factory.pin(17).state) == states


def test_outputs_start_switched_off(pins: Gpio, factory: Any) -> None:
    assert pins.counters() == {"switched": 0}
    assert (factory.pin(18).state, factory.pin(17).state) == (0, 0)


def test_mistake_25_without_a_valid_order_the_cooling_runs(pins: Gpio, factory: Any) -> None:
    pins.order_outputs(OutputOrder(Output.NONE, time.monotonic() - 1.0))
    pins.read()
    assert (factory.pin(18).state, factory.pin(17).state) == (1, 1)


def test_an_open_contact_or_a_broken_wire_is_an_emergency_stop(
    pins: Gpio, factory: Any, turn: Callable[..., list[Arrival]]
) -> None:
    assert turn(pins, bool)[0].values == (0.0,)
    factory.pin(23).drive_high()
    (pressed,) = turn(pins, bool)
    assert (pressed.source, pressed.part, pressed.raw, pressed.values) == ("gpio", "estop", (1,), (1.0,))


def test_a_steady_contact_is_reported_ten_times_a_second(pins: Gpio, turn: Callable[..., list[Arrival]]) -> None:
    began = time.monotonic()
    turn(pins, lambda found: len(found) >= 4)
    assert 0.2 < time.monotonic() - began < 0.8


@pytest.mark.usefixtures("factory")
def test_a_pin_that_cannot_be_used_is_a_sentence() -> None:
    taken = gpiozero.OutputDevice(18)
    with pytest.raises(DeviceError, match=r"\[gpio\] pins cannot be used"):
        Gpio(pump=18).open()
    taken.close()


def test_pins_jump_to_off_at_the_opening_and_are_inputs_again_after_the_end(factory: Any) -> None:
    before = gpiozero.OutputDevice(18, initial_value=True)
    before.pin.clear_states()
    before.close()
    made = Gpio(pump=18, estop_in=23)
    made.open()
    assert [one.state for one in factory.pin(18).states] == [1, 0]  # whoever drove it before: off from the first moment
    made.order_outputs(OutputOrder(Output.PUMP, time.monotonic() + 5.0))
    made.read()
    assert (factory.pin(18).function, factory.pin(18).state) == ("output", 1)
    made.close()
    assert (factory.pin(18).function, factory.pin(23).function) == ("input", "input")


@pytest.mark.parametrize(("placeholder", "why"), [(True, "an empty placeholder"), (False, "lgpio is not installed")])
def test_a_library_that_is_missing_or_only_a_placeholder_is_named(
    factory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, placeholder: bool, why: str
) -> None:
    assert factory is gpiozero.Device.pin_factory
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)
    if placeholder:
        (tmp_path / "lgpio.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=why):
        Gpio(pump=18).open()
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)


def test_the_factory_that_is_found_is_named(factory: Any) -> None:
    assert pin_factory() == f"gpiozero on {type(factory).__name__}"


@pytest.mark.parametrize("key", ["relay1", "relay2", "relay3", "contactor", "precharge"])
def test_a_contactor_on_the_header_is_refused_with_its_reason(tmp_path: Path, key: str) -> None:
    settings = tmp_path / "edge.toml"
    settings.write_text(f"[gpio]\n{key} = 16\n")
    command = [sys.executable, "-m", "cellguard", "edge", "guard", "--config", str(settings)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 78
    assert f"[gpio] {key}: given 16" in refused.stderr
    assert "never a contactor: the header has no dead-man" in refused.stderr
