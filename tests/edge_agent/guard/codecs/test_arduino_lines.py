from __future__ import annotations

import binascii

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guard.codecs import arduino
from edge_agent.guard.codecs.arduino_sensors import PRESSURE, THERMISTOR, Converted
from edge_agent.guard.model import Output
from shared.errors import WireError
from shared.ipc import REASONS
from shared.signals import ARDUINO

BODY = b"S,1a2b3c4d,123456,0011aabb,7,09,09,04,506,452,588,512,0,3"
SENSORS = ("temp1", "temp2", "press")
PINS = {"pump": 6, "fan": 7, "relay1": 5, "relay2": 3, "relay3": 4}


def test_a_status_line_gives_every_field() -> None:
    status = arduino.parse_status(arduino.framed(BODY).strip())
    assert status == ("1a2b3c4d", 123456, "0011aabb", 7, 9, 9, 4, (506, 452, 588, 512), 0, 3)


def test_the_crc_is_ccitt_false() -> None:
    assert arduino.framed(b"123456789") == b"#123456789*29B1\n"


def test_a_command_is_one_framed_line_with_the_whole_mask() -> None:
    line = arduino.command("0011aabb", 12, Output.PUMP | Output.RELAY2)
    body = b"C,0011aabb,12,09"
    assert line == b"#%s*%04X\n" % (body, binascii.crc_hqx(body, 0xFFFF))


def test_the_longest_command_fits_a_line() -> None:
    assert len(arduino.command("ffffffff", 2**32 - 1, Output(31))) <= arduino.MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"506", b"1024"),
        (b",09,09", b",29,09"),
        (b",09,09", b",09,A0"),
        (b",0,3", b",2,3"),
        (b"S,", b"T,"),
        (b",3", b",65536"),
        (b",3", b",3,4"),
    ],
)
def test_a_field_that_cannot_be_is_refused_although_the_crc_is_right(old: bytes, new: bytes) -> None:
    with pytest.raises(WireError, match="form"):
        arduino.parse_status(arduino.framed(BODY.replace(old, new, 1)).strip())


def test_a_wrong_check_sum_is_named_as_such() -> None:
    with pytest.raises(WireError, match=r"\Acrc"):
        arduino.parse_status(b"#" + BODY + b"*0000")


@settings(deadline=None)
@given(st.integers(0, len(BODY) + 4), st.integers(1, 255))
def test_a_corrupted_status_line_is_never_taken(place: int, flip: int) -> None:
    line = bytearray(arduino.framed(BODY).strip())
    line[place] ^= flip
    with pytest.raises(WireError):
        arduino.parse_status(bytes(line))


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_noise_is_refused_by_both_protocols(line: bytes) -> None:
    for parse in (arduino.parse_status, arduino.parse_v1):
        with pytest.raises(WireError):
            parse(line)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=30))
def test_lines_come_out_the_same_however_the_bytes_are_cut(chunks: list[bytes]) -> None:
    cut, whole = arduino.Lines(), arduino.Lines()
    lines = [line for chunk in chunks for line in cut.feed(chunk)]
    assert lines == whole.feed(b"".join(chunks))
    assert cut.counted["too_long_lines"] == whole.counted["too_long_lines"]


def test_a_line_that_never_ends_is_thrown_away_counted_and_does_not_grow() -> None:
    lines = arduino.Lines()
    for _ in range(1000):
        assert lines.feed(b"x" * 100) == []
    assert lines.feed(b"\nnext\r\n") == [b"next"]
    assert lines.counted["too_long_lines"] == 1


def test_a_status_becomes_a_board_and_a_line_reading_in_the_catalog_order() -> None:
    status = arduino.parse_status(arduino.framed(BODY).strip())
    board = arduino.board_reading(status, 2, 5.0)
    line = arduino.line_reading(status, SENSORS, 5.0)
    assert (board.part, board.values) == ("board", (2.0, 0.0, 0.0, 9.0, 3.0))
    assert (line.part, line.bad) == ("line", ())
    assert dict(zip((signal.name for signal in ARDUINO), line.values, strict=True)) == {
        "temp1": 33.0, "temp2": 36.0, "press": 88.9, "current_adc": 512.0, "ground_fault": 0.0, "pins": 9.0
    }  # fmt: skip
    assert line.raw == (506, 452, 588, 512, 0, 9)


def test_a_sensor_that_is_not_fitted_is_absent_not_wrong() -> None:
    status = arduino.parse_status(arduino.framed(BODY).strip())
    assert arduino.line_reading(status, ("temp1",), 5.0).bad == ((1, "absent"), (2, "absent"))


def test_a_line_of_the_old_sketch_has_no_pins_and_no_inputs() -> None:
    reading = arduino.line_reading_v1(arduino.parse_v1(b"Ardu_Temp1:398,Ardu_Temp2:374,Ardu_Press:381"), SENSORS, 1.0)
    assert reading.values == (40.0, 42.0, 51.0, None, None, None)
    assert reading.bad == ((3, "absent"), (4, "absent"), (5, "absent"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Ardu_Temp1:1024,Ardu_Temp2:1,Ardu_Press:1",
        b"Ardu_Temp1:1,Ardu_Temp2:1",
        b"Ardu_Temp1:1,Ardu_Temp2:1,Ardu_Press:1,",
    ],
)
def test_a_line_the_old_sketch_cannot_print_is_refused(line: bytes) -> None:
    with pytest.raises(WireError):
        arduino.parse_v1(line)


def test_a_v1_command_is_whole_with_relays_first() -> None:
    assert arduino.command_v1(Output.PUMP | Output.RELAY1, PINS) == b"4:0&3:0&5:1&7:0&6:1"


def test_a_v1_command_the_sketch_could_not_read_whole_is_refused() -> None:
    with pytest.raises(WireError, match="30"):
        arduino.command_v1(Output.NONE, dict.fromkeys(PINS, 1234))


@pytest.mark.parametrize(("count", "celsius"), [(506, 33.0), (398, 40.0), (452, 36.0), (374, 42.0)])
def test_the_thermistor_table_is_interpolated_the_right_way_round(count: int, celsius: float) -> None:
    assert THERMISTOR[count] == (celsius, "")


@pytest.mark.parametrize("table", [THERMISTOR, PRESSURE])
@pytest.mark.parametrize("count", [0, 4, 1019, 1023])
def test_mistake_23_an_open_or_shorted_sensor_has_no_value(table: tuple[Converted, ...], count: int) -> None:
    assert table[count] == (None, "open_sensor")


@pytest.mark.parametrize(("count", "value"), [(92, None), (93, 0.0), (512, 75.0), (931, 150.0), (932, None)])
def test_mistake_23_a_broken_pressure_wire_is_not_zero(count: int, value: float | None) -> None:
    assert PRESSURE[count] == (value, "" if value is not None else "open_sensor")


def test_the_thermistor_falls_with_rising_counts_and_gives_only_known_reasons() -> None:
    believed = [value for value, _ in THERMISTOR if value is not None]
    assert believed == sorted(believed, reverse=True)
    assert -40 <= min(believed) <= max(believed) <= 140
    assert {reason for _, reason in THERMISTOR + PRESSURE} - {""} <= set(REASONS)
