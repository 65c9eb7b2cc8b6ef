"""Where the signals of a CAN message lie and how counts become physical values: numbers only, no text of the DBC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

TOLERANCE = 1e-9
MAX_DENOMINATOR = 10**12


@dataclass(frozen=True, slots=True)
class Field:
    """One signal: `bits` bits, `shift` bits above bit 0 of the data read as one little- or big-endian integer."""

    little: bool
    shift: int
    bits: int
    signed: bool
    is_float: bool
    scale: float
    offset: float

    @property
    def identity(self) -> bool:
        """Whether the physical value is the count itself."""
        return self.scale == 1 and self.offset == 0

    def first_byte(self, length: int) -> int:
        """Index of the first byte in a message of `length` bytes that holds a bit of the field."""
        return self.shift // 8 if self.little else length - 1 - (self.shift + self.bits - 1) // 8

    @property
    def in_one_byte(self) -> bool:
        """Whether all bits lie in one byte, so that a table of 256 answers decodes it."""
        return self.shift // 8 == (self.shift + self.bits - 1) // 8 and not self.is_float


@dataclass(frozen=True, slots=True)
class Branch:
    """The fields that are present while the multiplexer above holds one of `ids`."""

    ids: tuple[int, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A field by its index in `Layout.fields`; with branches it is a multiplexer."""

    index: int
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """One message. Equal layouts (the same frame of 15 modules) share one generated function."""

    length: int
    fields: tuple[Field, ...]
    tree: tuple[Node, ...]

    @property
    def multiplexed(self) -> bool:
        """Whether some field can be absent."""
        return any(node.branches for node in self.tree) or len(self.tree) != len(self.fields)


def rational(field: Field) -> tuple[int, int, int] | None:
    """Integers (p, o, q) with physical value = (count·p + o) / q, or None when count·scale + offset must do.

    Dividing two integers rounds once, so 392 counts of 0.01 V are 3.92 and not 3.9200000000000004, and are short
    in JSON. The difference to count·scale + offset is at most five units in the last place; where a field is so
    wide that this could exceed the tolerance, the plain formula is used.
    """
    if field.is_float:
        return None
    if float(field.scale).is_integer() and float(field.offset).is_integer():
        return int(field.scale), int(field.offset), 1
    largest = 2.0**field.bits * abs(field.scale) + abs(field.offset)
    if not math.isfinite(largest) or 5 * math.ulp(largest) > TOLERANCE:
        return None
    scale, offset = (Fraction(Decimal(repr(float(number)))) for number in (field.scale, field.offset))
    q = math.lcm(scale.denominator, offset.denominator)
    return (int(scale * q), int(offset * q), q) if q <= MAX_DENOMINATOR else None


def physical(field: Field, count: int) -> float:
    """The physical value of a count."""
    if field.identity:
        return count
    fraction = rational(field)
    if fraction is None:
        return count * field.scale + field.offset
    p, o, q = fraction
    return count * p + o if q == 1 else (count * p + o) / q


def count_in_byte(field: Field, byte: int) -> int:
    """The count of a field that lies in one byte."""
    count = byte >> field.shift % 8 & (1 << field.bits) - 1
    return count - (1 << field.bits) if field.signed and count >> field.bits - 1 else count


@lru_cache(maxsize=256)
def _table(field: Field, scaled: bool) -> tuple[float, ...]:
    counts = [count_in_byte(field, byte) for byte in range(256)]
    return tuple(physical(field, count) for count in counts) if scaled else tuple(counts)


def byte_table(field: Field, *, scaled: bool) -> tuple[float, ...]:
    """256 answers for a field in one byte: its counts, or its physical values; equal fields share one table."""
    place = Field(True, field.shift % 8, field.bits, field.signed, False, field.scale, field.offset)  # noqa: FBT003 - the fields of the record, in order
    return _table(place, scaled)
