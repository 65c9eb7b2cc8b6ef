"""The inverter's register map as data: addresses, scales and ranges of rig.md's table, and how readings become counts."""

from __future__ import annotations

from typing import NamedTuple

SECURITY, HEARTBEAT, MODE, SETPOINT = 41024, 41025, 41026, 41027
MAX_V, MIN_V, MAX_CHARGE, MAX_DISCHARGE, MAX_POWER = 41028, 41029, 41030, 41031, 41032
FAULTS_CONTROL = 30272
COMM_COUNT = 30262
ACCESS_CODE = 125

VOLT, AMPERE, KILOWATT, DEGREE, PHASE_VOLT = 32.767, 52.094, 218.44, 109.22, 65.535
KWH = 92_160_000
RATED_KW = 60.0

OFF, POWER, CURRENT, VOLTAGE = 0, 1, 2, 4
SETPOINT_SCALE = {OFF: AMPERE, POWER: KILOWATT, CURRENT: AMPERE, VOLTAGE: VOLT}


class Holding(NamedTuple):
    """A holding register: its value at power-up and the raw range it clamps a write to."""

    start: int
    low: int = -32768
    high: int = 32767
    writable: bool = True


def _fixed(value: int) -> Holding:
    return Holding(value, value, value, writable=False)


# The manual's ranges of the voltage limits (400..840 and 270..400 V) are not enforced: the lab wrote 384 and 264 V.
HOLDING: dict[int, Holding] = {
    SECURITY: Holding(0, 0, 65535),
    HEARTBEAT: Holding(0, 0, 1000),
    MODE: Holding(0, 0, 4),
    SETPOINT: Holding(0),
    MAX_V: Holding(round(840 * VOLT), 0, round(840 * VOLT)),
    MIN_V: Holding(round(270 * VOLT), 0, round(840 * VOLT)),
    MAX_CHARGE: Holding(round(-222 * AMPERE), round(-222 * AMPERE), 0),
    MAX_DISCHARGE: Holding(round(222 * AMPERE), 0, round(222 * AMPERE)),
    MAX_POWER: Holding(round(RATED_KW * KILOWATT), 0, round(RATED_KW * KILOWATT)),
    # grid limits and trip times: read only
    **{address: _fixed(100 + address - 41033) for address in range(41033, 41048)},
}

INPUTS: tuple[int, ...] = (30256, 30257, *range(30262, 30284), 30285)
"""Readable input registers; 30258..30261 and 30284 are gaps, a block across them is refused."""

FAULT_WORDS = range(30272, 30279)


def signed(raw: int) -> int:
    """A 16-bit register as two's complement."""
    return raw - 65536 if raw & 0x8000 else raw


def counts(value: float, scale: float) -> int:
    """A reading as 16-bit register contents, clamped like the device's own ADC."""
    return max(-32768, min(32767, round(value * scale))) & 0xFFFF
