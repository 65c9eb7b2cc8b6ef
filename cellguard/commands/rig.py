"""`cellguard rig`: turn the knobs of a simulated rig: set values, raise and heal faults, read what is true."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import click

_TIMEOUT_S = 10.0

_SOCKET = click.argument("control", metavar="SOCKET", type=click.Path(path_type=Path))


@click.group("rig")
def command() -> None:
    """Turn the knobs of a simulated rig. SOCKET is what `demo` or `simulate` has printed."""


@command.command("set")
@_SOCKET
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE…")
def set_(control: Path, values: Sequence[str]) -> None:
    """Pin values, such as: module.3.temperature_c=55."""
    _request(control, {"set": _fields(values)})


@command.command("release")
@_SOCKET
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def release(control: Path, names: Sequence[str]) -> None:
    """Let pinned values go their own way again."""
    _request(control, {"release": list(names)})


@command.command("fault")
@_SOCKET
@click.argument("fault")
@click.argument("details", nargs=-1, metavar="[KEY=VALUE…]")
def fault(control: Path, fault: str, details: Sequence[str]) -> None:
    """Raise a fault, such as: can.silence module=5."""
    _request(control, {"fault": fault, **_fields(details)})


@command.command("heal")
@_SOCKET
@click.argument("fault")
@click.argument("details", nargs=-1, metavar="[KEY=VALUE…]")
def heal(control: Path, fault: str, details: Sequence[str]) -> None:
    """End a fault."""
    _request(control, {"heal": fault, **_fields(details)})


@command.command("get")
@_SOCKET
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def get(control: Path, names: Sequence[str]) -> None:
    """Read values, such as: relay.1 circuit.current_a."""
    _request(control, {"get": list(names)})


@command.command("names")
@_SOCKET
def names(control: Path) -> None:
    """List everything that can be set, read and made to fail."""
    _request(control, {"names": True})


def _request(path: Path, request: dict[str, object]) -> None:
    """Send one request and print its answer; raises Unavailable, or Refused with the simulator's own words."""
    import orjson

    from shared.errors import Refused, Unavailable

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(orjson.dumps(request) + b"\n")
            line = connection.makefile("rb").readline()
    except OSError as error:
        raise Unavailable(f"{path}: no simulated rig to talk to ({error.strerror or error}); is it running?") from error
    if not line:
        raise Unavailable(f"{path}: the simulated rig has closed the connection")
    answer = orjson.loads(line)
    if "error" in answer:
        raise Refused(f"{path}: {answer['error']}")
    click.echo(orjson.dumps(answer.get("get") or answer.get("names") or answer, option=orjson.OPT_INDENT_2))


def _fields(words: Sequence[str]) -> dict[str, object]:
    """`["module=5"]` as fields; a value that is no JSON is a text. Raises a usage error naming the word."""
    fields: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise click.UsageError(f"given {word!r}; allowed: NAME=VALUE, such as module.3.temperature_c=55")
        fields[name] = _value(value)
    return fields


def _value(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text
