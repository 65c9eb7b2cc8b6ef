from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_v2 import BoardV2
from simulator.profiles import PROFILES

Make = Callable[..., Any]
Line = Callable[[str], bytes]
SESSION = "0badcafe"


def status(rig: Any) -> list[str]:
    """Fields of the newest status line."""
    return rig.lines[-1].decode().strip("#").split("*")[0].split(",")


def test_a_status_line_comes_ten_times_a_second_with_its_crc(bench: Make, arduino_frame: Line) -> None:
    rig = bench()
    rig.run(1.05)
    assert len(rig.lines) == 11
    for line in rig.lines:
        body = line.decode()[1:].split("*")[0]
        assert line + b"\n" == arduino_frame(body)
        assert len(body.split(",")) == 14
        assert len(line) < 96


def test_the_status_carries_boot_uptime_masks_and_counts(bench: Make) -> None:
    rig = bench()
    rig.rig.inputs.pins.update(temp1=1023, press=0)
    rig.rig.inputs.ground_fault = 1
    rig.run(0.505)
    fields = status(rig)
    assert fields[0] == "S"
    assert fields[1] == rig.rig.board.boot
    assert int(fields[2]) == pytest.approx(500, abs=6)
    assert fields[3:8] == ["00000000", "0", "00", "00", "04"]
    assert fields[8:] == ["1023", "589", "0", "512", "1", "0"]


def test_a_command_is_acknowledged_at_once(bench: Make) -> None:
    rig = bench()
    rig.run(0.12)
    count = len(rig.lines)
    rig.command(0x03)
    rig.run(0.005)
    assert len(rig.lines) == count + 1
    assert status(rig)[3:8] == [SESSION, "1", "03", "03", "00"]
    assert rig.rig.plant.pump
    assert rig.rig.plant.fan


def test_relays_are_armed_by_zero_after_a_reset(bench: Make) -> None:
    rig = bench()
    rig.command(0x1D)
    rig.run(0.1)
    assert status(rig)[5:8] == ["01", "01", "04"]
    rig.command(0x01)
    rig.command(0x1D)
    rig.run(0.1)
    assert status(rig)[5:8] == ["1D", "1D", "00"]


def test_a_change_of_session_disarms_and_opens_the_relays(bench: Make) -> None:
    rig = bench()
    rig.command(0x00)
    rig.command(0x0C)
    rig.run(0.1)
    assert rig.rig.plant.closed
    rig.command(0x0C, session="feedbeef")
    rig.run(0.1)
    assert not rig.rig.plant.closed
    assert status(rig)[5:8] == ["00", "00", "04"]


def test_the_deadman_opens_the_relays_and_cools_three_and_a_half_seconds_after_the_last_command(bench: Make) -> None:
    rig = bench()
    rig.command(0x00)
    rig.command(0x0C)
    fed = rig.now
    rig.run(3.4)
    assert rig.rig.plant.closed
    rig.run(0.2)
    assert not rig.rig.plant.closed
    assert status(rig)[5:8] == ["03", "03", "05"]
    opened = rig.changes("relay.1")[-1]
    assert (opened.value, opened.by) == (0, "deadman")
    assert opened.t_mono == pytest.approx(fed + 3.5 + 0.012, abs=0.01)
    assert rig.changes("pump")[-1].by == "deadman"


def test_after_the_deadman_an_old_mask_closes_nothing_until_zero_was_obeyed(bench: Make) -> None:
    rig = bench()
    rig.command(0x00)
    rig.command(0x0C)
    rig.run(4.0)
    rig.command(0x0C)
    rig.run(0.1)
    assert status(rig)[5:8] == ["00", "00", "04"]
    rig.command(0x00)
    rig.command(0x0C)
    rig.run(0.1)
    assert rig.rig.plant.closed


def test_a_board_that_is_never_commanded_starts_cooling_by_its_deadman(bench: Make) -> None:
    rig = bench()
    rig.run(3.4)
    assert not rig.rig.plant.pump
    rig.run(0.2)
    assert rig.rig.plant.pump
    assert rig.rig.plant.fan


def test_a_reset_drops_everything_and_is_mute_for_1600_ms_with_a_new_boot_id(bench: Make) -> None:
    rig = bench()
    rig.command(0x00)
    rig.command(0x0F)
    rig.run(0.2)
    boot, count = rig.rig.board.boot, len(rig.lines)
    rig.rig.reset_arduino()
    rig.command(0x0F)
    rig.run(1.595)
    assert len(rig.lines) == count
    assert not rig.rig.plant.closed
    assert not rig.rig.plant.pump
    rig.run(0.1)
    assert rig.rig.board.boot != boot
    assert status(rig)[1] == rig.rig.board.boot
    assert status(rig)[3:8] == ["00000000", "0", "00", "00", "04"]
    assert rig.changes("arduino.boot")[-1].by == "reset"
    assert rig.rig.board.counted["swallowed"] > 0


