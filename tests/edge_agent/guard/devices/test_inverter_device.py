from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from edge_agent.guard.codecs.inverter import MODE, SETPOINT
from edge_agent.guard.codecs.inverter_writes import LIMITS, MAX_DISCHARGE, MAX_POWER, MIN_V, SECURITY, TIMER
from edge_agent.guard.codecs.rtu_frame import crc16
from edge_agent.guard.devices.inverter import Inverter
from edge_agent.guard.model import InverterOrder, Mode, NoData, Reading
from edge_agent.guard.ports import Arrival
from shared.signals import INVERTER

INDEX = {signal.name: index for index, signal in enumerate(INVERTER)}
TOKEN_S = 0.2
LOOP_S = 0.8
"""A loop renews its order every few ms; here that happens only between two turns of the device."""
Drive = Callable[..., list[Arrival]]


@pytest.fixture
def inverter(slave: Any) -> Iterator[Inverter]:
    made = Inverter(slave.cable.port, poll_period_s=0.1)
    made.open()
    yield made
    made.close()


@pytest.fixture
def drive(inverter: Inverter) -> Drive:
    """Renew an order as the loop does, and turn the device until `done`."""

    def driven(
        mode: Mode, setpoint: float, done: Callable[[list[Arrival]], object], *, epoch: int = 1, seconds: float = 5.0
    ) -> list[Arrival]:
        arrivals: list[Arrival] = []
        deadline = time.monotonic() + seconds
        while not done(arrivals):
            assert time.monotonic() < deadline, f"not within {seconds} s: {arrivals[-2:]}"
            inverter.order_inverter(InverterOrder(mode, setpoint, time.monotonic() + TOKEN_S + LOOP_S, epoch))
            arrivals += inverter.read()
        return arrivals

    return driven


def polls(arrivals: list[Arrival]) -> list[Reading]:
    return [one for one in arrivals if type(one) is Reading]


def shows(mode: Mode, setpoint: float) -> Callable[[list[Arrival]], bool]:
    def shown(arrivals: list[Arrival]) -> bool:
        found = polls(arrivals)
        return bool(found) and (found[-1].values[INDEX["mode"]], round(found[-1].values[INDEX["setpoint"]] or 0.0)) == (
            mode,
            setpoint,
        )

    return shown


def test_before_the_first_order_nothing_is_sent_not_even_a_read(inverter: Inverter, slave: Any) -> None:
    assert [inverter.read() for _ in range(2)] == [[], []]
    assert slave.requests == []


def test_without_a_valid_order_the_line_falls_silent_within_one_transaction(
    inverter: Inverter, slave: Any, drive: Drive
) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    ended = time.monotonic() + TOKEN_S
    inverter.order_inverter(InverterOrder(Mode.OFF, 0.0, ended, 1))
    while time.monotonic() < ended + 0.4:
        inverter.read()
    assert slave.requests[-1][0] < ended + 0.05


def test_the_first_order_writes_code_timer_zero_off_limits_and_reads_them_back(slave: Any, drive: Drive) -> None:
    drive(Mode.OFF, 0.0, lambda _: slave.registers[MAX_POWER])
    assert slave.writes()[:4] == [(SECURITY, 125), (TIMER, 20), (SETPOINT, 0), (MODE, 0)]
    assert [address for address, _ in slave.writes()[4:] if address != TIMER] == [41028, 41029, 41030, 41031, 41032]
    read_back = {
        int.from_bytes(request[2:4], "big") for _, request in slave.requests if request[1] == 4 and request[5] == 1
    }
    assert {TIMER, SETPOINT, MODE, 41028, 41029, 41030, 41031} <= read_back


def test_a_poll_refreshes_the_timer_and_gives_every_signal(slave: Any, drive: Drive) -> None:
    slave.registers |= {30263: 12379, 30267: 0x10000 - 521}
    arrivals = drive(Mode.OFF, 0.0, lambda found: len(polls(found)) >= 3)
    last = polls(arrivals)[-1]
    assert last.values[INDEX["battery_voltage"]] == pytest.approx(377.8, abs=0.1)
    assert last.values[INDEX["current"]] == pytest.approx(-10.0, abs=0.01)
    assert slave.writes().count((TIMER, 20)) >= 3


