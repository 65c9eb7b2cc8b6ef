"""How BMUs see their modules: the plant's values with the profile's sensor errors and the pins of the control socket."""

from __future__ import annotations

import random

from simulator.battery import Battery
from simulator.bmu import ModuleReading
from simulator.profiles import Profile

SOH_PCT = 100.0


class BmuSensors:
    """Reads modules for their BMUs. Minus means discharge to a BMU, the opposite of ours, as on the lab's rig."""

    def __init__(self, battery: Battery, profile: Profile, noise: random.Random) -> None:
        self._battery = battery
        self._profile = profile
        self._noise = noise

    def current_a(self, index: int, pack_current_a: float) -> float:
        """What the module's own current sensor shows (BMU's sign)."""
        offsets = self._profile.current_offset_a
        return self._battery.modules[index].pins.get("current_a", offsets[index % len(offsets)] - pack_current_a)

    def status(self, index: int, now: float) -> int:
        """The status word, stepping through the profile's cycle."""
        cycle = self._profile.status_cycle
        step = int(now / self._profile.cycle_s) % len(cycle)
        return int(self._battery.modules[index].pins.get("status", cycle[step]))

    def voltage_v(self, index: int, pack_current_a: float) -> float:
        """The module's voltage, without noise."""
        module = self._battery.modules[index]
        return module.rest_v - pack_current_a * module.resistance_ohm

    def read(self, index: int, pack_current_a: float, now: float) -> ModuleReading:
        """Everything one BMU reports."""
        module, profile = self._battery.modules[index], self._profile
        cells = tuple(module.cells_v(pack_current_a))
        noise = self._noise.gauss(0.0, profile.module_noise_v) if profile.module_noise_v else 0.0
        charges = profile.charge_counter
        counted = not charges
        return ModuleReading(
            current_a=self.current_a(index, pack_current_a),
            voltage_v=self.voltage_v(index, pack_current_a) + noise,
            min_cell_v=module.pins.get("min_cell_v", min(cells)),
            max_cell_v=module.pins.get("max_cell_v", max(cells)),
            status=self.status(index, now),
            soc_pct=sum(module.soc_pct) / len(module.soc_pct) if profile.reports_soc else 0.0,
            soh_pct=SOH_PCT,
            cells_v=cells,
            cells_soc_pct=tuple(module.soc_pct),
            sensors_c=tuple(module.sensors_c()),
            charged_as=module.charged_as if counted else charges[index % len(charges)],
            discharged_as=module.discharged_as if counted else 0.0,
        )
