"""`cellguard dbc`: show a DBC, check its generated decoder against cantools, decode one frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import EXIT_FAILED, ConfigError, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.guard.codecs.dbc import Database, Decoder, SignalSpec

LAST_STANDARD_ID = 0x7FF
LAST_EXTENDED_ID = 0x1FFF_FFFF
DBC_FLAG = 0x8000_0000
SHOWN_MISMATCHES = 10
_FILE = click.Path(path_type=Path)


@click.group(name="dbc")
def command() -> None:
    """Look at a DBC file, check it, decode a frame with it."""


@command.command()
@click.argument("file", type=_FILE, required=False)
def show(file: Path | None) -> None:
    """List messages and signals of FILE (default: the project's own bms.dbc)."""
    import dbc

    for line in _table(_load(file or dbc.path())):
        click.echo(line)


@command.command()
@click.argument("file", type=_FILE)
@click.option("--frames", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Per message.")
@click.option("--seed", default=0, show_default=True, help="Other frames with another seed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def check(context: click.Context, file: Path, frames: int, seed: int, as_json: bool) -> None:
    """Decode random frames of every message of FILE with the generated decoder and with cantools.

    Exits 1 when they differ and 78 when FILE is not usable.
    """
    import orjson

    from edge_agent.guard.codecs.dbc import compare

    db = _load(file)
    mismatches = compare(db, frames, seed)
    figures = {
        "messages": len(db.messages),
        "signals": sum(len(decoder.spec.signals) for decoder in db.messages.values()),
        "compiled": sum(decoder.compiled for decoder in db.messages.values()),
        "fallback": list(db.fallback),
        "mismatches": len(mismatches),
    }
    if as_json:
        click.echo(orjson.dumps(figures))
    else:
        names = ", ".join(db.fallback) or "none"
        click.echo(f"{file} ({db.sha}): {figures['messages']} messages, {figures['signals']} signals")
        click.echo(f"compiled {figures['compiled']}, decoded by cantools: {names}")
        click.echo(f"{len(mismatches)} mismatches in {frames} frames of each message")
    for line in mismatches[:SHOWN_MISMATCHES]:
        click.echo(line, err=True)
    context.exit(EXIT_FAILED if mismatches else 0)


@command.command()
@click.argument("file", type=_FILE)
@click.argument("can_id", metavar="ID")
@click.argument("data", metavar="HEX")
@click.option("--json", "as_json", is_flag=True, help="One flat JSON object on standard output.")
def decode(file: Path, can_id: str, data: str, as_json: bool) -> None:
    """Decode one frame: ID decimal or 0x…, above 0x7FF = extended; HEX its data, e.g. 2F05180100000000."""
    import orjson

    from edge_agent.guard.codecs import dbc as codec

    key, octets = _identifier(can_id), _octets(data)
    db = _load(file)
    if key not in db.messages:
        raise ConfigError("ID", can_id, f"one of the {len(db.messages)} messages `cellguard dbc show {file}` lists")
    try:
        found = codec.decode(db, key, octets)
    except WireError as error:
        length = db.messages[key].spec.length
        raise ConfigError("HEX", f"{data!r} ({error})", f"{length} bytes that {file} can decode") from error
    if as_json:
        click.echo(orjson.dumps(found))  # a NaN or infinity a float signal may hold is null
        return
    units = {signal.name: signal.unit for signal in db.messages[key].spec.signals}
    for name, value in found.items():
        click.echo(f"{name} = {value} {units[name]}".rstrip())


def _load(file: Path) -> Database:
    from edge_agent.guard.codecs.dbc import load

    return load(file)


def _identifier(text: str) -> int:
    """The identifier as the decoder keys it; a DBC's own spelling with bit 31 set is understood too."""
    allowed = "0..0x1FFFFFFF, decimal or 0x…; above 0x7FF = extended"
    try:
        number = int(text, 16) if text.lower().startswith("0x") else int(text, 10)
    except ValueError as error:
        raise ConfigError("ID", repr(text), allowed) from error
    if DBC_FLAG <= number <= DBC_FLAG | LAST_EXTENDED_ID:
        return number
    if not 0 <= number <= LAST_EXTENDED_ID:
        raise ConfigError("ID", repr(text), allowed)
    return number | DBC_FLAG if number > LAST_STANDARD_ID else number


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ConfigError("HEX", repr(text), "pairs of hexadecimal digits, e.g. 2F05180100000000") from error


def _table(db: Database) -> Iterator[str]:
    for decoder in sorted(db.messages.values(), key=lambda one: (one.spec.extended, one.spec.can_id)):
        yield _heading(decoder)
        for signal in decoder.spec.signals:
            yield f"    {signal.name}: {_signal(signal)}"
    yield f"{len(db.messages)} messages, {len(db.fallback)} decoded by cantools ({db.sha} {db.path})"


def _heading(decoder: Decoder) -> str:
    spec = decoder.spec
    by = "" if decoder.compiled else "  (decoded by cantools)"
    return f"0x{spec.can_id:0{8 if spec.extended else 3}X} {spec.name}, {spec.length} bytes{by}"


def _signal(signal: SignalSpec) -> str:
    kind = "float" if signal.is_float else "signed" if signal.signed else "unsigned"
    parts = [f"{signal.length} bits {kind}", f"x {signal.scale:g} + {signal.offset:g} {signal.unit}".rstrip()]
    if signal.minimum is not None and signal.maximum is not None:
        parts.append(f"{signal.minimum:g} .. {signal.maximum:g}")
    if signal.choices:
        parts.append(" ".join(f"{count}={name}" for count, name in signal.choices.items()))
    return ", ".join(parts)
