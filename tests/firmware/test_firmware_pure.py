"""The sketch's pure code, compiled for the host: CRC, lines, commands, status and the switchboard against slow models."""

from __future__ import annotations

import binascii
import ctypes
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.guard.codecs.arduino import framed, parse_status
from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_v2 import BoardV2
from simulator.profiles import PROFILES

U32 = st.integers(0, 2**32 - 1)
SAME_LIBRARY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Command(ctypes.Structure):
    _fields_ = (("session", ctypes.c_uint32), ("seq", ctypes.c_uint32), ("mask", ctypes.c_uint8))


class Status(ctypes.Structure):
    _fields_ = (
        ("boot", ctypes.c_uint32),
        ("uptime_ms", ctypes.c_uint32),
        ("session", ctypes.c_uint32),
        ("seq", ctypes.c_uint32),
        ("mask", ctypes.c_uint8),
        ("pins", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("adc", ctypes.c_uint16 * 4),
        ("ground_fault", ctypes.c_bool),
        ("bad", ctypes.c_uint16),
    )


@pytest.fixture(scope="module")
def pure(parts: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(parts / "pure.so"))
    for name in ("reader_new", "switchboard_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


@pytest.fixture
def reader(pure: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    made = ctypes.c_void_p(pure.reader_new())
    yield made
    pure.reader_delete(made)


def heard(pure: ctypes.CDLL, reader: ctypes.c_void_p, data: bytes) -> list[tuple[int, int, int] | None]:
    """What the sketch makes of each line: (session, seq, mask) or None."""
    found: list[tuple[int, int, int] | None] = []
    command = Command()
    for byte in data:
        outcome = pure.reader_feed(reader, ctypes.c_char(byte), ctypes.byref(command))
        if outcome >= 0:
            found.append((command.session, command.seq, command.mask) if outcome else None)
    return found


@SAME_LIBRARY
@given(st.binary(max_size=255))
def test_the_crc_is_ccitt_false(pure: ctypes.CDLL, text: bytes) -> None:
    assert pure.line_crc(text, len(text)) == binascii.crc_hqx(text, 0xFFFF)


def test_the_crc_of_123456789_is_the_catalogue_s(pure: ctypes.CDLL) -> None:
    assert pure.line_crc(b"123456789", 9) == 0x29B1


@SAME_LIBRARY
@given(st.tuples(U32, st.integers(1, 2**32 - 1), st.integers(0, 255)), st.sampled_from([b"\n", b"\r\n"]))
def test_every_command_of_the_host_is_understood(
    pure: ctypes.CDLL, reader: ctypes.c_void_p, command: tuple[int, int, int], end: bytes
) -> None:
    line = framed(b"C,%08x,%d,%02X" % command).removesuffix(b"\n") + end
    assert heard(pure, reader, line) == [command]


@pytest.mark.parametrize(
    "body",
    [
        b"C,9f3c21aa,0,00",  # the sequence begins at 1
        b"C,9f3c21aa,01,00",
        b"C,9f3c21aa,4294967296,00",
        b"C,9f3c21aa,99999999999,00",
        b"C,9f3c21aa,-1,00",
        b"C,9F3C21AA,1,00",  # the session is lower case
        b"C,9f3c21a,1,00",
        b"C,9f3c21aab,1,00",
        b"C,9f3c21aa,1,0",
        b"C,9f3c21aa,1,000",
        b"C,9f3c21aa,1,0G",
        b"C,9f3c21aa,1,00,",
        b"C,9f3c21aa,1",
        b"C, 9f3c21aa,1,00",
        b"c,9f3c21aa,1,00",
        b"S,9f3c21aa,1,00",
        b"",
        b"C",
        b"C" * 88,
        b"C" * 89,
        b"C" * 90,
    ],
)
def test_a_frame_with_a_good_crc_and_a_bad_form_is_refused(
    pure: ctypes.CDLL, reader: ctypes.c_void_p, body: bytes
) -> None:
    good = framed(b"C,9f3c21aa,7,03")
    assert heard(pure, reader, framed(body) + good) == [None, (0x9F3C21AA, 7, 3)]


def test_a_frame_with_a_lower_case_crc_or_junk_around_it_is_refused(pure: ctypes.CDLL, reader: ctypes.c_void_p) -> None:
    good = framed(b"C,9f3c21aa,5,03").removesuffix(b"\n")
    spoilt = [good[:-4] + good[-4:].lower(), b"x" + good, good + b" ", good + b"\r\r", good + good, good[1:], good[:-1]]
    assert good[-4:].lower() != good[-4:]
    assert heard(pure, reader, b"\n".join(spoilt) + b"\n") == [None] * len(spoilt)


@SAME_LIBRARY
@given(st.lists(st.sampled_from([b"\n", b"#", b"*", b"C,", b"\x00", b"\xff", b"x" * 100]) | st.binary(max_size=8)))
def test_whatever_comes_the_next_whole_line_is_understood(
    pure: ctypes.CDLL, reader: ctypes.c_void_p, noise: list[bytes]
) -> None:
    found = heard(pure, reader, b"".join(noise) + b"\n" + framed(b"C,0123abcd,4294967295,1f"))
    assert found[-1] == (0x0123ABCD, 2**32 - 1, 0x1F)


@SAME_LIBRARY
@given(
    st.tuples(U32, U32, U32, U32),
    st.tuples(st.integers(0, 31), st.integers(0, 31), st.integers(0, 7)),
    st.tuples(*[st.integers(0, 1023)] * 4),
    st.tuples(st.booleans(), st.integers(0, 0xFFFF)),
)
def test_the_host_reads_every_status_as_it_was_meant(
    pure: ctypes.CDLL,
    longs: tuple[int, ...],
    bits: tuple[int, ...],
    adc: tuple[int, ...],
    rest: tuple[bool, int],
) -> None:
    line = ctypes.create_string_buffer(96)
    status = Status(*longs, *bits, (ctypes.c_uint16 * 4)(*adc), *rest)
    length = pure.status_line(ctypes.byref(status), line)
    assert line.raw[length - 1 : length] == b"\n"
    read = parse_status(line.raw[: length - 1])
    boot, uptime_ms, session, seq = longs
    assert read == (f"{boot:08x}", uptime_ms, f"{session:08x}", seq, *bits, adc, *map(int, rest))


def test_the_longest_status_line_has_the_length_that_the_page_names(pure: ctypes.CDLL) -> None:
    line = ctypes.create_string_buffer(96)
    most = 2**32 - 1
    status = Status(most, most, most, most, 31, 31, 7, (ctypes.c_uint16 * 4)(*[1023] * 4), 1, 65535)
    length = pure.status_line(ctypes.byref(status), line)
    page = (Path(__file__).parents[2] / "firmware" / "PROTOCOL.md").read_text(encoding="utf-8")
    assert f"the longest status line is {length} characters" in page


@pytest.mark.parametrize("seed", range(40))
def test_the_switchboard_of_the_sketch_and_the_simulator_decide_alike(pure: ctypes.CDLL, seed: int) -> None:
    chance = random.Random(seed)
    now_ms = chance.choice([0, 2**32 - 5000])
    simulated = BoardV2(ArduinoInputs(PROFILES["ideal"]), lambda *_: None, random.Random(0), 0.0)
    switchboard = ctypes.c_void_p(pure.switchboard_new(ctypes.c_uint32(now_ms)))
    passed_ms = 0
    for _ in range(200):
        step_ms = chance.choice([0, 1, 100, 500, 3000, 3499, 3500, 3501, 8000])
        passed_ms += step_ms
        now_ms = (now_ms + step_ms) % 2**32
        pure.switchboard_watch(switchboard, now_ms)
        simulated.take((passed_ms + 0.01) / 1000)  # its floats must not decide which side of 3.5 s it is
        session = chance.choice([0, 0x1234ABCD, 0x1234ABCE])
        seq, mask = chance.randrange(1, 12), chance.choice([0, 1, 3, 4, 28, 31, 32, 0x80, chance.randrange(256)])
        obeyed = pure.switchboard_obey(switchboard, session, seq, mask, now_ms)
        before = simulated.counted["obeyed"]
        simulated.feed(framed(b"C,%08x,%d,%02X" % (session, seq, mask)), passed_ms / 1000)
        simulated_flags = (
            parse_status(simulated.take((passed_ms + 0.01) / 1000).splitlines()[-1]).flags if obeyed else None
        )
        assert obeyed == simulated.counted["obeyed"] - before
        assert pure.switchboard_mask(switchboard) == simulated.mask
        assert simulated_flags in {None, pure.switchboard_flags(switchboard)}
    pure.switchboard_delete(switchboard)
