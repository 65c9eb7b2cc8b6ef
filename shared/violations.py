"""What a person reads when settings break their model: place, value given, values allowed, one line each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.errors import ConfigError

_ALLOWED: dict[str, str] = {
    "missing": "this key is required",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": 'text in quotes ("…")',
    "path_type": 'a path in quotes ("…")',
    "list_type": "a list ([…, …])",
    "tuple_type": "a list ([…, …])",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "literal_error": "{expected}",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_pattern_mismatch": "text like {pattern}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
"""Kind of pydantic's error → what is allowed, in words."""


class SettingsError(ConfigError):
    """Everything that is wrong with one set of settings: `violations`, printed a line each."""

    def __init__(self, found: Sequence[ConfigError]) -> None:
        super().__init__(found[0].where, found[0].given, found[0].allowed)
        self.violations = tuple(found)

    def __str__(self) -> str:
        return "\n".join(str(violation) for violation in self.violations)


def violations(
    error: ValidationError,
    model: type[BaseModel],
    given: Mapping[str, Any],
    origin: Callable[[tuple[str, ...]], str],
) -> list[ConfigError]:
    """One ConfigError for each key pydantic complains about; `origin` names the file a key came from."""
    allowed: dict[tuple[str, ...], list[str]] = {}
    values: dict[tuple[str, ...], object] = {}
    for entry in error.errors(include_url=False):
        kind, key = entry["type"], _key(entry["loc"], given, missing=entry["type"] == "missing")
        values[key] = {} if kind == "missing" else entry["input"]
        text = (
            _unknown_key(model, key)
            if kind == "extra_forbidden"
            else _words(kind, dict(entry.get("ctx", {})), entry["msg"])
        )
        if text not in allowed.setdefault(key, []):
            allowed[key].append(text)
    return [
        ConfigError(f"{origin(key)}: {_place(key)}", _shown(values[key]), " or ".join(texts))
        for key, texts in allowed.items()
    ]


def _key(loc: Sequence[int | str], given: object, *, missing: bool) -> tuple[str, ...]:
    """The part of pydantic's place that is really in the file: without the names of a union's alternatives."""
    key: list[str] = []
    for step in loc:
        if isinstance(given, Mapping) and step in given:
            given = given[str(step)]
        elif isinstance(given, list) and isinstance(step, int) and step < len(given):
            given = given[step]
        elif missing and step is loc[-1]:
            given = None
        else:
            continue
        key.append(str(step))
    return tuple(key)


def _place(key: tuple[str, ...]) -> str:
    if len(key) < 2:
        return f"[{key[0]}]" if key else "the file"
    return f"[{'.'.join(key[:-1])}] {key[-1]}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "…"


def _words(kind: str, context: dict[str, object], message: str) -> str:
    return _ALLOWED[kind].format(**context) if kind in _ALLOWED else message[:1].lower() + message[1:]


def _unknown_key(model: type[BaseModel], key: tuple[str, ...]) -> str:
    section = _section_of(model, key)
    if section is None:
        return "no such key"
    known = [field.alias or name for name, field in section.model_fields.items()]
    if why := getattr(section, "never", {}).get(key[-1]):
        return f"{', '.join(known)}; {why}"
    near = difflib.get_close_matches(key[-1], known, n=1)
    return (f"did you mean {near[0]}? " if near else "") + "known here: " + ", ".join(known)


def _section_of(model: type[BaseModel], key: tuple[str, ...]) -> type[BaseModel] | None:
    """The table a key stands in, None where there is no such table."""
    here: object = model
    for name in key[:-1]:
        if not (isinstance(here, type) and issubclass(here, BaseModel)) or name not in here.model_fields:
            return None
        hint = here.model_fields[name].annotation
        options = getattr(hint, "__args__", (hint,))
        here = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None
