from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.guard.codecs.arduino import framed
from edge_agent.guard.devices import arduino_port
from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2
from edge_agent.guard.model import NoData, Output, OutputOrder, Reading
from edge_agent.guard.ports import Arrival, NotYet
from shared.errors import DeviceError

PINS = {"pump": 6, "fan": 7, "relay1": 5, "relay2": 3, "relay3": 4}
V1_LINE = b"Ardu_Temp1:506,Ardu_Temp2:452,Ardu_Press:588\r\n"
COMMAND = re.compile(rb"#C,([0-9a-f]{8}),(\d+),([0-9A-F]{2})\*[0-9A-F]{4}\n")
MAIN = Output.RELAY1 | Output.RELAY2
Turn = Callable[..., list[Arrival]]


def status(boot: str = "1a2b3c4d", *, pins: int = 0, flags: int = 0) -> bytes:
    return framed(f"S,{boot},1000,00000000,0,{pins:02X},{pins:02X},{flags:02X},506,452,588,512,0,0".encode())


def order(mask: Output, seconds: float = 5.0, *, feed: bool = True) -> OutputOrder:
    return OutputOrder(mask, time.monotonic() + seconds, feed)


@pytest.fixture
def board(cable: Any) -> Iterator[ArduinoV2]:
    made = ArduinoV2(cable.port)
    made.permit_open()
    made.open()
    yield made
    made.close()


@pytest.fixture
def old_board(cable: Any) -> Iterator[ArduinoV1]:
    made = ArduinoV1(cable.port, pins=PINS)
    made.permit_open()
    made.open()
    yield made
    made.close()


def masks(sent: bytes) -> list[int]:
    return [int(match[3], 16) for match in COMMAND.finditer(sent)]


def test_the_port_is_not_opened_before_it_is_permitted(cable: Any) -> None:
    made = ArduinoV2(cable.port)
    with pytest.raises(NotYet, match="waiting for zero current"):
        made.open()
    made.permit_open()
    assert "115200" in made.open()
    made.close()


def test_an_absent_board_is_a_sentence_with_what_to_do() -> None:
    made = ArduinoV2("/dev/serial/by-id/nothing")
    made.permit_open()
    with pytest.raises(DeviceError, match="plug the board in"):
        made.open()


def test_a_status_line_gives_a_board_reading_and_then_a_line_reading(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status(pins=9, flags=4))
    first, second = turn(board, bool)
    assert (first.source, first.part, first.values) == ("arduino", "board", (1.0, 0.0, 0.0, 9.0, 0.0))
    assert (second.part, second.values) == ("line", (33.0, 36.0, 88.9, 512.0, 0.0, 9.0))


