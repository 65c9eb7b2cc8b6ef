"""What every source must do, run by every source."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.guard.model import NoData, Reading
from edge_agent.guard.ports import Arrival, Device
from shared.errors import DeviceError

PLUGGABLE = ("unix", "slcan", "inverter", "arduino_v2", "arduino_v1")
every = pytest.mark.parametrize("rig", [*PLUGGABLE, "virtual"], indirect=True)
pluggable = pytest.mark.parametrize("rig", PLUGGABLE, indirect=True)
LONGEST_TURN_S = 0.9


def collect(rig: Any, done: Callable[[list[Arrival]], object], seconds: float) -> list[Arrival]:
    arrivals: list[Arrival] = []
    deadline = time.monotonic() + seconds
    while not done(arrivals):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; the last arrivals: {arrivals[-3:]}")
        rig.keep()
        arrivals += rig.device.read()
    return arrivals


def delivers(rig: Any, seconds: float = 8.0) -> list[Arrival]:
    """Read until every expected part has arrived."""

    def complete(arrivals: list[Arrival]) -> bool:
        return rig.expected <= {(one.source, one.part) for one in arrivals if type(one) is Reading}

    return collect(rig, complete, seconds)


def reopened(device: Device, seconds: float = 5.0) -> str:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return device.open()
        except DeviceError:
            device.close()
            if time.monotonic() > deadline:
                raise


@every
def test_an_absent_device_is_refused_with_a_sentence_and_can_be_closed(rig: Any) -> None:
    device = rig.absent()
    with pytest.raises(DeviceError) as caught:
        device.open()
    assert len(str(caught.value).split()) >= 3
    assert "\n" not in str(caught.value)
    device.close()
    device.close()


@every
def test_an_open_device_says_what_it_is_delivers_every_part_and_counts(rig: Any) -> None:
    assert all(type(count) is int for count in rig.device.counters().values())
    assert rig.device.open()
    opened = time.monotonic()
    try:
        arrivals = delivers(rig)
    finally:
        rig.device.close()
    readings = [one for one in arrivals if type(one) is Reading]
    assert all(len(one.raw) == len(one.values) for one in readings)
    assert all(0 <= index < len(one.values) and reason for one in readings for index, reason in one.bad)
    assert all(opened - 1.0 <= one.t_mono <= time.monotonic() for one in arrivals), "stamped at reception, monotonic"
    assert all(type(count) is int and count >= 0 for count in rig.device.counters().values())


@every
def test_mistake_01_a_turn_ends_whatever_the_other_side_does(rig: Any) -> None:
    rig.device.open()
    try:
        for _ in range(5):
            rig.keep()
            began = time.monotonic()
            rig.device.read()
            assert time.monotonic() - began < LONGEST_TURN_S
    finally:
        rig.device.close()


@every
def test_closing_twice_and_opening_again_works(rig: Any) -> None:
    for _ in range(2):
        rig.device.open()
        rig.device.close()
        rig.device.close()
    rig.device.open()
    assert delivers(rig)
    rig.device.close()


@pluggable
def test_mistake_07_a_pulled_cable_is_a_loss_and_plugging_it_in_again_is_a_recovery(rig: Any) -> None:
    rig.device.open()
    delivers(rig)
    rig.unplug()
    try:
        with pytest.raises(DeviceError) as caught:
            collect(rig, lambda _: False, 3.0)
        assert "\n" not in str(caught.value)
        rig.device.close()
        with pytest.raises(DeviceError):
            rig.device.open()
        rig.device.close()
    finally:
        rig.plug()
    reopened(rig.device)
    arrivals = delivers(rig)
    rig.device.close()
    assert not [one for one in arrivals if type(one) is NoData and one.part == ""], "only the runner speaks of the link"
