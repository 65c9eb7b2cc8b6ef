"""The real sketch on the simulated ATmega328P in virtual time: inputs, outputs, refusals, dead-man, watchdog, resets."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from edge_agent.guard.codecs.arduino import DEADMAN_HELD, NOT_ARMED, WATCHDOG_RESET, Status, framed
from edge_agent.guard.model import Output
from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_v2 import BoardV2
from simulator.profiles import PROFILES

MakeBoard = Callable[..., Any]
SESSION = "9f3c21aa"
CLOSED = int(Output.RELAY1 | Output.RELAY2)
ALL_ON = {"pump", "fan", "relay1", "relay2", "relay3"}
COMMAND_AND_STATUS_MS = 25
"""A command of 30 bytes takes 3 ms, then at most two status lines of 9 ms (simulated bytes last 11 bits)."""


@pytest.fixture
def board(uno: MakeBoard) -> Any:
    """A board whose sketch has just printed its first line."""
    made = uno()
    made.tell("ground 0")
    made.run(50)
    return made


def closed(board: Any) -> Status:
    """Arm by zero, then close relays 1 and 2."""
    board.command(SESSION, 1, 0)
    board.command(SESSION, 2, CLOSED)
    status: Status = board.last(50)
    assert board.high() == {"relay1", "relay2"}
    return status


# ---- inputs ----


def test_every_adc_channel_follows_its_voltage_over_the_whole_range(board: Any) -> None:
    shift = (0, 341, 682, 171)
    for counts in range(0, 1024, 11):
        wanted = tuple((counts + offset) % 1024 for offset in shift)
        for channel, value in enumerate(wanted):
            board.adc(channel, value)
        assert board.run(110)[-1].adc == wanted


def test_an_open_ground_fault_loop_is_a_fault_and_a_closed_one_is_none(board: Any) -> None:
    seen = []
    for level in (0, 1, 0):
        board.tell(f"ground {level}")
        seen.append(board.run(210)[-1].ground_fault)
    assert seen == [0, 1, 0]


def test_a_ground_fault_input_with_nothing_wired_to_it_reads_as_a_fault(uno: MakeBoard) -> None:
    assert uno().last(50).ground_fault == 1


def test_status_comes_at_ten_hertz_without_drift(board: Any) -> None:
    statuses = board.run(10_000)
    assert len(statuses) == 100
    assert {later.uptime_ms - earlier.uptime_ms for earlier, later in pairwise(statuses)} <= {99, 100, 101}
    # the very first status is due at 0 but follows the start of the sketch
    assert {status.uptime_ms % 100 for status in statuses} <= {0, 1}


# ---- outputs ----


@pytest.mark.parametrize(("bit", "name"), list(enumerate(("pump", "fan", "relay1", "relay2", "relay3"))))
def test_one_bit_switches_its_own_pin_and_no_other(board: Any, bit: int, name: str) -> None:
    board.command(SESSION, 1, 0)
    board.command(SESSION, 2, 1 << bit)
    status = board.last(50)
    assert board.high() == {name}
    assert (status.mask, status.pins, status.seq) == (1 << bit, 1 << bit, 2)


def test_every_mask_is_taken_over_whole_and_read_back(board: Any) -> None:
    for seq, mask in enumerate([0, *random.Random(1).sample(range(32), 32)], start=1):
        board.command(SESSION, seq, mask)
        status = board.last(COMMAND_AND_STATUS_MS)
        assert (status.session, status.seq, status.mask, status.pins) == (SESSION, seq, mask, mask)


def test_a_command_is_obeyed_and_acknowledged_at_once(board: Any) -> None:
    for seq in range(1, 40):
        board.run(37)
        start_us = board.now_us
        board.command(SESSION, seq, seq % 2)
        statuses = board.run(COMMAND_AND_STATUS_MS)
        assert any(status.seq == seq for status in statuses)
        assert board.changes[-1][0] - start_us < 5_000


def test_no_pin_is_high_before_a_command_and_all_are_driven_low_at_once(uno: MakeBoard) -> None:
    board = uno()
    board.run(3000)
    assert {state for _, _, state in board.changes} == {"z", "0"}
    driven_us = [at_us for at_us, _, state in board.changes if state == "0"]
    assert len(driven_us) == len(ALL_ON)
    assert max(driven_us) < 10


def test_only_the_listed_pins_are_ever_driven(board: Any) -> None:
    for seq, mask in enumerate([0, 0x20, 0x40, 0x80, 0xE0, 0xFF], start=1):
        board.command(SESSION, seq, mask)
    status = board.last(150)
    assert (status.seq, status.mask, status.bad_frames) == (1, 0, 5)
    assert board.high() == set()


# ---- arming by zero ----


def test_relays_stay_open_until_armed_by_zero(board: Any) -> None:
    board.command(SESSION, 1, CLOSED | Output.PUMP)
    refused = board.last(50)
    assert (refused.mask, refused.flags & NOT_ARMED) == (Output.PUMP, NOT_ARMED)
    board.command(SESSION, 2, Output.FAN)
    board.command(SESSION, 3, CLOSED)
    assert board.last(50).flags & NOT_ARMED == 0
    assert board.high() == {"relay1", "relay2"}


def test_a_new_session_opens_the_relays_and_must_arm_again(board: Any) -> None:
    closed(board)
    board.command("00c0ffee", 1, CLOSED)
    status = board.last(50)
    assert (status.session, status.mask, status.flags) == ("00c0ffee", 0, NOT_ARMED)
    assert board.high() == set()


def test_a_replayed_command_changes_nothing_and_feeds_nothing(board: Any) -> None:
    closed(board)
    for _ in range(20):
        board.command(SESSION, 2, 0)
        board.run(100)
    assert board.high() == {"relay1", "relay2"}
    for _ in range(20):
        board.command(SESSION, 1, CLOSED)
        board.run(100)
    status = board.last(110)
    assert status.flags & DEADMAN_HELD
    assert status.bad_frames == 40
    assert board.high() == {"pump", "fan"}


# ---- noise ----


@pytest.mark.parametrize(
    ("line", "obeyed", "refused"),
    [
        (b"#C,9f3c21aa,9,03*0000\n", False, 1),
        (b"#C,9f3c21aa,9,0", False, 0),
        (b"#C,9f3c21aa,9,0\n", False, 1),
        (b"\n\n\n", False, 3),
        (framed(b"C,9f3c21aa,9,03"), True, 0),
        (framed(b"C,9f3c21aa,9,03").replace(b"\n", b"\r\n"), True, 0),
        (framed(b"C,9f3c21aa,8,01") + framed(b"C,9f3c21aa,9,03"), True, 0),
        (framed(b"C,9f3c21aa,8,01").strip() + framed(b"C,9f3c21aa,9,03"), False, 1),
        (framed(b"C,9f3c21aa,8,01")[:12] + framed(b"C,9f3c21aa,9,03"), False, 1),
        (b"\xff" * 500 + b"\n" + framed(b"C,9f3c21aa,9,03"), True, 1),
        (b"4:0&6:0\n", False, 1),
    ],
    ids=[
        "bad CRC", "unfinished", "half", "empty", "good", "good with CR", "two lines together", "glued", "half and whole",
        "endless", "version 1",
    ],
)  # fmt: skip
def test_a_line_is_obeyed_whole_or_counted_and_not_at_all(board: Any, line: bytes, obeyed: bool, refused: int) -> None:
    board.command(SESSION, 1, 0)
    board.send(line)
    status = board.last(300)
    assert (status.seq, status.mask, status.bad_frames) == ((9, 3, refused) if obeyed else (1, 0, refused))
    assert board.high() == ({"pump", "fan"} if obeyed else set())


@pytest.mark.parametrize(("rate", "seed"), [(1e-3, 1), (1e-3, 2), (1e-2, 3)])
def test_under_noise_the_sketch_obeys_exactly_what_the_simulator_obeys(board: Any, rate: float, seed: int) -> None:
    chance = random.Random(seed)
    simulated = BoardV2(ArduinoInputs(PROFILES["ideal"]), lambda *_: None, chance, 0.0)
    wanted = {0}
    seq = 0
    for _ in range(30):
        data = b""
        for _ in range(10):
            seq += 1
            mask = chance.choice([0, 1, 2, 3, 4, 12, 28, 31])
            wanted.add(mask)
            data += framed(f"C,{SESSION},{seq},{mask:02X}".encode("ascii"))
        data = disturbed(data, rate, chance)
        board.send(data)
        simulated.feed(data, 0.0)
        status = board.last(40)
        assert status.mask in wanted | {mask & 3 for mask in wanted}
    board.send(b"\n")
    simulated.feed(b"\n", 0.0)
    status = board.last(200)
    assert (status.seq, status.mask) == (simulated._seq, simulated.mask)
    assert status.bad_frames == simulated.counted["refused"] > 0
    assert simulated.counted["obeyed"] > 200


def disturbed(data: bytes, rate: float, chance: random.Random) -> bytes:
    """Each byte is lost, flipped or doubled with a small probability."""
    out = bytearray()
    for byte in data:
        kind = chance.choice("lfd") if chance.random() < rate else ""
        out += {"": bytes([byte]), "l": b"", "f": bytes([byte ^ 1 << chance.randrange(8)]), "d": bytes([byte, byte])}[
            kind
        ]
    return bytes(out)


# ---- dead-man ----


def test_the_dead_man_opens_the_relays_and_cools_after_three_and_a_half_seconds(board: Any) -> None:
    start_us = board.now_us
    status = closed(board)
    assert status.flags == 0
    statuses = board.run(3600)
    opened_us = [at_us for at_us, pin, state in board.changes if pin in (5, 3) and state == "0"][-1]
    assert 3_500_000 < opened_us - start_us < 3_512_000
    assert board.high() == {"pump", "fan"}
    assert (statuses[-1].mask, statuses[-1].pins, statuses[-1].flags) == (3, 3, DEADMAN_HELD | NOT_ARMED)


def test_after_the_dead_man_an_old_mask_closes_nothing_until_armed_again(board: Any) -> None:
    closed(board)
    board.run(3600)
    board.command(SESSION, 3, CLOSED)
    status = board.last(50)
    assert (status.mask, status.flags) == (0, NOT_ARMED)
    board.command(SESSION, 4, 0)
    board.command(SESSION, 5, CLOSED)
    board.run(50)
    assert board.high() == {"relay1", "relay2"}


def test_the_dead_man_cools_a_rig_whose_host_never_spoke(uno: MakeBoard) -> None:
    board = uno()
    board.run(3490)
    assert board.high() == set()
    board.run(20)
    assert board.high() == {"pump", "fan"}


def test_a_flood_of_noise_neither_feeds_nor_delays_the_dead_man(board: Any) -> None:
    start_us = board.now_us
    closed(board)
    for _ in range(37):
        board.send(random.Random(0).randbytes(1100))
        board.run(100)
    opened_us = [at_us for at_us, pin, state in board.changes if pin == 5 and state == "0"][-1]
    assert 3_500_000 < opened_us - start_us < 3_515_000


def test_commands_that_go_on_keep_the_relays_closed(board: Any) -> None:
    closed(board)
    for seq in range(3, 15):
        board.command(SESSION, seq, CLOSED)
        board.run(500)
    assert board.high() == {"relay1", "relay2"}


# ---- watchdog and reset ----


@pytest.mark.parametrize("boot_loader", [False, True], ids=["bare chip", "boot loader that clears MCUSR"])
def test_a_sketch_that_hangs_is_switched_off_and_reset(uno: MakeBoard, boot_loader: bool) -> None:
    board = uno("cellguard-hang", *(["--boot-loader", "1600"] if boot_loader else []))
    board.run(20)
    before = closed(board)
    hung_us = board.now_us
    board.send(framed(b"H"))
    after = board.last(1000)
    opened_us = next(at_us for at_us, pin, state in board.changes if at_us > hung_us and pin == 5 and state != "1")
    assert opened_us - hung_us < 300_000
    assert board.resets[-1][1] - hung_us < 600_000
    assert board.high() == set()
    assert after.boot != before.boot
    assert (after.session, after.seq, after.mask, after.flags & NOT_ARMED) == ("00000000", 0, 0, NOT_ARMED)
    assert after.flags & WATCHDOG_RESET


def test_a_healthy_sketch_is_never_reset_by_the_watchdog(board: Any) -> None:
    board.run(5000)
    assert board.resets == []


def test_a_reset_while_energised_opens_everything_and_forgets_the_order(board: Any) -> None:
    before = closed(board)
    board.tell("reset")
    board.run(20)
    board.command(SESSION, 3, CLOSED)
    board.command(SESSION, 4, CLOSED)
    after = board.last(100)
    assert [state for _, pin, state in board.changes if pin == 5][-2:] == ["z", "0"]
    assert board.high() == set()
    assert after.boot != before.boot
    assert (after.mask, after.flags) == (0, NOT_ARMED)
    assert after.uptime_ms < before.uptime_ms + 100


def test_a_reset_by_its_line_is_not_taken_for_the_watchdog_s(uno: MakeBoard) -> None:
    board = uno("cellguard-hang")
    board.run(50)
    board.send(framed(b"H"))
    assert board.last(700).flags & WATCHDOG_RESET
    board.tell("reset")
    assert not board.last(50).flags & WATCHDOG_RESET


def test_every_reset_draws_another_boot_id(board: Any) -> None:
    seen = {board.last(110).boot}
    for _ in range(40):
        board.tell("reset")
        seen.add(board.last(20).boot)
    assert len(seen) == 41


def test_while_the_boot_loader_runs_the_board_is_mute_deaf_and_off(uno: MakeBoard) -> None:
    board = uno("cellguard", "--boot-loader", "1600")
    board.run(20)
    closed(board)
    board.tell("reset")
    assert board.run(1590) == []
    assert set(board.pins.values()) == {"z"}
    board.command(SESSION, 3, 3)
    board.run(5)
    assert board.last(60).seq == 0
