from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import serial
from hypothesis import given
from hypothesis import strategies as st

from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_v1 import BoardV1
from simulator.profiles import PROFILES

Make = Callable[..., Any]


def v1(bench: Make) -> Any:
    return bench(arduino_protocol="v1")


def test_it_prints_the_three_counts_about_once_a_second(bench: Make) -> None:
    rig = v1(bench)
    rig.run(5.05)
    assert len(rig.lines) == 6
    assert all(re.fullmatch(rb"Ardu_Temp1:589,Ardu_Temp2:589,Ardu_Press:512\r", line) for line in rig.lines)


def test_mistake_12_two_commands_written_together_switch_a_relay_on(bench: Make) -> None:
    rig = v1(bench)
    rig.run(0.5)
    rig.rig.arduino.feed(b"4:0", rig.now)
    rig.rig.arduino.feed(b"6:0", rig.now)
    rig.run(3.0)
    assert rig.rig.board.pins == 1 << 4
    assert rig.rig.plant.contacts[3].closed


def test_one_whole_command_between_two_lines_is_obeyed(bench: Make) -> None:
    rig = v1(bench)
    rig.run(0.5)
    rig.rig.arduino.feed(b"5:1&3:1&6:1&7:1", rig.now)
    rig.run(2.5)
    assert rig.rig.plant.closed
    assert rig.rig.plant.pump
    assert rig.rig.plant.fan
    rig.rig.arduino.feed(b"5:0", rig.now)
    rig.run(2.5)
    assert not rig.rig.plant.closed


def test_a_line_takes_up_to_two_seconds_when_a_command_came(bench: Make) -> None:
    rig = v1(bench)
    rig.run(0.5)
    rig.rig.arduino.feed(b"6:1", rig.now)
    rig.run(5.0)
    assert len(rig.lines) == 5


def test_there_is_no_deadman(bench: Make) -> None:
    rig = v1(bench)
    rig.rig.arduino.feed(b"5:1&3:1", rig.now)
    rig.run(60.0, step_s=0.05)
    assert rig.rig.plant.closed


def test_more_than_thirty_characters_are_cut_and_the_rest_read_next_time(bench: Make) -> None:
    rig = v1(bench)
    rig.rig.arduino.feed(b"13:0&13:0&13:0&13:0&13:0&13:0&6:1", rig.now)
    rig.run(0.5)
    assert not rig.rig.plant.pump
    rig.run(3.0)
    assert rig.rig.plant.pump


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_no_bytes_break_the_sketch(chunks: list[bytes]) -> None:
    board = BoardV1(ArduinoInputs(PROFILES["ideal"]), lambda _name, _on, _by: None, random.Random(1), 0.0)
    for n, chunk in enumerate(chunks):
        board.feed(chunk, n * 0.2)
        board.take(n * 0.2)
    assert len(board._uart) <= 64


def test_opening_the_port_resets_it(served: Make) -> None:
    rig = served(arduino_protocol="v1")
    with serial.Serial(rig.links["arduino"]["port"], 9_600, timeout=4) as port:
        assert port.readline() == b"Ardu_Temp1:589,Ardu_Temp2:589,Ardu_Press:512\r\n"
        assert rig.control.get("arduino.protocol") == "v1"
        whats = [row["what"] for row in rig.control(truth=True, since=0)["truth"]]
        assert whats.count("arduino.boot") == 2
