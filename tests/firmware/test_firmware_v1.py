"""The lab's old sketch, as ours behaves, and the guard's v1 driver: whatever the timing, no two commands are glued."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.config import Arduino
from edge_agent.guard.codecs.arduino import parse_v1
from edge_agent.guard.devices.arduino import ArduinoV1
from edge_agent.guard.model import Output, OutputOrder

Make = Callable[..., Any]
PINS = Arduino(port="x").pins
COOLING = int(Output.PUMP | Output.FAN)
SETTLED_US = 5_000
"""Pins of one command change within this time, those of the next much later."""


@pytest.fixture
def old(uno: Make) -> Any:
    """The old sketch, after its first line."""
    board = uno("v1")
    board.run(500)
    return board


def test_the_old_sketch_prints_about_once_a_second_what_the_host_understands(old: Any) -> None:
    for channel, counts in enumerate((506, 398, 588)):
        old.adc(channel, counts)
    old.run(5000)
    lines = [parse_v1(line.rstrip(b"\r\n")) for _, line in old.sent]
    assert lines == [(0, 0, 0), *[(506, 398, 588)] * 5]


def test_one_command_at_a_time_is_obeyed(old: Any) -> None:
    old.send(b"5:1&3:1&7:1")
    old.run(3000)
    assert old.high() == {"relay1", "relay2", "fan"}
    old.send(b"5:0&3:0&7:1")
    old.run(3000)
    assert old.high() == {"fan"}


def test_two_commands_that_come_together_switch_a_relay_on_that_both_wanted_off(old: Any) -> None:
    old.send(b"4:0")
    old.send(b"6:0")
    old.run(3000)
    assert old.high() == {"relay3"}


def test_the_old_sketch_holds_its_relays_when_the_host_is_gone_and_needs_the_inverter_s_own_timer(old: Any) -> None:
    old.send(b"5:1&3:1")
    old.run(15_000)
    assert old.high() == {"relay1", "relay2"}


def test_a_command_longer_than_the_sketch_reads_loses_its_end(old: Any) -> None:
    old.send(b"5:0&3:0&4:0&6:0&7:0&5:0&3:0&6:1")
    old.run(2500)
    assert old.high() == set()


@pytest.mark.parametrize(
    ("phase_ms", "lines", "glued"), [(1030, 2, True), (990, 3, False), (1030, 3, False), (1070, 3, False)]
)
def test_after_three_lines_a_command_was_obeyed_but_two_are_not_enough(
    old: Any, phase_ms: int, lines: int, glued: bool
) -> None:
    """The first may have been on the wire already when the command was sent; the second is printed before it is read."""
    old.run(phase_ms - 500)
    for _ in range(2):
        old.send(b"4:0&3:0&5:0&7:0&6:0")
        heard = len(old.sent)
        while len(old.sent) < heard + lines:
            old.run(10)
    old.run(2000)
    assert ("1" in {state for _, _, state in old.changes}) == glued


class Cable:
    """The guard's driver on a pty whose other end is the board in virtual time: what happens does not depend on the machine."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self._end, self._host_end = os.openpty()
        os.set_blocking(self._end, False)
        self.device = ArduinoV1(os.ttyname(self._host_end), pins=PINS)
        self.device.permit_open()
        self.device.open()

    def order(self, mask: int) -> None:
        self.device.order_outputs(OutputOrder(Output(mask), time.monotonic() + 600))

    def pass_time(self, ms: int) -> None:
        """The board runs, then the driver has its turns: one to hear, one to speak."""
        before = len(self.board.sent)
        self.board.run(ms)
        for _, line in self.board.sent[before:]:
            os.write(self._end, line)
        for _ in range(2):
            os.eventfd_write(self.device._wake, 1)
            self.device.read()
        with contextlib.suppress(BlockingIOError):
            self.board.send(os.read(self._end, 4096))

    def close(self) -> None:
        self.device.close()
        os.close(self._end)
        os.close(self._host_end)


