"""From a TOML file, overlays and the environment to one strict settings model, every violation said with its place."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import ConfigError
from shared.violations import SettingsError, violations

ENV_PREFIX = "CELLGUARD_"
SECTIONS = frozenset({
    "node", "mqtt", "pack", "can", "inverter", "arduino", "gpio", "signals", "relays", "limits", "safety", "cooling",
    "commands", "schedule", "spool", "record", "collector", "store", "influx", "archive", "console",
})  # fmt: skip
"""Every section of any program (CONTRACT §3): a variable that names another program's section is not ours to judge."""

M = TypeVar("M", bound=BaseModel)
Table = dict[str, Any]
Key = tuple[str, ...]


class _InFolder:
    """Marks a path that is relative to the folder of the file it stands in."""


RelativePath = Annotated[Path, _InFolder()]


class Section(BaseModel):
    """One table of a settings file: closed, strict, frozen, without NaN.

    `never`: keys that somebody may look for here, and why there are none; said when one is given.
    """

    never: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


def load(path: Path, model: type[M], *, environ: Mapping[str, str] = os.environ, overlays: Sequence[Path] = ()) -> M:
    """The settings in `path`, deep-merged with `overlays`, then with `CELLGUARD_<SECTION>__<KEY>` from `environ`.

    A value may be any that TOML can write; what the environment gives to a text key is taken as it stands.

    Raises:
        ConfigError: a file cannot be read or is no TOML, or SettingsError listing every key that breaks the model.
    """
    return over({}, str(path), model, environ=environ, overlays=(path, *overlays))


def over(
    base: Table, name: str, model: type[M], *, environ: Mapping[str, str] | None = None, overlays: Sequence[Path]
) -> M:
    """As `load`, but above settings that come from elsewhere: `base`, called `name` where something in it is wrong."""
    merged: Table = {}
    origins: dict[Key, str] = {}
    _merge(merged, base, name, origins)
    for file in overlays:
        table = _absolute(read_toml(file), model, file.resolve().parent)
        _merge(merged, table, str(file), origins)
    for variable, key, value in _from_environment(environ or {}, model):
        _merge(merged, _nested(key, value), f"{variable} in the environment", origins)
    try:
        return model.model_validate_json(json.dumps(merged, default=str))
    except ValidationError as error:
        raise SettingsError(violations(error, model, merged, lambda key: _origin(origins, key, name))) from error


def read_toml(path: Path) -> Table:
    """The tables of a TOML file; raises ConfigError with the line where it stops being TOML."""
    text = ""
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(str(path), "", f"a readable TOML file ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line}", f"the byte 0x{error.object[error.start]:02x}", "UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).removesuffix(")").partition(" (at ")
        place = place.replace("end of document", f"line {len(text.splitlines())}")
        reason = reason[0].lower() + reason[1:]
        raise ConfigError(f"{path}: {place}", "", f"TOML, each key once ({reason})") from error


def _merge(into: Table, table: Table, origin: str, origins: dict[Key, str], at: Key = ()) -> None:
    for name, value in table.items():
        key = (*at, name)
        old = into.get(name)
        if isinstance(value, dict):
            if not isinstance(old, dict):
                into[name] = old = {}
            origins.setdefault(key, origin)
            _merge(old, value, origin, origins, key)
        else:
            into[name] = value
            origins[key] = origin


def _origin(origins: Mapping[Key, str], key: Key, default: str) -> str:
    return next((origins[key[:size]] for size in range(len(key), 0, -1) if key[:size] in origins), default)


def _nested(key: Key, value: object) -> Table:
    for name in reversed(key):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _from_environment(environ: Mapping[str, str], model: type[BaseModel]) -> Iterator[tuple[str, Key, object]]:
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or "__" not in name:
            continue
        key = tuple(name[len(ENV_PREFIX) :].lower().split("__"))
        if key[0] not in model.model_fields:
            if key[0] in SECTIONS:
                continue
            allowed = "one of the sections " + ", ".join(model.model_fields)
            raise ConfigError(f"{name} in the environment", key[0], allowed)
        yield name, key, text if _is_text(_hint_at(model, key)) else _toml_value(text)


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _hint_at(hint: object, key: Key) -> object:
    for name in key:
        for option in _options(hint):
            inner = _fields(option).get(name) or (get_args(option)[1:] or (None,))[0]
            if inner is not None:
                hint = inner
                break
        else:
            return None
    return hint


def _is_text(hint: object) -> bool:
    options = [option for option in _options(hint) if option is not type(None)]
    return bool(options) and all(isinstance(option, type) and issubclass(option, str | Path) for option in options)


def _options(hint: object) -> list[Any]:
    """The alternatives of a type hint, without their annotations."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        return [option for part in get_args(hint) for option in _options(part)]
    return [hint]


def _fields(hint: object) -> Mapping[str, object]:
    if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        return {}
    return {field.alias or name: field.rebuild_annotation() for name, field in hint.model_fields.items()}


def _absolute(value: Any, hint: object, folder: Path) -> Any:  # noqa: ANN401 (whatever TOML can hold)
    """The same value with every path of the model made absolute against `folder`."""
    if isinstance(value, str):
        return str(folder / value) if value and _in_folder(hint) else value
    for option in _options(hint):
        if isinstance(value, dict):
            fields, rest = _fields(option), (get_args(option)[1:] or (None,))[0]
            value = {name: _absolute(entry, fields.get(name, rest), folder) for name, entry in value.items()}
        elif isinstance(value, list) and get_args(option):
            value = [_absolute(entry, get_args(option)[0], folder) for entry in value]
    return value


def _in_folder(hint: object) -> bool:
    if get_origin(hint) is Annotated:
        base, *marks = get_args(hint)
        return any(isinstance(mark, _InFolder) for mark in marks) or _in_folder(base)
    return get_origin(hint) in {Union, UnionType} and any(_in_folder(part) for part in get_args(hint))
