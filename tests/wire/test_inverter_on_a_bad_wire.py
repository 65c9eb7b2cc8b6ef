"""The whole inverter device against slaves of other makers over a bad wire, judged by what the slave truly was told and said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_agent.guard.codecs.inverter import MODE, REGISTERS, SETPOINT, signed
from edge_agent.guard.codecs.inverter_writes import InverterLimits, limit_writes, start_writes
from edge_agent.guard.devices.inverter import Inverter
from edge_agent.guard.devices.rtu import Patience, Rtu
from edge_agent.guard.model import InverterOrder, Mode, NoData, Reading
from edge_agent.guard.ports import Arrival
from shared.errors import DeviceError

UNIT, BAUDRATE = 2, 115_200
REPLY_S = 0.1
HURRIED = Patience(reply_s=REPLY_S, silent_s=0.01, drain_s=0.1)
READ, WRITE = 4, 6
AMPERE = 52.094
INDEX = {register.address: index for index, register in enumerate(REGISTERS)}
NEEDED = {
    address: counts & 0xFFFF for address, counts in (*start_writes(InverterLimits()), *limit_writes(InverterLimits()))
}
STEP_S, AGAIN_S = 25.0, 2.0
Make = Callable[..., Any]


class Bench:
    """The device on the wire, turned by hand; every reading is compared with the slave's own words."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire
        self.device = Inverter(wire.port, baudrate=BAUDRATE, unit=UNIT, poll_period_s=0.03)
        self.device._rtu = Rtu(wire.port, BAUDRATE, UNIT, HURRIED)
        self.device.open()
        self.readings = 0
        self.epoch, self.epoch_at = 1, time.monotonic()
        self.arrivals: list[Arrival] = []

    def order(self, mode: Mode, amps: float, done: Callable[[], object]) -> None:
        """Renew the order until `done`; what was lost meanwhile may be written again every AGAIN_S, as the guard allows it."""
        began = time.monotonic()
        while not done():
            now = time.monotonic()
            assert now < began + STEP_S, f"{mode!r} {amps} A: {self.arrivals[-3:]} {self.device.counters()}"
            if now > self.epoch_at + AGAIN_S:
                self.epoch, self.epoch_at = self.epoch + 1, now
            self.device.order_inverter(InverterOrder(mode, amps, now + 0.5, self.epoch))
            try:
                found = self.device.read()
            except DeviceError:
                self._reopen()
                continue
            for reading in found:
                if isinstance(reading, Reading):
                    self._judge(reading)
            self.arrivals += found

    def shown(self) -> tuple[int, int]:
        """Mode and setpoint counts of the last poll."""
        polls = [one for one in self.arrivals[-20:] if isinstance(one, Reading)]
        return (
            (-1, 0) if not polls else (int(polls[-1].raw[INDEX[MODE]] or 0), int(polls[-1].raw[INDEX[SETPOINT]] or 0))
        )

    def _judge(self, reading: Reading) -> None:
        """Each register as the slave answered it when it was asked last."""
        self.readings += 1
        seen: set[int] = set()
        for exchange in reversed(self.wire.log[-40:]):
            function, first, count = exchange.head
            if (
                function != READ
                or first not in {30256, 30262, 30285, MODE}
                or first in seen
                or count == 1 != first - 30284
            ):
                continue
            if first == 30262 and count != 18:
                continue  # a probe
            seen.add(first)
            assert exchange.number, "a request that was lost has been answered"
            for address, word in zip(range(first, first + count), exchange.words, strict=True):
                if address in INDEX:
                    right = signed(word) if REGISTERS[INDEX[address]].signed else word
                    assert reading.raw[INDEX[address]] == right, f"register {address}"
        assert seen == {30256, 30262, 30285, MODE}

    def _reopen(self) -> None:
        self.device.close()
        deadline = time.monotonic() + 5.0
        while True:
            try:
                self.device.open()
            except DeviceError:
                assert time.monotonic() < deadline, "the adapter did not come back"
            else:
                return


def held_at_each_write(log: list[Any]) -> list[tuple[dict[int, int], int, int]]:
    """Per write on the line: what the slave's registers then held, address and counts."""
    held: dict[int, int] = {}
    found = []
    for exchange in log:
        function, address, counts = exchange.head
        if function == WRITE:
            found.append((dict(held), address, counts))
            if exchange.accepted:
                held[address] = counts
    return found


def test_orders_arrive_in_order_and_nothing_is_taken_for_confirmed_that_was_not(wired: Make) -> None:
    wire = wired(slow_s=REPLY_S, rate=0.08, pulled=0.002)
    bench = Bench(wire)
    bench.order(Mode.OFF, 0.0, lambda: bench.shown() == (0, 0))
    for step in range(1, 7):
        amps = -15.0 * step
        counts = round(amps * AMPERE)
        bench.order(Mode.CURRENT, amps, lambda counts=counts: bench.shown() == (Mode.CURRENT, counts))
        if step % 3 == 0:
            bench.order(Mode.OFF, 0.0, lambda: bench.shown() == (0, 0))
    bench.device.close()
    writes = held_at_each_write(wire.log)
    energy = [held for held, address, counts in writes if address == SETPOINT and counts]
    modes = [held for held, address, counts in writes if address == MODE and counts]
    assert len(energy) >= 6
    assert all(held.items() >= NEEDED.items() for held in (*energy, *modes)), "limits and timer come first"
    assert {held.get(MODE) for held in energy} == {Mode.CURRENT}, "the mode comes before the setpoint"
    assert {held.get(SETPOINT) for held in modes} == {0}, "zero comes before the mode"
    assert bench.readings > 6


def test_a_setpoint_that_the_inverter_refuses_is_said_and_never_shown(wired: Make) -> None:
    wire = wired(slow_s=REPLY_S, rate=0.03)
    bench = Bench(wire)
    bench.order(Mode.OFF, 0.0, lambda: bench.shown() == (0, 0))
    bench.order(Mode.CURRENT, 600.0, lambda: len(said(bench.arrivals)) >= 2)
    assert bench.shown() in {(Mode.CURRENT, 0), (Mode.OFF, 0)}
    refused = [exchange for exchange in wire.log if exchange.head == (WRITE, SETPOINT, round(600 * AMPERE))]
    assert not any(exchange.accepted for exchange in refused)
    bench.order(Mode.OFF, 0.0, lambda: bench.shown() == (0, 0))
    bench.device.close()


def said(arrivals: list[Arrival]) -> list[NoData]:
    return [one for one in arrivals if isinstance(one, NoData) and (one.part, one.reason) == ("writes", "invalid")]


def test_nothing_is_confirmed_by_a_slave_that_hears_nothing(wired: Make) -> None:
    wire = wired(slow_s=REPLY_S, rate=0.0, pulled=0.0)
    wire.rate = 13.0  # every request is lost
    bench = Bench(wire)
    bench.order(Mode.CURRENT, -20.0, lambda: len(bench.arrivals) >= 8)
    assert bench.readings == 0
    assert bench.device._belief._written == {}
    bench.device.close()
