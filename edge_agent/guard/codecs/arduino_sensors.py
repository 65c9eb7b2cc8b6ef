"""ADC counts of the Arduino's sensors to physical values: one table entry per count, with a reason where there is none."""

from __future__ import annotations

from itertools import pairwise

from shared.signals import ARDUINO

COUNTS = 1024
SUPPLY_V = 5.0
PULL_UP_OHM = 2200.0
LOWEST_COUNT, HIGHEST_COUNT = 5, 1018
PRESSURE_LOW_V, PRESSURE_HIGH_V = 0.45, 4.55

_C_OHM = (
    (140, 40), (138, 50), (132, 65), (126, 75), (122, 90), (115, 115), (110, 120), (104, 145), (100, 185), (93, 225),
    (87, 260), (82, 325), (79, 346), (77, 385), (71, 450), (65, 575), (60, 685), (54, 815), (43, 1200), (37, 1600),
    (33, 2150), (21, 3400), (5, 7500), (0, 9600), (-6, 13500), (-16, 18500), (-18, 25000), (-30, 50000), (-40, 100700),
)  # fmt: skip
"""The thermistor's table, hottest first: °C, Ω."""

_PRESS = next(signal for signal in ARDUINO if signal.name == "press")

Converted = tuple[float | None, str]
"""(value, "") or (None, reason of shared.ipc.REASONS)."""


def thermistor_c(count: int) -> Converted:
    """Temperature of a thermistor against 2.2 kΩ to 5 V, interpolated linearly between its resistances."""
    if not LOWEST_COUNT <= count <= HIGHEST_COUNT:
        return None, "open_sensor"
    volts = count / COUNTS * SUPPLY_V
    ohms = PULL_UP_OHM * volts / (SUPPLY_V - volts)
    for (hot_c, low_ohm), (cold_c, high_ohm) in pairwise(_C_OHM):
        if low_ohm <= ohms <= high_ohm:
            celsius = hot_c + (cold_c - hot_c) * (ohms - low_ohm) / (high_ohm - low_ohm)
            return round(celsius, 1), ""
    return None, "out_of_range"


def pressure(count: int) -> Converted:
    """0.5..4.5 V → 0..150 in the sensor's unit; a broken wire reads below 0.45 V or above 4.55 V."""
    volts = count / COUNTS * SUPPLY_V
    if not (LOWEST_COUNT <= count <= HIGHEST_COUNT and PRESSURE_LOW_V <= volts <= PRESSURE_HIGH_V):
        return None, "open_sensor"
    # within the wire's tolerance around its ends the sensor shows its end
    value = (volts - 0.5) / 4.0 * _PRESS.high
    return min(_PRESS.high, max(_PRESS.low, round(value, 1))), ""


THERMISTOR = tuple(thermistor_c(count) for count in range(COUNTS))
PRESSURE = tuple(pressure(count) for count in range(COUNTS))
