"""The decoders of one DBC as the rest of the guard sees them: by identifier, by module, or one frame at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ConfigError, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.guard.codecs.dbc_generate import Decode

EXTENDED = 0x8000_0000
_SDO_IDS = range(0x580, 0x680)


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """What the DBC says of one signal. `choices` names counts; `minimum` and `maximum` are physical."""

    name: str
    unit: str
    scale: float
    offset: float
    minimum: float | None
    maximum: float | None
    length: int
    signed: bool
    is_float: bool
    choices: Mapping[int, str] | None


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """One message; `signals` is in the order of the decoded tuples."""

    name: str
    can_id: int
    extended: bool
    length: int
    signals: tuple[SignalSpec, ...]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes one message. Both functions take its data and raise WireError when the length or multiplexer is wrong.

    Args:
        raw: counts in the order of `spec.signals`; None = not present under this multiplexer id.
        values: physical values likewise; a float signal may be NaN or infinite, as it was sent.
        compiled: False when cantools decodes it.
    """

    spec: MessageSpec
    raw: Decode
    values: Decode
    compiled: bool


@dataclass(frozen=True, slots=True)
class Database:
    """The decoders of one DBC, by identifier (`| 0x80000000` when extended); `fallback` names those cantools decodes."""

    path: Path
    sha: str
    messages: Mapping[int, Decoder]
    fallback: tuple[str, ...]


def decode(db: Database, can_id: int, data: bytes) -> dict[str, float]:
    """One frame as {signal: physical value}, absent signals left out; `can_id` as in `Database.messages`.

    Raises:
        WireError: no such message, a wrong length or multiplexer id.
    """
    decoder = db.messages.get(can_id)
    if decoder is None:
        raise WireError(f"no message with id 0x{can_id & ~EXTENDED:X} in {db.path}")
    row = zip(decoder.spec.signals, decoder.values(data), strict=True)
    return {signal.name: value for signal, value in row if value is not None}


def groups(db: Database, pattern: str) -> dict[int, dict[str, Decoder]]:
    r"""Messages by module: `BMU(?P<module>\d\d)_` puts BMU03_pdo1 at [3]["pdo1"]. CANopen SDO is left out.

    Raises:
        ConfigError: the pattern is no regex with a group `module`, matches nothing, or two messages to one place.
    """
    found: dict[int, dict[str, Decoder]] = {}
    expression = _expression(pattern)
    for decoder in db.messages.values():
        match = expression.match(decoder.spec.name)
        if match is None or (decoder.spec.can_id in _SDO_IDS and not decoder.spec.extended):
            continue
        if not (match["module"] or "").isdecimal():
            raise _group_error(pattern, f"a group `module` of digits (found {match['module']!r})")
        members = found.setdefault(int(match["module"]), {})
        rest = decoder.spec.name[match.end() :]
        if rest in members:
            clash = f"{members[rest].spec.name} and {decoder.spec.name}"
            raise _group_error(pattern, f"a pattern that tells messages apart ({clash} fall together)")
        members[rest] = decoder
    if not found:
        some = ", ".join(decoder.spec.name for decoder in list(db.messages.values())[:3])
        raise _group_error(pattern, f"a regex that matches messages of {db.path} ({some} …)")
    return {module: found[module] for module in sorted(found)}


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise _group_error(pattern, f"a regular expression ({error})") from error
    if "module" not in expression.groupindex:
        raise _group_error(pattern, "a regular expression with a named group (?P<module>…)")
    return expression


def _group_error(pattern: str, allowed: str) -> ConfigError:
    return ConfigError("[can] group", repr(pattern), allowed)
