"""The inverter as a device: polls it, writes what is ordered with read-back, falls silent without a valid order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from edge_agent.guard.codecs.inverter import (
    AMPERE,
    MODE,
    PART,
    REGISTERS,
    SETPOINT,
    SOURCE,
    blocks,
    poll_reading,
    signed,
    split,
)
from edge_agent.guard.codecs.inverter_writes import LIMITS, SECURITY, TIMER, Belief, InverterLimits, Write, timer_write
from edge_agent.guard.devices.rtu import ExceptionReply, NoAnswer, Rtu
from edge_agent.guard.model import InverterOrder, NoData
from edge_agent.guard.ports import Arrival

GAP = 5
"""Blocks are read across holes of this length first; an inverter that refuses that gets them in pieces."""
NO_SUCH_ADDRESS = 2
LONGEST_WAIT_S = 0.25
JUDGED_S = 0.005
"""Before a transaction that is no zero the loop gets so long to judge what has arrived: a zero ordered a moment later would have to
wait for the whole of it. With frames arriving the loop turns every 2 to 4 ms."""
SILENCE_S = 1.5
"""An inverter that did not answer for so long may have lost power: nothing is believed to be in its registers any more."""
_ADDRESSES = frozenset(register.address for register in REGISTERS)


class _TokenEnded(Exception):
    """No error: the order has run out, the line falls silent."""


class _Interrupted(Exception):
    """No error: a poll gives way to a zero."""


class Inverter:
    """Device `inverter`. What is written and when is decided in codecs.inverter_writes; this does it.

    Args:
        port: serial port of the RS-485 adapter.
        baudrate: 8N1.
        unit: Modbus address.
        poll_period_s: s between two polls.
        limits: what is written to its limit registers and communication timer.
        dc_current_scale: counts per ampere of register 30267.
    """

    source = SOURCE

    def __init__(
        self,
        port: str,
        *,
        baudrate: int = 19_200,
        unit: int = 2,
        poll_period_s: float = 0.25,
        limits: InverterLimits | None = None,
        dc_current_scale: float = AMPERE,
    ) -> None:
        self._rtu = Rtu(port, baudrate, unit)
        self._period_s = poll_period_s
        self._limits = limits or InverterLimits()
        self._dc_current_scale = dc_current_scale
        self._order: InverterOrder | None = None
        self._woken = threading.Event()
        self._judged = threading.Event()
        self._counted: Counter[str] = Counter()
        self._belief = Belief(self._limits)
        self._poll_due = 0.0
        self._answered_at = 0.0
        self._wrote_last = False
        self._plan = blocks(_ADDRESSES, GAP)
        self._missing: set[int] = set()

    def order_inverter(self, order: InverterOrder) -> None:
        """Take over mode and setpoint; wakes the thread when they changed. Loop thread."""
        before, self._order = self._order, order
        if before is None or before[:2] != order[:2] or before.epoch != order.epoch:
            self._woken.set()
        self._judged.set()

    def open(self) -> str:
        """Open the port. Nothing is sent before the first order."""
        identity = self._rtu.open()
        self._plan = blocks(_ADDRESSES, GAP)
        self._missing.clear()
        self._belief.opened()
        self._answered_at = self._poll_due = time.monotonic()
        return identity

    def close(self) -> None:
        """Give the port back."""
        self._rtu.close()

    def counters(self) -> dict[str, int]:
        """Transactions, missing and strange answers, writes, refusals, clamped limits, trips."""
        return {**self._rtu.counted, **self._counted, "missing_registers": len(self._missing)}

    def read(self) -> Sequence[Arrival]:
        """One turn: the next write of an order, or a poll that is due, or a wait for either."""
        try:
            return self._turn(self._judged_order())
        except _TokenEnded:
            self._counted["silent_turns"] += 1
            self._belief.look_first()
            self._woken.wait(LONGEST_WAIT_S)
            self._woken.clear()
            self._answered_at = time.monotonic()
            return []
        except _Interrupted:
            self._counted["interrupted_polls"] += 1
            return []

    def _valid_order(self) -> InverterOrder:
        order = self._order
        if order is None or time.monotonic() >= order.valid_until:
            raise _TokenEnded
        return order

    def _judged_order(self) -> InverterOrder:
        """The order in force, with what has arrived by now taken into account unless it is urgent anyway."""
        order = self._valid_order()
        if self._belief.is_urgent(order, time.monotonic()):
            return order
        self._judged.clear()
        self._judged.wait(JUDGED_S)
        return self._valid_order()

    def _turn(self, order: InverterOrder) -> Sequence[Arrival]:
        self._woken.clear()
        now = time.monotonic()
        write = self._belief.next_write(order, now)
        # polls come between the steps of a ramp, never between an order and its zero; slow ones take turns with the writes
        due = now >= self._poll_due + self._period_s and self._wrote_last
        if write is not None and (not due or self._belief.is_urgent(order, now)):
            self._wrote_last = True
            return self._look_at_limits() if self._belief.should_look_at(write) else self._write(write)
        if now >= self._poll_due:
            self._wrote_last = False
            return self._poll()
        self._woken.wait(min(LONGEST_WAIT_S, self._poll_due - now, max(0.0, order.valid_until - now)))
        return []

    # ---- writing ----

    def _write(self, write: Write) -> Sequence[Arrival]:
        self._belief.begin(write)
        self._poll_due = min(self._poll_due, time.monotonic())  # the read-back in a reading follows at once
        try:
            self._rtu.write(*write)
            self._counted["writes"] += 1
            if write.address == SECURITY:  # a code is not for reading back
                self._belief.confirm(write, write.counts)
                return []
            if write.address == SETPOINT and write.counts and not self._judged_order().setpoint:
                self._counted["overtaken_writes"] += 1  # a zero does not wait for the read-back of what it replaces
                return []
            self._valid_order()
            (raw,) = self._rtu.read(write.address, 1)
        except ExceptionReply as error:
            return self._not_taken(write, str(error))
        except NoAnswer as error:
            self._belief.unanswered(write, time.monotonic())
            return self._missed(f"write {write.address} = {write.counts}: {error}")
        self._answered_at = time.monotonic()
        return self._compare(write, signed(raw))

    def _look_at_limits(self) -> Sequence[Arrival]:
        """One read instead of five writes with their read-backs: after a trip the limits are there, and a slow line has no time."""
        found: dict[int, int] = {}
        try:
            found = {
                address: signed(raw)
                for address, raw in zip(LIMITS, self._rtu.read(LIMITS.start, len(LIMITS)), strict=True)
            }
        except ExceptionReply:
            self._counted["unread_limits"] += 1
        except NoAnswer as error:
            return self._missed(f"read of the limits: {error}")
        finally:
            self._belief.looked_at_limits(found)
        self._answered_at = time.monotonic()
        return []

    def _compare(self, write: Write, found: int) -> Sequence[Arrival]:
        detail = f"{write.address}: wrote {write.counts}, reads {found}"
        if not self._belief.confirm(write, found):
            return self._not_taken(write, detail)
        if found == write.counts or write.address == TIMER:
            return []
        self._counted["clamped_limits"] += 1
        return [NoData(SOURCE, "limits", time.monotonic(), "out_of_range", f"the inverter clamped a limit: {detail}")]

    def _not_taken(self, write: Write, detail: str) -> Sequence[Arrival]:
        now = time.monotonic()
        self._counted["refused_writes"] += 1
        self._belief.refuse(write, now)
        if write.address != SECURITY and not self._belief.has_access:
            return []  # a zero for an inverter that was not heard: its refusal says that it hears us, nothing is wrong
        return [NoData(SOURCE, "writes", now, "invalid", detail)]

    # ---- polling ----

    def _poll(self) -> Sequence[Arrival]:
        self._poll_due = max(self._poll_due + self._period_s, time.monotonic())
        try:
            self._refresh_timer()
            counts = self._read_blocks()
        except NoAnswer as error:
            return self._missed(str(error))
        self._answered_at = now = time.monotonic()
        reading = poll_reading(counts, now, self._dc_current_scale)
        mode, setpoint = counts.get(MODE), counts.get(SETPOINT)
        loss = self._belief.polled(mode, None if setpoint is None else signed(setpoint))
        if loss:
            self._counted[loss] += 1
        return [reading]

    def _refresh_timer(self) -> None:
        self._valid_order()
        if not self._belief.timer_runs:
            return
        try:
            self._rtu.write(*timer_write(self._limits))
        except ExceptionReply:
            self._counted["lost_access"] += 1
            self._belief.lose()

    def _read_blocks(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        waiting, done = list(self._plan), []
        while waiting:
            self._give_way()
            block = waiting.pop(0)
            try:
                counts.update(zip(block.addresses, self._rtu.read(*block), strict=True))
                done.append(block)
            except ExceptionReply as error:
                if error.code != NO_SUCH_ADDRESS:
                    raise NoAnswer(str(error)) from error
                parts = split(block, _ADDRESSES)
                self._missing.update(() if parts else block.addresses)
                waiting = [*parts, *waiting]
        self._plan = tuple(done)
        return counts

    def _give_way(self) -> None:
        """Between two transactions: an ended token stops everything, an ordered zero goes first."""
        if self._belief.is_urgent(self._judged_order(), time.monotonic()):
            self._poll_due = time.monotonic()
            raise _Interrupted

    def _missed(self, detail: str) -> Sequence[Arrival]:
        now = time.monotonic()
        self._counted["missed_answers"] += 1
        self._belief.look_first()
        if now - self._answered_at > SILENCE_S:
            self._answered_at = now
            self._counted["lost_silence"] += 1
            self._belief.silent()
        return [NoData(SOURCE, PART, now, "timeout", detail)]
