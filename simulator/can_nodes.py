"""The BMUs on the bus: they answer SYNC and SDO, and suffer the CAN faults."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

from simulator.bmu import PDO_BASES, SDO_ANSWER_BASE, SDO_REQUEST_BASE, SYNC_ID, answer_sdo, pack_pdos
from simulator.can_bus import CanBus, Frame
from simulator.faults import Faults
from simulator.plant import Plant
from simulator.profiles import Profile
from simulator.sensing import BmuSensors

DEFAULT_PDOS = (1, 2, 3, 4, 5)
EXTRA_PDOS = (6, 7, 8)
EXTRA_PDOS_WITHOUT_SOC = (6,)
TWIN_SHIFT_RAW = 30  # the second sender of a duplicated module differs by 0.30 V per cell

LONGEST_CATCH_UP_S = 0.5
"""A flood goes on although the simulator itself was not scheduled: a hole would let the modules answer."""


class BmuNodes:
    """All BMUs of the pack. `hear` is called for each frame of the host, `tick` now and then for floods."""

    def __init__(
        self, plant: Plant, sensors: BmuSensors, profile: Profile, faults: Faults, chance: random.Random
    ) -> None:
        self._plant = plant
        self._sensors = sensors
        self._profile = profile
        self._faults = faults
        self._chance = chance
        self._enabled: set[int] = set()
        self._payloads: dict[int, tuple[bytes, ...]] = {}
        self._versions: dict[int, int] = {}
        self._flood_due: dict[int, float] = {}
        self._silent_until = 0.0
        self._next_silence = self._draw_silence(plant.now)
        self._frame = [partial(Frame, base) for base in PDO_BASES]
        self.bus: CanBus | None = None
        self.silences = 0
        self.answered: Counter[int] = Counter()

    def hear(self, frame: Frame, now: float) -> None:
        """A frame of the host arrived on the bus."""
        if frame.extended:
            return
        if frame.can_id == SYNC_ID:
            self._synchronise(now)
            return
        module = frame.can_id - SDO_REQUEST_BASE
        if 1 <= module <= self._count and len(frame.data) == 8 and not self._mute(module, now):
            answer, enables = answer_sdo(frame.data)
            if enables:
                self._enabled.add(module)
            self._send("bmu", Frame(SDO_ANSWER_BASE + module, answer), now)

    def tick(self, now: float) -> None:
        """Send what floods the bus, as much as is due."""
        floods = self._faults.active("can.flood")
        for can_id in self._flood_due.keys() - {flood["id"] for flood in floods}:
            del self._flood_due[can_id]
        for flood in floods:
            if flood["rate"] > 0:
                self._flood(flood["id"], flood["rate"], now)

    def enabled(self, module: int) -> bool:
        """Whether this module's extra PDOs were switched on."""
        return module in self._enabled

    def sent_by(self, module: int) -> int:
        """How many PDOs went out under this module's identifiers."""
        return sum(self.bus.sent[base + module] for base in PDO_BASES) if self.bus else 0

    @property
    def _count(self) -> int:
        return len(self._plant.battery.modules)

    def _flood(self, can_id: int, rate: float, now: float) -> None:
        due = max(self._flood_due.get(can_id, now), now - LONGEST_CATCH_UP_S)
        number = 0
        while due <= now:
            frame = Frame(can_id, self._chance.randbytes(8), can_id > 0x7FF)
            self._send(f"flood{number}", frame, due)
            due += 1.0 / rate
            number += 1
        self._flood_due[can_id] = due

    def _send(self, sender: str, frame: Frame, now: float) -> None:
        if self.bus is not None:
            self.bus.submit(sender, frame, now)

    def _draw_silence(self, now: float) -> float:
        per_hour = self._profile.silence_per_hour
        return now + self._chance.expovariate(per_hour / 3600.0) if per_hour else float("inf")

    def _mute(self, module: int, now: float) -> bool:
        return now < self._silent_until or self._faults.on_module("can.silence", module)

    def _synchronise(self, now: float) -> None:
        if now >= self._next_silence:
            self._silent_until = now + self._chance.uniform(*self._profile.silence_s)
            self._next_silence = self._draw_silence(self._silent_until)
            self.silences += 1
        for module in range(1, self._count + 1):
            if not self._mute(module, now):
                self.answered[module] += 1
                self._answer(module, now)

    def _answer(self, module: int, now: float) -> None:
        payloads = self._current_payloads(module, now)
        extra = EXTRA_PDOS if self._profile.sends_cell_soc else EXTRA_PDOS_WITHOUT_SOC
        pdos = DEFAULT_PDOS + (extra if module in self._enabled else ())
        raw = {}
        if self._faults.has("can.raw"):
            raw = {
                row["pdo"]: bytes.fromhex(row["data"])
                for row in self._faults.active("can.raw")
                if row["module"] == module
            }
        for pdo in sorted({*pdos, *raw}):
            frame = Frame(PDO_BASES[pdo - 1] + module, raw.get(pdo, payloads[pdo - 1]))
            self._send("bmu", frame, now)
        if self._faults.on_module("can.duplicate", module):
            self._answer_twin(module, payloads, now)

    def _answer_twin(self, module: int, payloads: tuple[bytes, ...], now: float) -> None:
        """A second sender under the same identifiers, with other values."""
        for pdo in (1, 3, 4):
            other = bytes(min(255, byte + TWIN_SHIFT_RAW) if byte else 0 for byte in payloads[pdo - 1])
            self._send("twin", Frame(PDO_BASES[pdo - 1] + module, other), now)

    def _current_payloads(self, module: int, now: float) -> tuple[bytes, ...]:
        """Payloads are packed again only when the plant moved; frozen ones not at all."""
        known = module in self._payloads
        if known and self._faults.on_module("can.freeze", module):
            return self._payloads[module]
        version = self._plant.battery.version
        if not known or self._versions[module] != version:
            self._payloads[module] = pack_pdos(self._sensors.read(module - 1, self._plant.current_a, now))
            self._versions[module] = version
        return self._payloads[module]
