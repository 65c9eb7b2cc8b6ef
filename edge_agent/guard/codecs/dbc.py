"""Turns a DBC file into decoders, and is the one door to cantools: the parser, the oracle and the fallback.

The parser is strict: signals that share bits or leave their message contradict each other, cantools decodes their
whole message wrongly, and a guard may not choose which one is meant. Such a file is refused with its line.
"""

from __future__ import annotations

import math
import re
from random import Random
from typing import TYPE_CHECKING, Any

from edge_agent.guard.codecs.dbc_compare import Trial, frames
from edge_agent.guard.codecs.dbc_database import EXTENDED, Database, Decoder, MessageSpec, SignalSpec, decode, groups
from edge_agent.guard.codecs.dbc_generate import FLOAT_BITS, compiled, obstacle
from edge_agent.guard.codecs.dbc_layout import Branch, Field, Layout, Node
from edge_agent.guard.codecs.dbc_text import Source, read
from shared.errors import ConfigError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cantools.database.can import Message, Signal

    from edge_agent.guard.codecs.dbc_generate import Decode, Make, Row

__all__ = ["EXTENDED", "Database", "Decoder", "MessageSpec", "SignalSpec", "compare", "decode", "groups", "load"]

_READABLE = "a DBC whose signals fit their message without sharing bits, with value tables of existing signals only"


def load(path: Path) -> Database:
    """Read a DBC and generate its decoders. No cantools object is kept but for the messages in `fallback`.

    Raises:
        ConfigError: the file cannot be read or used; says where and what is allowed.
    """
    source = read(path)
    makes: dict[Layout, Make] = {}
    decoders = {_key(message): _decoder(message, source, makes) for message in _parsed(source)}
    if not decoders:
        raise ConfigError(str(path), "no message", "a DBC with at least one BO_ message")
    fallback = tuple(decoder.spec.name for decoder in decoders.values() if not decoder.compiled)
    return Database(path, source.sha, decoders, fallback)


def compare(db: Database, frames_per_message: int, seed: int) -> list[str]:
    """Decode generated frames with `db` and with cantools; one readable line per mismatch, empty when equal.

    Counts must be equal exactly, values within 1e-9, refusals the same. The frames follow from `seed` alone.
    """
    source = read(db.path)
    if source.sha != db.sha:
        return [f"{db.path} is {source.sha} now and was {db.sha} when it was loaded"]
    lines = []
    for message in _parsed(source):
        oracle = [_by_cantools(message, scaling=scaling) for scaling in (False, True)]
        seeded = Random(f"{seed}:{_key(message)}")  # noqa: S311 - frames that can be drawn again, no secret
        trial = Trial(db.messages[_key(message)], oracle[0], oracle[1])
        lines += [line for data in frames(_layout(message), frames_per_message, seeded) for line in trial.of(data)]
    return lines


def _parsed(source: Source) -> list[Message]:
    from cantools.database import Database as Parsed  # noqa: PLC0415 - 20 MB that only a process with a DBC pays
    from cantools.database import load_string  # noqa: PLC0415 - same
    from cantools.database.errors import UnsupportedDatabaseFormatError  # noqa: PLC0415 - same

    try:
        parsed = load_string(source.text, "dbc", strict=True)
    except UnsupportedDatabaseFormatError as error:
        raise _refusal(source, error.e_dbc or error) from error
    assert isinstance(parsed, Parsed)
    return parsed.messages


def _refusal(source: Source, error: Exception) -> ConfigError:
    line = getattr(error, "line", None)
    if line is not None:
        wrong = source.text.split("\n")[line - 1].strip()
        return ConfigError(f"{source.path} line {line}", repr(wrong[:80]), "a DBC statement (BO_, SG_, CM_, VAL_ …)")
    message = re.search(r"in message (\w+)", str(error))
    line = source.lines.get(message[1]) if message else None
    reason = " ".join(str(error).split())
    return ConfigError(f"{source.path} line {line}" if line else str(source.path), reason[:300], _READABLE)


def _key(message: Message) -> int:
    return message.frame_id | EXTENDED if message.is_extended_frame else message.frame_id