def test_mistake_20_everything_that_was_written_is_read_in_one_turn(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    for _ in range(40):
        cable.write(status())
    arrivals = turn(board, bool)
    assert len(arrivals) == 80


def test_nothing_is_sent_before_the_board_has_spoken(board: ArduinoV2, cable: Any) -> None:
    board.order_outputs(order(Output.PUMP))
    board.read()
    assert cable.read() == b""


def test_an_order_is_sent_at_once_and_repeated_while_it_is_valid(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status())
    turn(board, bool)
    ordered = time.monotonic()
    board.order_outputs(order(Output.PUMP, 0.9))
    sent, times = b"", []
    while time.monotonic() < ordered + 1.5:
        board.read()
        if new := cable.read():
            sent, times = sent + new, [*times, time.monotonic() - ordered]
    assert times[0] < 0.2
    numbers = [int(match[2]) for match in COMMAND.finditer(sent)]
    assert masks(sent) == [1] * len(numbers)
    assert 3 <= len(numbers) <= 4
    assert times[-1] < 1.2
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({match[1] for match in COMMAND.finditer(sent)}) == 1


def test_an_order_that_must_not_feed_sends_nothing(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status())
    turn(board, bool)
    board.order_outputs(order(Output.NONE, feed=False))
    board.read()
    assert cable.read() == b""


def test_an_order_wakes_a_reading_thread(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status())
    turn(board, bool)
    board.order_outputs(order(Output.NONE))
    board.read()
    cable.read(0.1)
    board.order_outputs(order(Output.FAN))
    began = time.monotonic()
    board.read()
    assert time.monotonic() - began < 0.2
    assert masks(cable.read(0.1)) == [2]


def test_after_a_reset_relays_stay_off_until_zero_was_ordered(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status())
    turn(board, bool)
    board.order_outputs(order(Output.NONE))
    board.read()
    board.order_outputs(order(MAIN))
    board.read()
    assert masks(cable.read(0.1)) == [0, int(MAIN)]
    cable.write(status("ffffffff", flags=4))
    arrivals = turn(board, bool)
    assert arrivals[0].raw[0] == 2
    board.order_outputs(order(MAIN | Output.PUMP))
    board.read()
    assert masks(cable.read(0.1)) == [1]
    board.order_outputs(order(Output.PUMP))
    board.order_outputs(order(MAIN | Output.PUMP))
    board.read()
    assert masks(cable.read(0.1)) == [int(MAIN | Output.PUMP)]


def test_noise_is_counted_and_told_and_the_next_line_is_read(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(b"\x00\xff garbage\n" + status()[:30] + b"\n" + status().replace(b"506", b"507") + status())
    arrivals = turn(board, lambda found: len(found) >= 3)
    assert [type(one) for one in arrivals] == [NoData, Reading, Reading]
    assert arrivals[0].reason == "crc"
    assert (board.counters()["noise_lines"], board.counters()["bad_crc_lines"], board.counters()["lines"]) == (2, 1, 1)


def test_a_board_that_falls_silent_is_reported(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.write(status())
    turn(board, bool)
    (told,) = turn(board, bool, 2.0)
    assert (told.part, told.reason) == ("line", "timeout")


def test_a_pulled_cable_is_a_loss_and_comes_back(board: ArduinoV2, cable: Any, turn: Turn) -> None:
    cable.unplug()
    with pytest.raises(DeviceError):
        turn(board, lambda _: False, 2.0)
    board.close()
    with pytest.raises(DeviceError):
        board.open()
    cable.plug()
    board.open()
    cable.write(status())
    assert turn(board, bool)
    board.close()
    board.close()


def test_mistake_12_two_commands_for_the_old_sketch_are_never_glued(
    old_board: ArduinoV1, cable: Any, turn: Turn
) -> None:
    sent: list[bytes] = []
    for mask in (Output.NONE, MAIN, Output.NONE):
        old_board.order_outputs(order(mask))
        old_board.read()
        assert cable.read() == b"", "not before three lines have passed"
        for _ in range(3):
            cable.write(V1_LINE)
            turn(old_board, bool)
        old_board.read()
        sent.append(cable.read(0.1))
    assert sent == [b"4:0&3:0&5:0&7:0&6:0", b"4:0&3:1&5:1&7:0&6:0", b"4:0&3:0&5:0&7:0&6:0"]


def test_the_old_sketch_gives_sensors_and_no_board_reading(old_board: ArduinoV1, cable: Any, turn: Turn) -> None:
    cable.write(V1_LINE)
    (reading,) = turn(old_board, bool)
    assert (reading.part, reading.values[:3]) == ("line", (33.0, 36.0, 88.9))
    assert reading.bad == ((3, "absent"), (4, "absent"), (5, "absent"))


def test_the_old_sketch_gets_no_relays_after_opening_until_zero_was_ordered(
    old_board: ArduinoV1, cable: Any, turn: Turn
) -> None:
    old_board.order_outputs(order(MAIN | Output.FAN))
    for _ in range(3):
        cable.write(V1_LINE)
        turn(old_board, bool)
    old_board.read()
    assert cable.read(0.1) == b"4:0&3:0&5:0&7:1&6:0"


def test_waiting_for_the_permission_takes_no_longer_than_a_turn(cable: Any) -> None:
    began = time.monotonic()
    with pytest.raises(NotYet):
        ArduinoV1(cable.port, pins=PINS).open()
    assert time.monotonic() - began < arduino_port.PERMIT_WAIT_S + 0.2
