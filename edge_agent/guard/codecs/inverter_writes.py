"""What to write to the inverter next: pure, from the order and from what is known to be in its registers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.guard.codecs.inverter import AMPERE, KILOWATT, MODE, SECOND, SETPOINT, VOLT, setpoint_counts
from edge_agent.guard.model import InverterOrder, Mode

SECURITY, TIMER = 41024, 41025
ACCESS_CODE = 125
MAX_V, MIN_V, MAX_CHARGE, MAX_DISCHARGE, MAX_POWER = 41028, 41029, 41030, 41031, 41032
MAY_BE_CLAMPED = frozenset({MAX_V, MIN_V, MAX_POWER})
"""Limits the inverter may round to its own range; our rules are tighter. All other writes must read back exactly."""
LIMITS = range(MAX_V, MAX_POWER + 1)
RETRY_S = 0.5
"""A write that was refused or not answered is tried again after so long."""
LONGEST_REWRITE_S = 10.0
"""An epoch that comes while everything is being written again does not begin anew: on a slow line nothing would ever be complete."""


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


class Belief:
    """What is known to be in the inverter's registers, and what may be written next. Pure: `now` is an argument.

    A mode or setpoint that was lost (communication timer, power failure, long silence) is not written again by itself: only for
    an order of a new epoch, or after one of zero.
    """

    def __init__(self, limits: InverterLimits) -> None:
        self._limits = limits
        self._written: dict[int, int] = {}
        self._refused: dict[int, float] = {}
        self._doubtful: set[int] = set()
        self._epoch: int | None = None
        self._rewriting_until = 0.0
        self._looked_at_limits = False
        self._lost = False
        self._look_first = True
        self._mute = False
        self._owes_zero = False

    @property
    def timer_runs(self) -> bool:
        """Whether the communication timer was set and is to be refreshed."""
        return TIMER in self._written

    @property
    def has_access(self) -> bool:
        """Whether the access code was given: without it every other write is refused."""
        return SECURITY in self._written

    def next_write(self, order: InverterOrder, now: float) -> Write | None:
        """What to write now: nothing but a zero before the registers were looked at, and no energy after a loss."""
        self._accept(order, now)
        want = wanted(order)
        if not want.is_zero and (self._lost or self._look_first):
            return None
        refused = [address for address, until in self._refused.items() if now < until]
        if self._mute and want.is_zero and (zeros := self._zeros(want, refused)):
            # it may hear although we do not hear it: access code and timer, unanswered again and again, must not hold up the zero
            return min(zeros, key=lambda zero: self._refused.get(zero.address, 0.0))
        write = next_write(want, self._written, self._limits, refused)
        if write is None and not refused:
            self._rewriting_until = now
        return write

    def should_look_at(self, write: Write) -> bool:
        """Whether all limits should be read first, once an epoch: those that are there already need no writing."""
        return write.address in LIMITS and not self._looked_at_limits

    def looked_at_limits(self, found: Mapping[int, int]) -> None:
        """The limits as read (address → signed counts), empty when they cannot be read at once."""
        self._looked_at_limits = True
        for write in limit_writes(self._limits):
            if found.get(write.address) == write.counts:
                self._written[write.address] = write.counts

    def _zeros(self, want: Wanted, refused: Collection[int]) -> list[Write]:
        """What ends the current and is not known to be written; the setpoint first, then in turn."""
        zeros = [Write(SETPOINT, 0), *([Write(MODE, int(Mode.OFF))] if want.mode is Mode.OFF else [])]
        return [
            zero for zero in zeros if zero.address not in refused and self._written.get(zero.address) != zero.counts
        ]

    def is_urgent(self, order: InverterOrder, now: float) -> bool:
        """Whether the order is a zero that has not been written yet, or may not have been heard: a poll gives way to it."""
        want = wanted(order)
        if not want.is_zero:
            return False
        if self._owes_zero:  # between two tries there is time for a poll
            return now >= self._refused.get(SETPOINT, now)
        running = want.mode is Mode.OFF and self._written.get(MODE, 0) != Mode.OFF
        return order.epoch != self._epoch or self._written.get(SETPOINT, 0) != 0 or running

    def begin(self, write: Write) -> None:
        """The write goes out: until it is confirmed, nobody knows what is in the register."""
        self._written.pop(write.address, None)
        self._doubtful.add(write.address)

    def confirm(self, write: Write, found: int) -> bool:
        """It was read back as `found` (signed); False when that is not what was written.

        A limit may be clamped, and the timer may have begun to count down.
        """
        self._doubtful.discard(write.address)
        self._hear()
        counting = write.address == TIMER and 0 < found < write.counts
        taken = found == write.counts or counting or write.address in MAY_BE_CLAMPED
        if taken:
            self._written[write.address] = write.counts
        return taken

    def refuse(self, write: Write, now: float) -> None:
        """It was refused, or reads back as something else: not again for a while."""
        self._doubtful.discard(write.address)
        self._hear()
        self._refused[write.address] = now + RETRY_S

    def unanswered(self, write: Write, now: float) -> None:
        """Its outcome is unknown: not again for a while, or until a poll has shown it."""
        self._refused[write.address] = now + RETRY_S
        self._look_first = self._mute = True
        self._owes_zero = self._owes_zero or write == Write(SETPOINT, 0)

    def opened(self) -> None:
        """The line was opened again: the next epoch begins anew in any case."""
        self._rewriting_until = 0.0
        self.look_first()

    def look_first(self) -> None:
        """Time has passed in which anything may have happened: poll before energy is ordered."""
        self._look_first = True

    def polled(self, mode: int | None, setpoint: int | None) -> str:
        """Mode and setpoint (signed) as polled. What was in doubt is known now; a difference is a loss, named."""
        self._look_first = False
        self._hear()
        for address, found in ((MODE, mode), (SETPOINT, setpoint)):
            if found is None:
                continue
            if address in self._doubtful:
                self._doubtful.discard(address)
                self._refused.pop(address, None)
                self._written[address] = found
            elif self._written.get(address, found) != found:
                self.lose()
                return "lost_mode" if address == MODE else "lost_setpoint"
        return ""

    def silent(self) -> None:
        """It has not answered for long: it may have lost power, or we do not hear it."""
        self._mute = self._owes_zero = True
        self.lose()

    def lose(self) -> None:
        """Nothing is believed to be written any more. Energy needs a new epoch, or a zero first."""
        self._forget()
        self._lost = True

    def _forget(self) -> None:
        self._written.clear()
        self._doubtful.clear()
        self._looked_at_limits = False

    def _hear(self) -> None:
        """It has answered: what it says is known again."""
        self._mute = self._owes_zero = False

    def _accept(self, order: InverterOrder, now: float) -> None:
        if order.epoch != self._epoch:
            self._epoch = order.epoch
            if now >= self._rewriting_until:
                self._forget()
                self._rewriting_until = now + LONGEST_REWRITE_S
            self._refused.clear()
            self._lost = False
        elif self._lost and wanted(order).is_zero:
            self._lost = False
