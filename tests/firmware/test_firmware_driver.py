"""The guard's own v2 driver and the real sketch on a pty: orders, read-back, arming, resets, the dead-man, noise on the wire."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.guard.devices.arduino import ArduinoV2
from edge_agent.guard.model import RELAYS, NoData, Output, Reading

Make = Callable[..., Any]
CLOSED = int(Output.RELAY1 | Output.RELAY2)
COOLING = int(Output.PUMP | Output.FAN)


def energised(board: Any, driver: Any) -> None:
    """Armed by zero, then relays 1 and 2 closed and read back."""
    driver.wait(lambda: driver.pins() is not None, 5, "the first line")
    driver.order(0)
    driver.wait(lambda: driver.latest["board"].raw[1], 2, "the relays to be armed by zero")
    driver.order(CLOSED)
    driver.wait(lambda: driver.pins() == CLOSED, 2, "the relays to be read back closed")
    board.look()
    assert board.high() == {"relay1", "relay2"}


def test_every_ordered_mask_is_on_the_pins_and_read_back_within_milliseconds(live_uno: Make, host: Make) -> None:
    board = live_uno()
    driver = host(ArduinoV2(board.path))
    energised(board, driver)
    chance = random.Random(4)
    taken_s = []
    for mask in [chance.randrange(32) for _ in range(40)]:
        if mask == driver.pins():
            continue
        ordered_at = driver.order(mask)
        taken_s.append(driver.wait(lambda mask=mask: driver.pins() == mask, 2, f"pins {mask:02X}") - ordered_at)
    board.look()
    counters = driver.counters()
    assert statistics.median(taken_s) < 0.05
    assert counters.get("bad_crc_lines", 0) == counters.get("strange_acknowledgements", 0) == 0
    assert driver.latest["board"].raw[4] == 0


def test_sensors_travel_from_the_pins_to_the_readings(live_uno: Make, host: Make) -> None:
    board = live_uno()
    driver = host(ArduinoV2(board.path))
    board.tell("ground 0")
    for channel, counts in enumerate((506, 398, 588, 77)):
        board.adc(channel, counts)
    driver.wait(
        lambda: "line" in driver.latest and driver.latest["line"].raw[:5] == (506, 398, 588, 77, 0), 3, "the counts"
    )
    temp1, temp2, press, *_ = driver.latest["line"].values
    assert (temp1, temp2) == (pytest.approx(32.9, abs=0.5), pytest.approx(40.2, abs=0.8))
    assert press == pytest.approx((588 / 1024 * 5 - 0.5) / 4 * 150, abs=0.2)
    board.tell("ground 1")
    driver.wait(lambda: driver.latest["line"].raw[4] == 1, 2, "the ground fault")


def test_a_board_that_is_reset_while_energised_stays_open_until_armed_by_zero(live_uno: Make, host: Make) -> None:
    board = live_uno("cellguard", "--boot-loader", "300")
    driver = host(ArduinoV2(board.path))
    energised(board, driver)
    boots = driver.latest["board"].raw[0]
    board.tell("reset")
    driver.wait(lambda: driver.latest["board"].raw[0] == boots + 1, 3, "another boot id")
    for mask in (CLOSED, CLOSED | Output.RELAY3, CLOSED | COOLING):
        driver.order(mask)
        driver.wait(lambda mask=mask: driver.pins() == mask & COOLING, 2, "the order without its relays")
    board.look()
    since_us = board.resets[-1][1]
    assert [
        change for change in board.changes if change[0] > since_us and change[1] in (3, 4, 5) and change[2] == "1"
    ] == []
    energised(board, driver)


def test_opening_the_port_of_an_uno_resets_it_and_nothing_is_sent_before_it_speaks(live_uno: Make, host: Make) -> None:
    board = live_uno("cellguard", "--reset-on-open", "--boot-loader", "1600")
    driver = host(ArduinoV2(board.path))
    started_at = driver.order(COOLING)
    driver.wait(lambda: driver.pins() == COOLING, 8, "the first order to be obeyed")
    first_line_at = next(at for at, arrival in driver.arrivals if isinstance(arrival, Reading))
    board.look()
    assert len(board.resets) == 1
    assert 1.5 < first_line_at - started_at < 3.5
    assert not [arrival for _, arrival in driver.arrivals if isinstance(arrival, NoData)]
    assert driver.latest["board"].raw[4] == 0


@pytest.mark.parametrize("option", [[], ["--reset-on-open"]], ids=["10 µF on RESET", "bare Uno"])
def test_the_boot_id_over_two_opens_tells_whether_the_capacitor_is_fitted(
    live_uno: Make, host: Make, option: list[str]
) -> None:
    board = live_uno("cellguard", *option)
    device = ArduinoV2(board.path)
    boots = []
    for _ in range(2):
        driver = host(device)
        driver.wait(lambda driver=driver: "board" in driver.latest, 3, "the first line")
        boots.append(driver.latest["board"].raw[0])
        board.look()
        driver.stop()
        board.wait_closed()
    assert boots == ([1, 2] if option else [1, 1])


def test_a_host_that_dies_loses_the_relays_to_the_dead_man(live_uno: Make, host: Make) -> None:
    board = live_uno("cellguard", "--speed", "4")
    driver = host(ArduinoV2(board.path))
    energised(board, driver)
    driver.order(CLOSED, valid_s=0.2)
    driver.wait(lambda: driver.pins() == COOLING, 3, "the dead-man")
    armed, held = driver.latest["board"].raw[1:3]
    assert (armed, held) == (0, 1)
    driver.order(CLOSED)
    driver.wait(lambda: driver.pins() == 0, 2, "the order without its relays")
    energised(board, driver)


@pytest.mark.parametrize("rate", ["0.001", "0.01"])
def test_noise_on_the_wire_never_switches_anything_that_was_not_ordered(live_uno: Make, host: Make, rate: str) -> None:
    board = live_uno("cellguard", "--noise", rate, "--speed", "4")
    driver = host(ArduinoV2(board.path))
    driver.wait(lambda: driver.pins() is not None, 5, "the first line")
    chance, pause = random.Random(rate), threading.Event()
    ordered = {0, COOLING}
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        mask = chance.choice([0, 1, 3, 4, 12, 28, 31])
        ordered |= {mask, mask & ~int(RELAYS)}
        driver.order(mask)
        pause.wait(chance.uniform(0.0, 0.05))
    driver.order(0)
    driver.wait(lambda: driver.pins() == 0, 2, "the last order")
    driver.order(CLOSED)
    driver.wait(lambda: driver.pins() == CLOSED, 2, "the relays")
    counters = driver.counters()
    seen = {
        int(arrival.raw[5]) for _, arrival in driver.arrivals if isinstance(arrival, Reading) and arrival.part == "line"
    }
    assert seen <= ordered | {CLOSED}
    assert counters.get("bad_crc_lines", 0) + counters.get("noise_lines", 0) > 0
    assert counters["lines"] > 100