def _decoder(message: Message, source: Source, makes: dict[Layout, Make]) -> Decoder:
    spec = _spec(message, source)
    layout = _layout(message)
    if obstacle(layout) is not None:
        counts, values = (_by_cantools(message, scaling=scaling) for scaling in (False, True))
        return Decoder(spec, counts, values, compiled=False)
    if layout not in makes:
        makes[layout] = compiled(layout)

    def wrong(data: bytes) -> WireError:
        return _length_error(spec.name, data, spec.length)

    def unknown(index: int, found: int) -> WireError:
        return WireError(f"{spec.name}: {spec.signals[index].name} is {found}, which no multiplexed signal of it has")

    raw, values = makes[layout](wrong, unknown)
    return Decoder(spec, raw, values, compiled=True)


def _length_error(name: str, data: bytes, expected: int) -> WireError:
    return WireError(f"{name}: {len(data)} bytes, expected {expected}")


def _by_cantools(message: Message, *, scaling: bool) -> Decode:
    from cantools.database.errors import DecodeError  # noqa: PLC0415 - imported already by whoever has a message

    names = [signal.name for signal in message.signals]

    def decode_slowly(data: bytes) -> Row:
        if len(data) != message.length:
            raise _length_error(message.name, data, message.length)
        try:
            found = message.decode(data, decode_choices=False, scaling=scaling)
        except (DecodeError, OverflowError) as error:
            raise WireError(f"{message.name}: {error}") from error
        assert isinstance(found, dict)
        row = [found.get(name) for name in names]
        return tuple(count if isinstance(count, int | float) else None for count in row)

    return decode_slowly


def _spec(message: Message, source: Source) -> MessageSpec:
    where = f"{source.path} line {source.lines.get(message.name, '?')}"
    names = [signal.name for signal in message.signals]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(where, f"signal {twice} twice in message {message.name}", "each signal name once")
    for signal in message.signals:
        if not (math.isfinite(signal.scale) and math.isfinite(signal.offset)):
            given = f"scale {signal.scale}, offset {signal.offset} of {message.name}.{signal.name}"
            raise ConfigError(where, given, "finite numbers")
        if signal.is_float and signal.length not in FLOAT_BITS:
            given = f"float {message.name}.{signal.name} of {signal.length} bits"
            raise ConfigError(where, given, "16, 32 or 64 bits")
    specs = tuple(_signal_spec(signal) for signal in message.signals)
    return MessageSpec(message.name, message.frame_id, message.is_extended_frame, message.length, specs)


def _signal_spec(signal: Signal) -> SignalSpec:
    choices = None if signal.choices is None else {int(count): str(name) for count, name in signal.choices.items()}
    return SignalSpec(
        name=signal.name,
        unit=signal.unit or "",
        scale=float(signal.scale),
        offset=float(signal.offset),
        minimum=None if signal.minimum is None else float(signal.minimum),
        maximum=None if signal.maximum is None else float(signal.maximum),
        length=signal.length,
        signed=signal.is_signed,
        is_float=signal.is_float,
        choices=choices,
    )


def _layout(message: Message) -> Layout:
    return Layout(message.length, tuple(_field(signal, message) for signal in message.signals), _nodes(message))


def _field(signal: Signal, message: Message) -> Field:
    little = signal.byte_order == "little_endian"
    # a big-endian signal starts at its highest bit, counted downwards in each byte
    first_bit = signal.start // 8 * 8 + 7 - signal.start % 8
    shift = signal.start if little else message.length * 8 - first_bit - signal.length
    return Field(little, shift, signal.length, signal.is_signed, signal.is_float, signal.scale, signal.offset)


def _nodes(message: Message) -> tuple[Node, ...]:
    index = {signal.name: number for number, signal in enumerate(message.signals)}

    def below(tree: Sequence[Any]) -> Iterator[Node]:
        for entry in tree:
            if isinstance(entry, str):
                yield Node(index[entry])
                continue
            ((name, branches),) = entry.items()
            alike: dict[tuple[Node, ...], list[int]] = {}
            for number in sorted(branches):
                alike.setdefault(tuple(below(branches[number])), []).append(number)
            yield Node(index[name], tuple(Branch(tuple(ids), nodes) for nodes, ids in alike.items()))

    return tuple(below(message.signal_tree))
