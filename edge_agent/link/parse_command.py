"""PURE: the payload of `cmd/{target}` → a strict command, or one sentence saying what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from pydantic import ValidationError

from shared.errors import WireError
from shared.messages import COMMANDS, Command, Estop, Schedule


def parse_command(target: str, payload: bytes) -> Command:
    """The command; raises WireError naming the key and what is allowed."""
    model = COMMANDS.get(target)
    if model is None:
        raise WireError(f"target {target[:40]!r}: allowed {', '.join(COMMANDS)}")
    try:
        command = model.model_validate(read_object(payload))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise WireError(f"{where[:60]}: {first['msg']}; keys allowed: {', '.join(model.model_fields)}") from error
    _only_with_start(command)
    return command


def parse_estop(payload: bytes) -> Estop:
    """Any payload stops: id and actor where they are readable, nothing otherwise."""
    found = {key: value for key, value in _lenient(payload).items() if key in {"id", "actor"}}
    for keys in ({"id", "actor"}, {"id"}, {"actor"}):
        try:
            return Estop.model_validate({key: value for key, value in found.items() if key in keys})
        except ValidationError:
            continue
    return Estop()


def identifier_of(payload: bytes) -> str | None:
    """The id of a payload that is refused, where it is readable."""
    return parse_estop(payload).id


def read_object(payload: bytes) -> dict[str, object]:
    """A JSON object without double keys, NaN or Infinity; raises WireError."""
    try:
        value = json.loads(payload.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except RecursionError as error:
        raise WireError("payload: nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and numbers of absurd length
        raise WireError(f"payload: not JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise WireError(f"payload: expected a JSON object, got {type(value).__name__}")
    return value


def _lenient(payload: bytes) -> Mapping[str, object]:
    try:
        return read_object(payload)
    except WireError:
        return {}


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise WireError(f"{double[:60]}: given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise WireError(f"payload: {name} is not a number here")


def _only_with_start(command: Command) -> None:
    if isinstance(command, Schedule) and (command.action == "start") != (command.file is not None):
        raise WireError("file: needed with action start, and only there")
    if isinstance(command, Schedule) and command.action != "start" and command.repeat is not None:
        raise WireError("repeat: only with action start")