@pytest.fixture
def cable(uno: Make) -> Iterator[Cable]:
    """The driver and the old sketch with delays of 0.15 s instead of 1 s."""
    made = Cable(uno("v1-fast"))
    yield made
    made.close()


def settled_masks(board: Any) -> list[int]:
    """The output masks that the pins showed, without what lies between the pins of one command."""
    bits = {pin: bit for bit, pin in enumerate((6, 7, 5, 3, 4))}
    masks, mask, last_us = [], 0, -SETTLED_US
    for at_us, pin, state in board.changes:
        if at_us - last_us > SETTLED_US:
            masks.append(mask)
        mask = mask | 1 << bits[pin] if state == "1" else mask & ~(1 << bits[pin])
        last_us = at_us
    return [*masks, mask]


def ordered_at_random(cable: Cable, chance: random.Random, choices: list[int]) -> set[int]:
    """Orders two by two at random moments, from on top of one another to an idle driver; all masks that were ordered."""
    cable.order(0)
    ordered = {0}
    for _ in range(20):
        for _ in range(chance.choice([1, 4, 60])):
            cable.pass_time(chance.choice([1, 10, 40, 90]))
        for _ in range(2):
            mask = chance.choice(choices)
            ordered.add(mask)
            cable.order(mask)
            cable.pass_time(chance.randrange(1, 60))
    return ordered


@pytest.mark.parametrize("seed", range(3))
def test_mistake_12_whatever_the_timing_the_old_sketch_never_gets_two_commands_glued(cable: Cable, seed: int) -> None:
    chance = random.Random(seed)
    ordered = ordered_at_random(cable, chance, choices := [0, 3, 4, 12, 16, 28, 31])
    shown = settled_masks(cable.board)
    assert set(shown) <= ordered
    assert len(shown) > 5
    cable.order(last := chance.choice(choices))
    for _ in range(150):
        cable.pass_time(20)
    assert settled_masks(cable.board)[-1] == last


def test_mistake_12_no_relay_closes_while_only_pump_and_fan_are_ordered(cable: Cable) -> None:
    ordered_at_random(cable, random.Random(9), [0, 1, 2, 3])
    assert {pin for _, pin, state in cable.board.changes if state == "1"} == {6, 7}


def test_the_driver_switches_the_old_sketch_in_real_time(live_uno: Make, host: Make) -> None:
    board = live_uno("v1-fast")
    driver = host(ArduinoV1(board.path, pins=PINS))
    driver.wait(lambda: "line" in driver.latest, 5, "the first line")
    for mask, names in ((0, set()), (12, {"relay1", "relay2"}), (COOLING, {"pump", "fan"})):
        driver.order(mask)
        driver.wait(lambda names=names: board.look() or board.high() == names, 8, f"{names} to be on")
    assert driver.pins() is None


def test_an_old_sketch_that_was_reset_gets_no_relay_back_before_zero_was_ordered(live_uno: Make, host: Make) -> None:
    board = live_uno("v1-fast", "--reset-on-open", "--boot-loader", "200")
    device = ArduinoV1(board.path, pins=PINS)
    first = host(device)
    first.wait(lambda: "line" in first.latest, 5, "the first line")
    first.order(0)
    first.order(12)
    first.wait(lambda: board.look() or board.high() == {"relay1", "relay2"}, 8, "the relays")
    board.look()
    first.stop()
    board.wait_closed()
    commands = device.counters()["commands"]
    second = host(device)
    second.order(12 | COOLING)
    second.wait(lambda: board.look() or board.high() == {"pump", "fan"}, 8, "the order without its relays")
    second.wait(lambda: device.counters()["commands"] >= commands + device.repeats, 8, "the order to be repeated")
    board.look()
    assert board.high() == {"pump", "fan"}
    assert len(board.resets) == 2
