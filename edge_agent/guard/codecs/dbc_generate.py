"""Generates the two functions that decode one CAN message: raw counts and physical values.

The generated source holds integers, positions and the fixed words of this file; no text and no float of the DBC.
Tables and floats reach it as arguments, and it runs without builtins.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.guard.codecs.dbc_layout import Field, Layout, Node, byte_table, rational

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.errors import WireError

    Row = tuple[int | float | None, ...]
    Decode = Callable[[bytes], Row]
    Make = Callable[[Callable[[bytes], WireError], Callable[[int, int], WireError]], tuple[Decode, Decode]]

MAX_BITS = 64
MAX_BRANCHES = 64  # tried one after the other
MAX_IDS = 4096
MAX_DEPTH = 8

_INTEGERS = {8: "B", 16: "H", 32: "I", 64: "Q"}
FLOAT_BITS = {16: "e", 32: "f", 64: "d"}


def _float_of(bits: int) -> Callable[[int], float]:
    pack, unpack = struct.Struct("<" + _INTEGERS[bits]).pack, struct.Struct("<" + FLOAT_BITS[bits]).unpack

    def float_of(count: int) -> float:
        (number,) = unpack(pack(count))
        return float(number)

    return float_of


_FLOAT_OF = {bits: _float_of(bits) for bits in FLOAT_BITS}


@dataclass(slots=True)
class _Constants:
    """What the generated code cannot spell in integers; handed to it as its arguments k0, k1 and so on."""

    found: list[object] = field(default_factory=list)

    def name(self, constant: object) -> str:
        for index, known in enumerate(self.found):
            if known is constant:
                return f"k{index}"
        self.found.append(constant)
        return f"k{len(self.found) - 1}"


def obstacle(layout: Layout) -> str | None:
    """Why a layout cannot be generated, or None."""
    if any(one.bits > MAX_BITS for one in layout.fields):
        return f"a signal of more than {MAX_BITS} bits"
    return _obstacle_below(layout, layout.tree, 0)


def _obstacle_below(layout: Layout, nodes: Sequence[Node], depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"multiplexers nested deeper than {MAX_DEPTH}"
    for node in nodes:
        if node.branches and (layout.fields[node.index].is_float or not layout.fields[node.index].identity):
            return "a multiplexer with a scale"
        if len(node.branches) > MAX_BRANCHES or sum(len(branch.ids) for branch in node.branches) > MAX_IDS:
            return f"a multiplexer with more than {MAX_BRANCHES} layouts or {MAX_IDS} ids"
        for branch in node.branches:
            if found := _obstacle_below(layout, branch.nodes, depth + 1):
                return found
    return None


def source(layout: Layout) -> tuple[str, list[object]]:
    """The source of `make(wrong, unknown, size, whole, bad, unpack, k) -> (raw, values)` and its constants `k`."""
    constants = _Constants()
    write = _branching if layout.multiplexed else _shifting if struct_format(layout) is None else _unpacking
    body = write(layout, constants, scaled=False)
    plain = all(one.identity for one in layout.fields)
    body += ["    values = raw"] if plain else write(layout, constants, scaled=True)
    names = _row([f"k{index}" for index in range(len(constants.found))])
    head = ["def make(wrong, unknown, size, whole, bad, unpack, k):", f"    {names} = k"]
    return "\n".join([*head, *body, "    return raw, values", ""]), constants.found


def compiled(layout: Layout) -> Make:
    """Compile a layout without obstacle.

    Returns:
        `make(wrong, unknown)`: `wrong(data)` builds the error for a wrong length and `unknown(index, id)` the one for
        an id no branch of multiplexer `index` has. It returns (raw, values).
    """
    text, constants = source(layout)
    namespace: dict[str, Callable[..., tuple[Decode, Decode]]] = {}
    exec(compile(text, "<dbc layout>", "exec"), {"__builtins__": {}}, namespace)  # noqa: S102 - integers only, see above
    make, unpack = namespace["make"], struct.Struct(struct_format(layout) or "").unpack
    return lambda wrong, unknown: make(wrong, unknown, len, int.from_bytes, struct.error, unpack, constants)


def struct_format(layout: Layout) -> str | None:
    """The `struct` format that reads all fields at once, or None when they are not whole words in one byte order."""
    orders = {one.little for one in layout.fields if one.bits > 8}
    if layout.multiplexed or len(orders) > 1:
        return None
    parts, at = ["<" if True in orders or not orders else ">"], 0
    for one in layout.fields:
        letter = FLOAT_BITS.get(one.bits) if one.is_float else _INTEGERS.get(one.bits)
        first = one.first_byte(layout.length)
        if one.shift % 8 or letter is None or first < at:
            return None
        parts += ["x" * (first - at), letter.lower() if one.signed else letter]
        at = first + one.bits // 8
    return "".join([*parts, "x" * (layout.length - at)])


def _unpacking(layout: Layout, constants: _Constants, *, scaled: bool) -> list[str]:
    refuse = ["        except bad:", "            raise wrong(data) from None"]
    if not scaled:
        return ["    def raw(data):", "        try:", "            return unpack(data)", *refuse]
    names = [f"v{index}" for index in range(len(layout.fields))]
    # a signed byte indexes its table from the end: entry −1 is that of 0xFF
    values = [
        f"{constants.name(byte_table(one, scaled=True))}[{name}]"
        if one.in_one_byte and not one.identity
        else _scaled(one, name, constants)
        for one, name in zip(layout.fields, names, strict=True)
    ]
    opening = ["    def values(data):", "        try:", f"            {_row(names)} = unpack(data)", *refuse]
    return [*opening, f"        return {_row(values)}"]


def _shifting(layout: Layout, constants: _Constants, *, scaled: bool) -> list[str]:
    reads = [_read(one, layout.length, constants, scaled=scaled) for one in layout.fields]
    return [*_opening(layout, scaled=scaled), f"        return {_row(reads)}"]


def _branching(layout: Layout, constants: _Constants, *, scaled: bool) -> list[str]:
    names = [f"v{index}" for index in range(len(layout.fields))]

    def below(nodes: Sequence[Node], indent: str) -> list[str]:
        lines = []
        for node in nodes:
            read = _read(layout.fields[node.index], layout.length, constants, scaled=scaled)
            lines.append(f"{indent}v{node.index} = {read}")
            for number, branch in enumerate(node.branches):
                lines.append(f"{indent}{'elif' if number else 'if'} v{node.index} in {_row(map(str, branch.ids))}:")
                lines += below(branch.nodes, indent + " ") or [f"{indent} pass"]
            if node.branches:
                lines += [f"{indent}else:", f"{indent} raise unknown({node.index}, v{node.index})"]
        return lines

    absent = [f"        {' = '.join(names)} = None"] if names else []
    return [*_opening(layout, scaled=scaled), *absent, *below(layout.tree, " " * 8), f"        return {_row(names)}"]


def _opening(layout: Layout, *, scaled: bool) -> list[str]:
    lines = [f"    def {'values' if scaled else 'raw'}(data):"]
    lines += [f"        if size(data) != {layout.length}:", "            raise wrong(data)"]
    wide = [one for one in layout.fields if not one.in_one_byte]
    lines += ['        little = whole(data, "little")'] if any(one.little for one in wide) else []
    return lines + (['        big = whole(data, "big")'] if any(not one.little for one in wide) else [])


def _read(one: Field, length: int, constants: _Constants, *, scaled: bool) -> str:
    if one.in_one_byte:
        byte = f"data[{one.first_byte(length)}]"
        if one.bits == 8 and not one.signed and (one.identity or not scaled):
            return byte
        return f"{constants.name(byte_table(one, scaled=scaled))}[{byte}]"
    count = f"({'little' if one.little else 'big'} >> {one.shift} & {(1 << one.bits) - 1})"
    if one.is_float:
        count = f"{constants.name(_FLOAT_OF[one.bits])}({count})"
    elif one.signed:
        half = 1 << one.bits - 1
        count = f"(({count} ^ {half}) - {half})"
    return _scaled(one, count, constants) if scaled else count


def _scaled(one: Field, count: str, constants: _Constants) -> str:
    if one.identity:
        return count
    fraction = rational(one)
    if fraction is None:
        return f"{count} * {constants.name(one.scale)} + {constants.name(one.offset)}"
    p, o, q = fraction
    product = count if p == 1 else f"{count} * {p}"
    total = f"({product} + {o})" if o else product
    return total if q == 1 else f"{total} / {q}"


def _row(parts: Iterable[str]) -> str:
    items = list(parts)
    return "(" + ", ".join(items) + ",)" if items else "()"