def test_an_order_is_run_and_the_reading_shows_what_was_read_back(slave: Any, drive: Drive) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    energy = [write for write in slave.writes() if write[0] in {MODE, SETPOINT}]
    assert energy[:2] == [(SETPOINT, 0), (MODE, 0)]
    assert energy[-2:] == [(MODE, 2), (SETPOINT, 0x10000 - 1042)]


def test_an_ordered_zero_goes_out_within_a_transaction_even_during_a_poll(
    inverter: Inverter, slave: Any, drive: Drive
) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    for _ in range(10):
        inverter.order_inverter(InverterOrder(Mode.CURRENT, -20.0, time.monotonic() + TOKEN_S, 1))
        inverter.read()
    ordered = time.monotonic()
    drive(Mode.OFF, 0.0, lambda _: (SETPOINT, 0) in slave.writes()[-3:])
    zero = next(
        at for at, request in slave.requests if at > ordered and request[1] == 6 and request[2:6] == b"\xa0\x43\0\0"
    )
    assert zero - ordered < 0.25
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))


def test_mistake_13_a_setpoint_that_was_lost_is_not_run_again_by_itself(slave: Any, drive: Drive) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    slave.registers |= {MODE: 0, SETPOINT: 0, SECURITY: 0}
    arrivals = drive(Mode.CURRENT, -20.0, lambda found: len(polls(found)) >= 6)
    assert polls(arrivals)[-1].values[INDEX["mode"]] == 0.0
    assert slave.registers[MODE] == 0
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20), epoch=2)


def test_a_missing_answer_is_said_and_nothing_is_taken_for_it(slave: Any, drive: Drive) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    slave.misbehave = lambda _request, _reply: []
    arrivals = drive(Mode.OFF, 0.0, lambda found: len(found) >= 2)
    assert [(type(one), one.part, one.reason) for one in arrivals] == [(NoData, "poll", "timeout")] * 2
    slave.misbehave = lambda _request, reply: [(0.0, reply)]
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))


def test_zero_is_written_even_to_an_inverter_that_hears_and_does_not_answer(slave: Any, drive: Drive) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    slave.misbehave = lambda _request, _reply: []
    drive(Mode.OFF, 0.0, lambda _: slave.registers[SETPOINT] == 0 and slave.registers[MODE] == 0, seconds=3.0)
    assert slave.writes()[-1][0] in {SECURITY, TIMER, SETPOINT, MODE}


def test_a_zero_that_is_refused_before_the_access_code_is_no_warning(
    slave: Any, drive: Drive, inverter: Inverter
) -> None:
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    slave.misbehave = lambda _request, _reply: []
    drive(Mode.CURRENT, 0.0, lambda _: inverter.counters().get("lost_silence"))
    slave.registers |= {MODE: 0, SETPOINT: 0, SECURITY: 0}  # its timer has tripped meanwhile
    refusal = bytes([2, 0x86, 4])

    def locked(request: bytes, reply: bytes) -> list[tuple[float, bytes]]:
        if request[1] == 4 and "refused_writes" not in inverter.counters():
            return []  # the first that it answers is a write
        opened = slave.registers[SECURITY] == 125 or request[1] == 4
        return [(0.0, reply if opened else refusal + crc16(refusal).to_bytes(2, "little"))]

    slave.misbehave = locked
    arrivals = drive(Mode.CURRENT, 0.0, shows(Mode.CURRENT, 0))
    assert inverter.counters()["refused_writes"] > 0
    assert [one for one in arrivals if type(one) is NoData and one.part == "writes"] == []


def test_a_clamped_voltage_limit_is_told_and_lived_with(slave: Any, drive: Drive) -> None:
    slave.misbehave = _reads_back(slave, MIN_V, 8847)
    arrivals = drive(Mode.OFF, 0.0, lambda found: any(type(one) is NoData for one in found))
    (told,) = [one for one in arrivals if type(one) is NoData]
    assert (told.part, told.reason) == ("limits", "out_of_range")
    assert "wrote 8650, reads 8847" in told.detail
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))


def test_a_current_limit_that_is_not_taken_keeps_the_inverter_off(slave: Any, drive: Drive) -> None:
    slave.misbehave = _reads_back(slave, MAX_DISCHARGE, 4000)
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    arrivals = drive(Mode.CURRENT, -20.0, lambda found: len([one for one in found if type(one) is NoData]) >= 2)
    assert {one.part for one in arrivals if type(one) is NoData} == {"writes"}
    assert slave.registers[MODE] == 0


