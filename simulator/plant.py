"""The main circuit in virtual time: contacts, precharge, link capacitor, the current, and the battery behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.battery import Battery
from simulator.truth import Change, Truth

STEP_S = 0.005
IDLE_STEP_S = 0.05
BATTERY_STEP_S = 0.05
SLEW_A_PER_S = 200.0
LINK_CAPACITY_F = 0.002
PRECHARGE_OHM = 250.0  # τ = 0.5 s with the link's capacity
CLOSE_DELAY_S = 0.020
OPEN_DELAY_S = 0.012
INRUSH_FROM_V = 20.0

MAIN_PLUS, MAIN_MINUS, PRECHARGE = 1, 2, 3

Drive = Callable[[float, float], float]
"""(rest voltage of the pack V, its resistance Ω) → the current the inverter wants, + discharge."""


def no_drive(_rest_v: float, _resistance_ohm: float) -> float:
    """No inverter: no current."""
    return 0.0


@dataclass(slots=True)
class Contact:
    """A relay: its contact follows the coil after a delay, unless it is welded."""

    number: int
    coil: bool = False
    closed: bool = False
    welded: bool = False
    due: float = math.inf
    by: str = "start"

    def order(self, on: bool, by: str, now: float) -> None:
        """Energise or release the coil."""
        if on == self.coil:
            return
        self.coil, self.by = on, by
        self.due = now + (CLOSE_DELAY_S if on else OPEN_DELAY_S)


@dataclass(slots=True)
class Totals:
    """Integrals since start, for the books: charge and energy are + when the battery gives."""

    charge_as: float = 0.0
    energy_j: float = 0.0
    heat_j: float = 0.0
    pending_as: float = 0.0
    pending_a2s: float = 0.0
    pending_s: float = 0.0


@dataclass(slots=True)
class Plant:
    """Everything between the cells and the inverter's terminals. `advance(now)` first, then change something."""

    battery: Battery
    truth: Truth
    bleed_tau_s: float
    now: float
    drive: Drive = no_drive
    current_a: float = 0.0
    link_v: float = 0.0
    pump: bool = False
    fan: bool = False
    precharge_fails: bool = False
    contacts: dict[int, Contact] = field(default_factory=lambda: {n: Contact(n) for n in (1, 2, 3)})
    totals: Totals = field(default_factory=Totals)

    @property
    def closed(self) -> bool:
        """Whether both main contacts are closed."""
        return self.contacts[MAIN_PLUS].closed and self.contacts[MAIN_MINUS].closed

    @property
    def precharging(self) -> bool:
        """Whether the only path is the one through the precharge resistor."""
        path = self.contacts[PRECHARGE].closed and self.contacts[MAIN_MINUS].closed and not self.precharge_fails
        return path and not self.closed

    @property
    def terminal_v(self) -> float:
        """Voltage at the pack's terminals."""
        return self.battery.rest_v - self.current_a * self.battery.resistance_ohm

    def record(self, what: str, value: float | str, by: str) -> None:
        """Put a change on the record with the current flowing now."""
        self.truth.record(Change(self.now, what, value, round(self.current_a, 4), by))

    def advance(self, now: float) -> None:
        """Let time pass up to `now`; contacts switch at their own instants in between."""
        while self.now < now:
            busy = self.closed or self.precharging or self.current_a != 0.0
            due = min(contact.due for contact in self.contacts.values())
            until = min(now, due, self.now + (STEP_S if busy else IDLE_STEP_S))
            if until > self.now:
                self._flow(until - self.now)
                self.now = until
            self._switch_due()

    def set_relay(self, number: int, on: bool, by: str) -> None:
        """Energise or release a relay's coil; the contact follows."""
        self.contacts[number].order(on, by, self.now)

    def set_cooling(self, what: str, on: bool, by: str) -> None:
        """Switch `pump` or `fan`."""
        if getattr(self, what) != on:
            self.record(what, int(on), by)
            setattr(self, what, on)

    def weld(self, number: int, welded: bool) -> None:
        """Weld a contact shut, or make it follow its coil again."""
        contact = self.contacts[number]
        contact.welded = welded
        contact.by, contact.due = "fault", self.now
        self._switch_due()

    def _switch_due(self) -> None:
        for contact in self.contacts.values():
            if contact.due > self.now:
                continue
            contact.due = math.inf
            wanted = contact.coil or contact.welded
            if wanted != contact.closed:
                self._switch(contact, wanted)

    def _switch(self, contact: Contact, on: bool) -> None:
        was_closed = self.closed
        self.record(f"relay.{contact.number}", int(on), contact.by)
        contact.closed = on
        if self.closed == was_closed:
            if not self.precharging and not self.closed:
                self.current_a = 0.0
            return
        self.record("circuit.closed", int(self.closed), contact.by)
        self.current_a = 0.0
        if self.closed:
            self._join(contact.by)

    def _join(self, by: str) -> None:
        """The link meets the pack: what the capacitor lacks rushes in through the battery's own resistance."""
        gap_v = self.battery.rest_v - self.link_v
        if abs(gap_v) > INRUSH_FROM_V:
            self.record("inrush", round(gap_v / max(self.battery.resistance_ohm, 0.01), 1), by)
        self._book(LINK_CAPACITY_F * gap_v, 0.0, 0.0)
        self.link_v = self.battery.rest_v

    def _flow(self, dt: float) -> None:
        rest_v, resistance = self.battery.rest_v, self.battery.resistance_ohm
        before = self.current_a
        if self.closed:
            swing = SLEW_A_PER_S * dt
            wanted = self.drive(rest_v, resistance)
            self.current_a = min(before + swing, max(before - swing, wanted))
            self.link_v = rest_v - self.current_a * resistance
            self._book((before + self.current_a) / 2 * dt, ((before + self.current_a) / 2) ** 2 * dt, dt)
        elif self.precharging:
            total = PRECHARGE_OHM + resistance
            link_v = rest_v + (self.link_v - rest_v) * math.exp(-dt / (total * LINK_CAPACITY_F))
            charge = (link_v - self.link_v) * LINK_CAPACITY_F
            self.link_v, self.current_a = link_v, (rest_v - link_v) / total
            self._book(charge, charge * charge / dt, dt)
        else:
            # the bleeder is connected only while the link is cut off
            self.current_a = 0.0
            self.link_v = self.link_v * math.exp(-dt / self.bleed_tau_s) if self.link_v > 1e-3 else 0.0
            self._book(0.0, 0.0, dt)

    def _book(self, charge_as: float, square_a2s: float, dt: float) -> None:
        totals = self.totals
        totals.charge_as += charge_as
        totals.heat_j += square_a2s * self.battery.resistance_ohm
        totals.energy_j += charge_as * self.battery.rest_v - square_a2s * self.battery.resistance_ohm
        totals.pending_as += charge_as
        totals.pending_a2s += square_a2s
        totals.pending_s += dt
        if totals.pending_s >= BATTERY_STEP_S:
            self.settle()

    def settle(self) -> None:
        """Hand the charge that flowed to the cells."""
        totals = self.totals
        self.battery.pass_charge(totals.pending_as, totals.pending_a2s, totals.pending_s, (self.pump, self.fan))
        totals.pending_as = totals.pending_a2s = totals.pending_s = 0.0
