from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.guard.devices.gpio import Gpio
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