def _reads_back(slave: Any, address: int, counts: int) -> Callable[[bytes, bytes], list[tuple[float, bytes]]]:
    def misbehave(request: bytes, reply: bytes) -> list[tuple[float, bytes]]:
        if request[1] == 6 and int.from_bytes(request[2:4], "big") == address:
            slave.registers[address] = counts
        return [(0.0, reply)]

    return misbehave


def test_registers_that_do_not_exist_are_absent_and_cost_nothing_else(
    inverter: Inverter, slave: Any, drive: Drive
) -> None:
    for address in (30256, 30258, 30259, 30260, 30261, 30270, 30280, 30284):
        del slave.registers[address]
    slave.registers[30263] = 12379
    arrivals = drive(Mode.OFF, 0.0, lambda found: len(polls(found)) >= 2)
    last = polls(arrivals)[-1]
    assert last.bad == ((INDEX["ambient_temperature"], "absent"), (INDEX["phase_b_voltage"], "absent"))
    assert last.values[INDEX["battery_voltage"]] == pytest.approx(377.8, abs=0.1)
    assert inverter.counters()["missing_registers"] == 2
    slave.requests.clear()
    drive(Mode.OFF, 0.0, lambda found: len(polls(found)) >= 2)
    assert all(request[2:4] != b"\x76\x30" or request[5] != 30 for _, request in slave.requests), (
        "the gap is remembered"
    )


def test_a_ramp_of_setpoints_does_not_starve_the_polls(slave: Any, drive: Drive, inverter: Inverter) -> None:
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0))
    arrivals: list[Arrival] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 1.5:
        inverter.order_inverter(InverterOrder(Mode.CURRENT, -20.0 * elapsed, time.monotonic() + TOKEN_S, 1))
        arrivals += inverter.read()
    stamps = [began, *(poll.t_mono for poll in polls(arrivals))]
    assert max(later - earlier for earlier, later in pairwise(stamps)) < 0.8
    assert len({write for write in slave.writes() if write[0] == SETPOINT}) > 5


def test_an_inverter_whose_polls_take_longer_than_their_period_still_gets_its_orders(slave: Any, drive: Drive) -> None:
    slave.misbehave = lambda _request, reply: [(0.08, reply)]
    drive(Mode.OFF, 0.0, shows(Mode.OFF, 0), seconds=10.0)
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20), seconds=15.0)
    assert slave.writes()[-1] in {(SETPOINT, 0x10000 - 1042), (TIMER, 20)}


def test_a_mode_that_was_lost_on_a_slow_line_comes_back_although_it_is_asked_for_every_second(
    slave: Any, drive: Drive, inverter: Inverter
) -> None:
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20))
    slave.misbehave = lambda _request, reply: [(0.1, reply)]
    slave.registers |= {MODE: 0, SETPOINT: 0}
    slave.requests.clear()
    arrivals: list[Arrival] = []
    began = time.monotonic()
    while not shows(Mode.CURRENT, 0)(arrivals):
        elapsed = time.monotonic() - began
        assert elapsed < 6.0, slave.writes()
        inverter.order_inverter(InverterOrder(Mode.CURRENT, 0.0, time.monotonic() + LOOP_S, 2 + int(elapsed)))
        arrivals += inverter.read()
    limits = [write for write in slave.writes() if write[0] in LIMITS]
    assert limits == [], "they were there: one read instead of five writes"


class Judging:
    """Stands for the loop at the moment a transaction waits for its judgement: it finds a reason for zero."""

    def __init__(self, inverter: Inverter) -> None:
        self._inverter = inverter

    def set(self) -> None:
        """An order came."""

    def clear(self) -> None:
        """Wait for the next."""

    def wait(self, _seconds: float) -> None:
        order = InverterOrder(Mode.CURRENT, 0.0, time.monotonic() + TOKEN_S + LOOP_S, 1)
        self._inverter.order_inverter(order)


def test_a_zero_that_is_decided_before_a_poll_begins_goes_before_it(
    slave: Any, drive: Drive, inverter: Inverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(Mode.CURRENT, -20.0, shows(Mode.CURRENT, -20.0))
    slave.requests.clear()
    monkeypatch.setattr(inverter, "_judged", Judging(inverter))
    while not slave.requests:
        inverter.read()
    assert slave.requests[0][1][1:6] == bytes([6, *SETPOINT.to_bytes(2, "big"), 0, 0])
