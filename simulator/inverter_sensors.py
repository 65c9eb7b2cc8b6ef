"""What the inverter measures of the plant, as input-register counts, with the profile's sensor errors."""

from __future__ import annotations

import random
from collections.abc import Callable

from simulator import registers as reg
from simulator.plant import LINK_CAPACITY_F, Plant
from simulator.profiles import Profile

GRID_V = 277.0
READY_FROM = 0.8  # of the pack's voltage, on the link
HEAT_SINK_K_PER_A = 0.1
DC_CONTACTORS = 1 << 4 | 1 << 5


class InverterSensors:
    """One reader per input register; `read` gives raw counts."""

    def __init__(self, plant: Plant, profile: Profile, noise: random.Random) -> None:
        self._plant = plant
        self._profile = profile
        self._noise = noise
        self._rows: dict[int, Callable[[], int]] = {
            30256: lambda: reg.counts(plant.battery.ambient_c, reg.DEGREE),
            30257: lambda: reg.counts(self._heat_sink_c(), reg.DEGREE),
            30263: lambda: reg.counts(self.pack_v(), reg.VOLT),
            30264: lambda: reg.counts(self.pack_v(), reg.VOLT),
            30265: lambda: reg.counts(self.link_v(), reg.VOLT),
            30266: lambda: reg.counts(self.link_v() * self.current_a() / 1000.0, reg.KILOWATT),
            30267: lambda: reg.counts(self.current_a(), reg.AMPERE),
            30268: lambda: int(self._ready()),
            30269: lambda: reg.counts(GRID_V, reg.PHASE_VOLT),
            30270: lambda: reg.counts(GRID_V + 0.3, reg.PHASE_VOLT),
            30271: lambda: reg.counts(GRID_V - 0.4, reg.PHASE_VOLT),
            30279: lambda: DC_CONTACTORS if self._ready() else 0,
            30280: lambda: self._energy_word(3),
            30281: lambda: self._energy_word(2),
            30282: lambda: self._energy_word(1),
            30283: lambda: self._energy_word(0),
            30285: lambda: reg.counts(reg.RATED_KW, reg.KILOWATT),
        }

    def read(self, address: int) -> int:
        """The register's contents, 0..65535."""
        return self._rows[address]()

    def pack_v(self) -> float:
        """Voltage on the pack's side of the contactors, as measured."""
        return self._plant.terminal_v * self._profile.inverter_voltage_gain

    def link_v(self) -> float:
        """Voltage of the DC link, as measured."""
        return self._plant.link_v * self._profile.inverter_voltage_gain

    def current_a(self) -> float:
        """Current of the DC bus, as measured: the precharge current fills the link and is seen there too."""
        profile = self._profile
        noise = self._noise.gauss(0.0, profile.inverter_current_noise_a) if profile.inverter_current_noise_a else 0.0
        return self._plant.current_a + profile.inverter_current_offset_a + noise

    def _ready(self) -> bool:
        return self._plant.link_v > READY_FROM * self._plant.terminal_v

    def _heat_sink_c(self) -> float:
        return self._plant.battery.ambient_c + 5.0 + HEAT_SINK_K_PER_A * abs(self._plant.current_a)

    def _energy_word(self, place: int) -> int:
        stored_j = 0.5 * LINK_CAPACITY_F * self._plant.link_v**2
        kwh = max(0.0, self._plant.totals.energy_j - stored_j) / 3.6e6
        return int(kwh * reg.KWH) >> (16 * place) & 0xFFFF
