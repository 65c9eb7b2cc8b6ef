"""The analogue and digital inputs of the Arduino, in ADC counts, pinned or following the profile."""

from __future__ import annotations

from simulator.profiles import Profile


class ArduinoInputs:
    """`adc(name, now)` reads; `pins` hold values until released."""

    def __init__(self, profile: Profile) -> None:
        self._cycles = dict(profile.adc_cycles)
        self._cycle_s = profile.cycle_s
        self.pins: dict[str, int] = {}
        self.ground_fault = 0

    def adc(self, name: str, now: float) -> int:
        """Counts 0..1023 of `temp1`, `temp2`, `press` or `current`."""
        cycle = self._cycles[name]
        return self.pins.get(name, cycle[int(now / self._cycle_s) % len(cycle)])
