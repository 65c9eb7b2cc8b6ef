"""The lab's old sketch, as ours behaves, and the guard's v1 driver: whatever the timing, no two commands are glued."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge_agent.config import Arduino
from edge_agent.guard.codecs.arduino import parse_v1
from edge_agent.guard.devices.arduino import ArduinoV1
from edge_agent.guard.model import RELAYS, Output

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


def driven_at_random(board: Any, driver: Any, seed: int, choices: list[int]) -> set[int]:
    """Order masks at random moments for some seconds, then a last one that must come true; all masks that were ordered."""
    chance, pause = random.Random(seed), threading.Event()
    ordered = {0}
    driver.order(0)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        mask = chance.choice(choices)
        ordered.add(mask)
        driver.order(mask)
        pause.wait(chance.choice([0.0, 0.01, 0.05, 0.2, 0.6]) * chance.random())
    last = choices[seed % len(choices)]
    driver.order(last)
    driver.wait(lambda: board.look() or settled_masks(board)[-1] == last, 3, f"the last order {last:02X}")
    return ordered


@pytest.mark.parametrize(
    "choices",
    [[0, 1, 2, 3], [0, 3, 4, 12, 16, 28, 31]],
    ids=["pump and fan only: no relay may ever close", "every output"],
)
def test_whatever_the_timing_the_driver_never_lets_two_commands_be_glued(
    live_uno: Make, host: Make, choices: list[int]
) -> None:
    boards = [live_uno("v1-fast", "--speed", "4") for _ in range(3)]
    drivers = [host(ArduinoV1(board.path, pins=PINS)) for board in boards]
    with ThreadPoolExecutor() as pool:
        runs = pool.map(driven_at_random, boards, drivers, range(len(boards)), [choices] * len(boards))
        ordered = set().union(*runs)
    print({b.path: (d.counters(), len(settled_masks(b)), [m for m in settled_masks(b) if m not in ordered]) for b, d in zip(boards, drivers)})
    shown = [mask for board in boards for mask in settled_masks(board)]
    assert set(shown) <= ordered
    assert len(shown) > 20
    if not any(mask & RELAYS for mask in choices):
        assert not any(change[1] in (3, 4, 5) and change[2] == "1" for board in boards for change in board.changes)


def test_an_old_sketch_that_was_reset_gets_no_relay_back_before_zero_was_ordered(live_uno: Make, host: Make) -> None:
    board = live_uno("v1-fast", "--reset-on-open", "--boot-loader", "200")
    device = ArduinoV1(board.path, pins=PINS)
    first = host(device)
    first.order(0)
    first.order(12)
    first.wait(lambda: board.look() or board.high() == {"relay1", "relay2"}, 3, "the relays")
    first.stop()
    second = host(device)
    second.order(12 | COOLING)
    second.wait(lambda: board.look() or board.high() == {"pump", "fan"}, 3, "the order without its relays")
    second.wait(lambda: device.counters()["commands"] > first.device.repeats + 3, 3, "more commands")
    assert board.high() == {"pump", "fan"}
    assert len(board.resets) == 2
