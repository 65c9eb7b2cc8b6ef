from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.wire import MOST_BYTES, Wire


@given(st.lists(st.tuples(st.binary(max_size=60), st.floats(0, 0.05)), max_size=40))
def test_bytes_come_out_once_in_order_and_never_faster_than_the_line(puts: list[tuple[bytes, float]]) -> None:
    wire = Wire(9600)
    now, sent, got = 0.0, b"", b""
    for data, pause in puts:
        wire.put(data, now)
        sent += data
        now += pause
        got += wire.take(now)
        assert len(got) <= now / wire.character_s + 1
    got += wire.take(now + len(sent) * wire.character_s + 1e-6)
    assert got == sent
    assert wire.due == float("inf")


def test_a_status_line_takes_its_time_at_115200_baud() -> None:
    wire = Wire(115_200)
    wire.put(bytes(85), 1.0)
    assert wire.due == pytest.approx(1.0 + 85 * 10 / 115_200)
    assert len(wire.take(1.0 + 42.5 * 10 / 115_200)) == 42
    assert len(wire.take(wire.due + 1e-9)) == 43


def test_an_absurd_backlog_is_lost_and_counted() -> None:
    wire = Wire(9600)
    wire.put(bytes(MOST_BYTES), 0.0)
    wire.put(bytes(10), 0.0)
    assert wire.lost == 10
