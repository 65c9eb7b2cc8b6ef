"""The inverter's registers as a table: addresses, scales and bits (rig.md §3), and how counts become a reading."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from edge_agent.guard.model import Mode, Reading
from shared.signals import INVERTER

SOURCE, PART = "inverter", "poll"
VOLT, AMPERE, KILOWATT, DEGREE, PHASE_VOLT, SECOND, PLAIN = 32.767, 52.094, 218.44, 109.22, 65.535, 10.0, 1.0
MODE, SETPOINT = 41026, 41027
LONGEST_BLOCK = 32
"""Registers in one read: at 19200 Bd it holds the line for about 40 ms."""


class Register(NamedTuple):
    """One register that is polled: `scale` counts make one unit of the signal."""

    address: int
    name: str
    scale: float = PLAIN
    signed: bool = False
    bits: Mapping[int, str] = {}


_EVERY_BIT = {bit: f"bit {bit}" for bit in range(16)}

REGISTERS = (
    Register(30256, "ambient_temperature", DEGREE, signed=True),
    Register(30257, "heat_sink_temperature", DEGREE, signed=True),
    Register(30262, "comm_timer", SECOND),
    Register(30263, "battery_voltage", VOLT, signed=True),
    Register(30264, "dc_link_setpoint", VOLT, signed=True),
    Register(30265, "dc_bus_voltage", VOLT, signed=True),
    Register(30266, "power", KILOWATT, signed=True),
    Register(30267, "current", AMPERE, signed=True),
    Register(30268, "ready"),
    Register(30269, "phase_a_voltage", PHASE_VOLT),
    Register(30270, "phase_b_voltage", PHASE_VOLT),
    Register(30271, "phase_c_voltage", PHASE_VOLT),
    Register(30272, "fault_control", bits={
        0: "comm error", 1: "key faulted", 2: "control values receipt failure", 3: "Modbus communication failed",
        4: "controller mode incorrect", 5: "enclosure over-temperature", 6: "CCU faulted", 7: "non-CCU shutdown",
        8: "emergency power off", 13: "low LVPS", 14: "low battery voltage", 15: "ambient sensor out of range",
    }),
    Register(30273, "fault_power_0", bits={
        0: "phase under-voltage", 1: "phase over-voltage", 2: "heat-sink over-temperature", 3: "array over-voltage",
        4: "DC-link over-voltage", 5: "DC-bus hardware", 7: "software shutdown", 8: "unit response timeout",
        9: "current-limit timeout", 10: "critical communication", 11: "offset shutdown 0", 12: "offset shutdown 1",
        13: "K1 failed to close", 14: "K1 welded", 15: "emergency power off",
    }),
    Register(30274, "fault_power_1", bits={
        0: "heat-sink sensor", 1: "unexpected DC bus", 3: "DC-bus over-current", 4: "thermal overload",
        5: "sensor dislocated", 8: "reverse polarity", 9: "reverse power", 13: "precharge failed",
        14: "DC contactor welded", 15: "DC contactor open",
    }),
    Register(30275, "fault_extra_0", bits=_EVERY_BIT),
    Register(30276, "fault_extra_1", bits=_EVERY_BIT),
    Register(30277, "fault_extra_2", bits=_EVERY_BIT),
    Register(30278, "warnings", bits={3: "power limited", 8: "over-current short", 9: "over-current", 13: "too cold"}),
    Register(30279, "contactors", bits={4: "DC contactor 1", 5: "DC contactor 2"}),
    Register(30285, "power_limit", KILOWATT),
    Register(MODE, "mode"),
    Register(SETPOINT, "setpoint", AMPERE, signed=True),
)  # fmt: skip
"""In the order of shared.signals.INVERTER. 30258..30261, 30280..30284 are not ours or do not exist."""

_BY_NAME = {register.name: register for register in REGISTERS}
_SETPOINT_SCALE = {0: AMPERE, int(Mode.POWER): KILOWATT, int(Mode.CURRENT): AMPERE, 4: VOLT}


class Block(NamedTuple):
    """Registers read in one transaction."""

    address: int
    size: int

    @property
    def addresses(self) -> range:
        """Every address of the block."""
        return range(self.address, self.address + self.size)


def bits(name: str, raw: int) -> tuple[str, ...]:
    """The names of the bits set in a fault or warning word (`fault_control`, …); unnamed ones as `bit 11`."""
    names = _BY_NAME[name].bits
    return tuple(names.get(bit, f"bit {bit}") for bit in range(16) if raw >> bit & 1)


def blocks(addresses: Iterable[int], gap: int = 0) -> tuple[Block, ...]:
    """The fewest blocks that read all these addresses, over holes of at most `gap` registers."""
    found: list[Block] = []
    for address in sorted(addresses):
        last = found[-1] if found else None
        if last and address - last.addresses.stop <= gap and address - last.address < LONGEST_BLOCK:
            found[-1] = Block(last.address, address - last.address + 1)
        else:
            found.append(Block(address, 1))
    return tuple(found)


def split(block: Block, wanted: Collection[int]) -> tuple[Block, ...]:
    """What to read instead of a block with an address that does not exist: its runs without holes, then halves.

    Empty for a single register: that is the one that is missing.
    """
    ours = [address for address in block.addresses if address in wanted]
    runs = blocks(ours)
    if len(runs) > 1 or (runs and runs[0] != block):
        return runs
    half = block.size // 2
    return (Block(block.address, half), Block(block.address + half, block.size - half)) if half else ()


def signed(raw: int) -> int:
    """16-bit counts as two's complement."""
    return raw - 0x10000 if raw & 0x8000 else raw


def setpoint_counts(mode: Mode, setpoint: float) -> int:
    """The setpoint of a mode in counts, signed, within 16 bits."""
    return max(-32768, min(32767, round(setpoint * _SETPOINT_SCALE[int(mode)])))


def poll_reading(counts: Mapping[int, int], t_mono: float, dc_current_scale: float = AMPERE) -> Reading:
    """One poll, in the order of shared.signals.INVERTER.

    Args:
        counts: address → 16-bit counts; an address that does not exist on this inverter is missing, and its value `absent`.
        t_mono: when the last block was received.
        dc_current_scale: counts per ampere of register 30267, in doubt between manual and log.
    """
    raw: list[int | None] = []
    values: list[float | None] = []
    bad: list[tuple[int, str]] = []
    for index, (register, signal) in enumerate(zip(REGISTERS, INVERTER, strict=True)):
        count = counts.get(register.address)
        if count is None:
            raw.append(None)
            values.append(None)
            bad.append((index, "absent"))
            continue
        count = signed(count) if register.signed else count
        value = count / _scale(register, counts, dc_current_scale)
        raw.append(count)
        values.append(value)
        if not signal.low <= value <= signal.high:
            bad.append((index, "out_of_range"))
    return Reading(SOURCE, PART, t_mono, tuple(raw), tuple(values), tuple(bad))


def _scale(register: Register, counts: Mapping[int, int], dc_current_scale: float) -> float:
    if register.address == SETPOINT:
        return _SETPOINT_SCALE.get(counts.get(MODE, 0), AMPERE)
    return dc_current_scale if register.name == "current" else register.scale


assert all(one.name == two.name for one, two in zip(REGISTERS, INVERTER, strict=True))
assert all(one.address < two.address for one, two in pairwise(REGISTERS))
