"""What to write to the inverter next: pure, from the order and from what is known to be in its registers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.guard.codecs.inverter import AMPERE, KILOWATT, MODE, SECOND, SETPOINT, VOLT, setpoint_counts
from edge_agent.guard.model import InverterOrder, Mode

SECURITY, TIMER = 41024, 41025
ACCESS_CODE = 125
MAX_V, MIN_V, MAX_CHARGE, MAX_DISCHARGE, MAX_POWER = 41028, 41029, 41030, 41031, 41032
MAY_BE_CLAMPED = frozenset({MAX_V, MIN_V, MAX_POWER})
"""Limits the inverter may round to its own range; our rules are tighter. All other writes must read back exactly."""


@dataclass(frozen=True, slots=True)
class InverterLimits:
    """The limits the inverter shall keep by itself, and its communication timer."""

    max_voltage_v: float = 384.0
    min_voltage_v: float = 264.0
    max_charge_a: float = 100.0
    max_discharge_a: float = 100.0
    max_power_kw: float = 30.0
    comm_timer_s: float = 2.0


class Write(NamedTuple):
    """One register to write, signed counts."""

    address: int
    counts: int


class Wanted(NamedTuple):
    """An order in counts."""

    mode: Mode
    counts: int

    @property
    def is_zero(self) -> bool:
        """Whether it asks for no energy."""
        return self.mode is Mode.OFF or self.counts == 0


def wanted(order: InverterOrder) -> Wanted:
    """An order in counts; off is always 0."""
    mode = order.mode
    return Wanted(mode, 0 if mode is Mode.OFF else setpoint_counts(mode, order.setpoint))


def start_writes(limits: InverterLimits) -> tuple[Write, ...]:
    """Access code and timer: before anything else is accepted."""
    return Write(SECURITY, ACCESS_CODE), timer_write(limits)


def timer_write(limits: InverterLimits) -> Write:
    """The refresh of the communication timer."""
    return Write(TIMER, round(limits.comm_timer_s * SECOND))


def limit_writes(limits: InverterLimits) -> tuple[Write, ...]:
    """The limits; charging counts negative."""
    return (
        Write(MAX_V, round(limits.max_voltage_v * VOLT)),
        Write(MIN_V, round(limits.min_voltage_v * VOLT)),
        Write(MAX_CHARGE, -round(limits.max_charge_a * AMPERE)),
        Write(MAX_DISCHARGE, round(limits.max_discharge_a * AMPERE)),
        Write(MAX_POWER, round(limits.max_power_kw * KILOWATT)),
    )


def next_write(
    want: Wanted, written: Mapping[int, int], limits: InverterLimits, refused: Collection[int] = ()
) -> Write | None:
    """The next register to write, None when nothing is to be done or what comes next was refused.

    Args:
        want: the order.
        written: address → counts of what was written and confirmed; an address whose content is not known is missing.
        limits: what goes with it.
        refused: addresses that were refused a moment ago. On the way to zero they are passed over, each output is tried;
            on the way to energy nothing comes after them.
    """
    for write in _sequence(want, written, limits):
        if written.get(write.address) == write.counts:
            continue
        if write.address not in refused:
            return write
        if not want.is_zero:
            return None
    return None


def _sequence(want: Wanted, written: Mapping[int, int], limits: InverterLimits) -> Iterator[Write]:
    yield from start_writes(limits)
    if want.mode is Mode.OFF:
        yield from (Write(SETPOINT, 0), Write(MODE, int(Mode.OFF)))
        yield from limit_writes(limits)
        return
    if written.get(MODE) != want.mode or want.is_zero:
        yield Write(SETPOINT, 0)  # else the old setpoint would run in the new mode
    yield from limit_writes(limits)
    yield Write(MODE, int(want.mode))
    yield Write(SETPOINT, want.counts)
