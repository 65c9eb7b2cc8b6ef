"""Compares generated decoders with an oracle: which frames to try, and what counts as equal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.guard.codecs.dbc_layout import TOLERANCE, Field, Layout, Node
from shared.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from edge_agent.guard.codecs.dbc_database import Decoder
    from edge_agent.guard.codecs.dbc_generate import Decode, Row

    Number = int | float | None


def frames(layout: Layout, count: int, random: Random) -> Iterator[bytes]:
    """All zeros, all ones, then random data; in three of four frames every multiplexer holds an id that exists."""
    for number in range(count):
        if number < 2:
            yield (b"\x00", b"\xff")[number] * layout.length
            continue
        data = random.randbytes(layout.length)
        yield _with_known_ids(layout, layout.tree, data, random) if number % 4 else data


def _with_known_ids(layout: Layout, nodes: Sequence[Node], data: bytes, random: Random) -> bytes:
    for node in nodes:
        if node.branches:
            branch = random.choice(node.branches)
            data = _with_count(layout.fields[node.index], random.choice(branch.ids), data)
            data = _with_known_ids(layout, branch.nodes, data, random)
    return data


def _with_count(field: Field, count: int, data: bytes) -> bytes:
    whole = int.from_bytes(data, "little" if field.little else "big")
    mask = (1 << field.bits) - 1
    whole = whole & ~(mask << field.shift) | (count & mask) << field.shift
    return whole.to_bytes(len(data), "little" if field.little else "big")


@dataclass(frozen=True, slots=True)
class Trial:
    """One decoder beside the oracle's two functions for the same message."""

    decoder: Decoder
    raw: Decode
    values: Decode

    def of(self, data: bytes) -> list[str]:
        """What differs for one frame, a readable line each; empty when the decoder is right."""
        where = f"{self.decoder.spec.name} {data.hex()}"
        counts = self._differences(self.decoder.raw, self.raw, data, _same)
        values = self._differences(self.decoder.values, self.values, data, _near)
        return [f"{where}: {what}" for what in counts + values]

    def _differences(
        self, ours: Decode, theirs: Decode, data: bytes, equal: Callable[[Number, Number], bool]
    ) -> list[str]:
        found, expected = _attempt(ours, data), _attempt(theirs, data)
        if found is None or expected is None:
            return [] if found is expected else ["refused by one side only"]
        names = [signal.name for signal in self.decoder.spec.signals]
        if not len(names) == len(found) == len(expected):
            return [f"{len(found)} numbers for {len(names)} signals"]
        rows = zip(names, found, expected, strict=True)
        return [f"{name} is {one}, expected {other}" for name, one, other in rows if not equal(one, other)]


def _attempt(decode: Decode, data: bytes) -> Row | None:
    try:
        return decode(data)
    except WireError:
        return None


def _same(ours: Number, theirs: Number) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours):
        return math.isnan(theirs)
    return type(ours) is type(theirs) and ours == theirs


def _near(ours: Number, theirs: Number) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours == theirs or abs(ours - theirs) <= TOLERANCE or (math.isnan(ours) and math.isnan(theirs))
