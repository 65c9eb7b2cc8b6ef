from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guard.codecs.rtu_frame import Expected, crc16, echo, registers


def framed(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


READ = framed(b"\x02\x04\x04\x12\x34\x56\x78")
REFUSAL = framed(b"\x02\x84\x02")


def test_the_crc_is_that_of_the_manuals_example() -> None:
    assert crc16(bytes.fromhex("020700")[:2]).to_bytes(2, "little") == bytes.fromhex("4112")


@pytest.mark.parametrize("reply", [READ, REFUSAL])
def test_a_right_reply_is_fine_from_its_first_byte_to_its_last(reply: bytes) -> None:
    expected = registers(2, 2)
    assert [expected.complaint(reply[:length]) for length in range(1, len(reply) + 1)] == [""] * len(reply)


@pytest.mark.parametrize("reply", [READ, REFUSAL])
@given(st.data())
def test_a_reply_with_one_wrong_byte_is_not(reply: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(reply) - 1))
    wrong = bytearray(reply)
    wrong[place] ^= data.draw(st.integers(1, 255))
    assert registers(2, 2).complaint(bytes(wrong))


@pytest.mark.parametrize(
    ("expected", "reply", "said"),
    [
        (registers(2, 2), READ + READ, "18 bytes instead of 9"),
        (registers(2, 3), READ, "expected 020406…, got 02040412345678"),
        (registers(3, 2), READ, "expected 030404…"),
        (echo(2, 41027, 0), framed(bytes.fromhex("0206a0430001")), "expected 0206a0430000…"),
        (echo(2, 41027, 0), REFUSAL, "expected 0206a0430000…"),
        (registers(2, 2), READ[:-1] + b"\0", "wrong CRC"),
    ],
)
def test_what_does_not_fit_is_said(expected: Expected, reply: bytes, said: str) -> None:
    assert expected.complaint(reply).startswith(said)


@given(st.binary(min_size=1, max_size=64))
def test_no_bytes_raise(data: bytes) -> None:
    assert isinstance(registers(2, 5).complaint(data), str)