@pytest.mark.parametrize(
    "body",
    [
        "C,0badcafe,1,20",
        "C,0badcafe,1,FF",
        "C,0BADCAFE,1,00",
        "C,0badcafe,0,00",
        "C,0badcafe,4294967296,00",
        "C,0badcafe,-1,00",
        "C,0badcafe,1,0",
        "C,0badcafe,1,00,",
        "C, 0badcafe,1,00",
        "S,0badcafe,1,00",
        "C,0badcafe,1,001",
        "",
    ],
)
def test_a_malformed_command_is_counted_and_feeds_nothing(bench: Make, arduino_frame: Line, body: str) -> None:
    rig = bench()
    rig.rig.arduino.feed(arduino_frame(body), rig.now)
    rig.run(0.1)
    assert rig.rig.board.counted["refused"] == 1
    assert rig.rig.board.counted["obeyed"] == 0
    assert status(rig)[-1] == "1"


def test_a_replay_is_refused_and_does_not_feed_the_deadman(bench: Make, arduino_frame: Line) -> None:
    rig = bench()
    old = arduino_frame(f"C,{SESSION},5,03")
    rig.rig.arduino.feed(old, rig.now)
    for _ in range(8):
        rig.run(0.5)
        rig.rig.arduino.feed(old, rig.now)
    rig.run(0.01)
    assert rig.rig.board.counted["refused"] == 8
    assert status(rig)[7] == "05"


def test_a_wrong_crc_lower_case_crc_and_overlong_lines_are_refused_and_the_next_is_heard(
    bench: Make, arduino_frame: Line
) -> None:
    rig = bench()
    good = arduino_frame(f"C,{SESSION},1,01")
    refused = [good[:-2] + b"0\n", good.replace(b"*", b"**"), b"x" * 500 + b"\n", b"#" + b"0" * 94 + b"*FFFF\n"]
    rig.rig.arduino.feed(b"".join(refused), rig.now)
    assert rig.rig.board.counted["refused"] == 4
    rig.rig.arduino.feed(good.replace(b"\n", b"\r\n"), rig.now)
    assert rig.rig.board.counted["obeyed"] == 1


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_no_bytes_break_the_board_or_move_a_relay(chunks: list[bytes]) -> None:
    moved: list[str] = []
    board = BoardV2(ArduinoInputs(PROFILES["ideal"]), lambda name, _on, _by: moved.append(name), random.Random(1), 0.0)
    for n, chunk in enumerate(chunks):
        board.feed(chunk, n * 0.01)
        board.take(n * 0.01)
    assert moved == []
    assert len(board._line) < 600


def test_opening_the_port_resets_the_board_and_leaves_it_mute(
    served: Make, eventually: Make, arduino_frame: Line
) -> None:
    rig = served()
    first = rig.control.get("arduino.boot")
    with serial.Serial(rig.links["arduino"]["port"], 115_200, timeout=4) as port:
        line = port.readline()
        second = rig.control.get("arduino.boot")
        assert second != first
        assert line.startswith(f"#S,{second},".encode())
        port.write(arduino_frame(f"C,{SESSION},1,03"))
        eventually(lambda: rig.control.get("pump") and rig.control.get("fan"))
        assert rig.control(fault="arduino.unplug") == {"ok": True}
    assert rig.control(heal="arduino.unplug") == {"ok": True}
    rows = rig.control(truth=True, since=0)["truth"]
    opened = next(row["t_mono"] for row in rows if row["what"] == "arduino.boot" and row["value"] == second)
    spoke = next(row["t_mono"] for row in rig.control(trace="serial", since=0)["trace"] if row["from"] == "device")
    assert 1.59 < spoke - opened < 1.8
    with serial.Serial(rig.links["arduino"]["port"], 115_200, timeout=4) as port:
        eventually(lambda: rig.control.get("arduino.boot") != second)
        assert not rig.control.get("pump")
        assert port.is_open


def test_a_silent_board_hears_and_obeys(bench: Make) -> None:
    rig = bench()
    rig.run(0.05)
    count = len(rig.lines)
    rig.rig.faults.inject("arduino.silence", {})
    rig.run_fed(1.0, 0x01)
    assert len(rig.lines) == count
    assert rig.rig.plant.pump


def test_a_raw_line_replaces_the_boards_until_healed_or_as_often_as_asked(bench: Make) -> None:
    rig = bench()
    rig.run(0.05)
    rig.rig.faults.inject("arduino.raw", {"line": "#S,half"})
    rig.run(0.3)
    assert rig.lines[-3:] == [b"#S,half"] * 3
    rig.rig.faults.heal("arduino.raw", {})
    rig.run(0.1)
    assert rig.lines[-1].startswith(b"#S," + rig.rig.board.boot.encode())
    rig.rig.faults.inject("arduino.raw", {"line": "once", "times": 1})
    rig.run(0.3)
    assert [line == b"once" for line in rig.lines[-3:]] == [True, False, False]


def test_noise_adds_stray_bytes_at_its_rate(bench: Make) -> None:
    quiet, noisy = bench(), bench()
    noisy.rig.faults.inject("arduino.noise", {"rate": 50.0})
    quiet.run(10.0)
    noisy.run(10.0)
    assert len(noisy.printed) - len(quiet.printed) == pytest.approx(500, abs=80)


def test_a_reset_fault_is_an_instant_and_needs_no_healing(bench: Make) -> None:
    rig = bench()
    boot = rig.rig.board.boot
    rig.rig.faults.inject("arduino.reset", {})
    assert rig.rig.board.boot != boot
    assert not rig.rig.faults.has("arduino.reset")
    assert rig.changes("arduino.boot")[-1].by == "fault"
