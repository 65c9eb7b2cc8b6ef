"""The numbers of the sketch, of the host's codec and settings, of the simulator and of PROTOCOL.md are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.config import Arduino
from edge_agent.guard.codecs import arduino as codec
from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2
from edge_agent.guard.model import OUTPUT_NAMES, RELAYS, Output
from simulator import arduino_v2 as simulated

FIRMWARE = Path(__file__).parents[2] / "firmware"
HEADER = (FIRMWARE / "cellguard" / "protocol.h").read_text(encoding="utf-8")
PROTOCOL = (FIRMWARE / "PROTOCOL.md").read_text(encoding="utf-8")


def constant(name: str) -> int:
    """A plain number of protocol.h."""
    found = re.search(rf"constexpr uint\d+_t {name} = (0[xX][0-9A-Fa-f]+|\d+);", HEADER)
    assert found, f"protocol.h has no number {name}"
    return int(found[1], 0)


def numbers(name: str) -> list[int]:
    """A list of numbers of protocol.h."""
    found = re.search(rf"constexpr uint\d+_t {name}\[\] = {{([\d, ]+)}};", HEADER)
    assert found, f"protocol.h has no list {name}"
    return [int(number) for number in found[1].split(",")]


@pytest.mark.parametrize(
    ("name", "host", "simulator"),
    [
        ("BAUD", ArduinoV2.baudrate, simulated.BAUDRATE),
        ("LONGEST_LINE", codec.MAX_LINE_BYTES, simulated.LONGEST_LINE),
        ("STATUS_PERIOD_MS", 100, round(1000 * simulated.STATUS_PERIOD_S)),
        ("DEADMAN_MS", round(1000 * Arduino(port="x").deadman_s), round(1000 * simulated.DEADMAN_S)),
        ("FLAG_DEADMAN", codec.DEADMAN_HELD, simulated.DEADMAN_FLAG),
        ("FLAG_WATCHDOG", codec.WATCHDOG_RESET, simulated.WATCHDOG_FLAG),
        ("FLAG_UNARMED", codec.NOT_ARMED, simulated.UNARMED_FLAG),
    ],
)
def test_a_number_is_the_same_in_sketch_host_and_simulator(name: str, host: int, simulator: int) -> None:
    assert constant(name) == host == simulator


@pytest.mark.parametrize("output", OUTPUT_NAMES)
def test_an_output_has_the_same_bit_and_pin_everywhere(output: Output) -> None:
    name = OUTPUT_NAMES[output]
    bit = int(output).bit_length() - 1
    assert constant(name.upper()) == int(output)
    assert simulated.OUTPUTS[bit] == name
    assert numbers("OUTPUT_PINS")[bit] == Arduino(port="x").pins[name]


def test_relays_and_cooling_are_the_same_bits_in_the_simulator() -> None:
    assert int(RELAYS) == simulated.RELAY_BITS
    assert sum(map(int, OUTPUT_NAMES)) == simulated.ALL_BITS


def test_the_page_names_the_pins_of_the_sketch() -> None:
    row = re.search(r"\| pin of the Uno \| (.*) \|", PROTOCOL)
    assert row
    assert [int(pin) for pin in row[1].split(" | ")] == numbers("OUTPUT_PINS")


def test_the_page_names_the_dead_man_the_period_and_the_longest_line() -> None:
    assert f"no valid command for {constant('DEADMAN_MS') / 1000} s (dead-man)" in PROTOCOL
    assert f"every {constant('STATUS_PERIOD_MS')} ms" in PROTOCOL
    assert f"at most {constant('LONGEST_LINE')} characters" in PROTOCOL


def test_the_host_feeds_the_dead_man_many_times_over() -> None:
    assert ArduinoV2.resend_s * 5 < constant("DEADMAN_MS") / 1000


def test_the_old_sketch_has_the_host_s_baud_rate_and_command_length() -> None:
    sketch = (FIRMWARE / "v1" / "v1.ino").read_text(encoding="utf-8")
    assert f"Serial.begin({ArduinoV1.baudrate});" in sketch
    assert f"LONGEST_COMMAND = {codec.MAX_V1_COMMAND};" in sketch
