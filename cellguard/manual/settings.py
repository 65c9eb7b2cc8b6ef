"""`docs/reference/config.md`: every key of edge.toml and collector.toml with what is allowed and its default. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

from pydantic import BaseModel

from cellguard.manual.setting_texts import COLLECTOR, EDGE
from collector import sinks
from collector.config import CollectorConfig
from edge_agent.config import EdgeConfig
from edge_agent.guard import devices
from edge_agent.guard.safety.rules import DEFAULTS
from shared.settings import ENV_PREFIX

FILES: Mapping[str, tuple[type[BaseModel], Mapping[str, str]]] = {
    "edge.toml": (EdgeConfig, EDGE),
    "collector.toml": (CollectorConfig, COLLECTOR),
}
ANY_LIMIT = "limits.*"
Schema = Mapping[str, Any]

_HEAD = f"""# Settings

Made by `python -m cellguard.manual` from the models that read them; a test fails when they differ. Files are TOML and strict: an
unknown key, a wrong type, a value outside its range or two that contradict each other end with exit code 78 and a line for each.
Relative paths are relative to the file. `{ENV_PREFIX}<SECTION>__<KEY>` in the environment overrides a key (`{ENV_PREFIX}MQTT__HOST=pc`);
secrets only come from files. `cellguard config show --config FILE` prints what is in force, `cellguard config schema` the JSON schema.
"""


class Setting(NamedTuple):
    """One key: its section, what is allowed, its default as TOML ("" = required, "–" = none)."""

    section: str
    key: str
    allowed: str
    default: str

    @property
    def name(self) -> str:
        """`mqtt.tls.ca`."""
        return f"{self.section}.{self.key}"


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for file in FILES for line in _file(file)), *_drivers(), ""])


def every_setting(model: type[BaseModel]) -> list[Setting]:
    """Every key of a file, in the model's order; a table of named tables once, under `*`."""
    schema = model.model_json_schema()
    return list(_settings(schema, "", schema["$defs"]))


def _settings(schema: Schema, section: str, defs: Schema) -> Iterator[Setting]:
    inner = []
    for key, given in schema["properties"].items():
        place = f"{section}.{key}" if section else key
        if (table := _table(given, defs)) is not None:
            inner.append((place, table))
        elif (named := _table(given.get("additionalProperties") or {}, defs)) is not None:
            inner.append((f"{place}.*", named))
        else:
            required = key in schema.get("required", ())
            yield Setting(section, key, allowed(given), "" if required else _default(given.get("default")))
    for place, table in inner:
        yield from _settings(table, place, defs)


def _table(given: Schema, defs: Schema) -> Schema | None:
    for option in (given, *given.get("anyOf", ())):
        if "$ref" in option:
            found: Schema = defs[option["$ref"].rpartition("/")[2]]
            return found
    return None


def allowed(given: Schema) -> str:
    """What a JSON schema allows, in words."""
    if "anyOf" in given:
        return " or ".join(dict.fromkeys(allowed(one) for one in given["anyOf"] if one.get("type") != "null"))
    if "enum" in given:
        return " · ".join(f"`{json.dumps(value)}`" for value in given["enum"])
    if "const" in given:
        return f"`{json.dumps(given['const'])}`"
    kind = "path" if given.get("format") == "path" else given.get("type", "")
    if kind == "array":
        return _list(given)
    if kind == "object":
        names = given.get("propertyNames", {}).get("enum")
        return (
            f"a table: {allowed(given['additionalProperties'])} for each of {', '.join(names)}" if names else "a table"
        )
    words = _KINDS[kind]
    if "pattern" in given:
        words += f" like `{given['pattern']}`"
    return f"{words}{_range(given)}"


_KINDS = {
    "path": "path",
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "`true` · `false`",
}


def _list(given: Schema) -> str:
    if "prefixItems" in given:
        return f"a list of {len(given['prefixItems'])}"
    return f"a list of {allowed(given['items'])}"


def _range(given: Schema) -> str:
    low, above, high = (given.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f" above {above:g}" + (f", up to {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f" {low:g} … {high:g}"
    return f" from {low:g}" if low is not None else ""


def _default(value: object) -> str:
    return "–" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _file(file: str) -> Iterator[str]:
    model, meanings = FILES[file]
    yield f"## {file}\n"
    settings = every_setting(model)
    for section in dict.fromkeys(setting.section for setting in settings):
        yield f"### `[{section.replace(ANY_LIMIT, 'limits.NAME')}]`"
        yield _text_of(model, section)
        yield "\n| key | meaning | allowed | default |"
        yield "|---|---|---|---|"
        for setting in settings:
            if setting.section == section:
                cells = (
                    f"`{setting.key}`",
                    meanings.get(setting.name, ""),
                    setting.allowed,
                    setting.default or "required",
                )
                yield f"| {' | '.join(cells)} |"
        yield ""


def _text_of(model: type[BaseModel], section: str) -> str:
    """The first words of the section's docstring; of the limits, their names."""
    if section == ANY_LIMIT:
        names = ", ".join(f"`{name}`" for name in DEFAULTS)
        return (
            f"Overrides of a rule; what is left out keeps the rule's own value ([alarms](../alarms.md)). NAME: {names}."
        )
    schema: Schema = model.model_json_schema()
    defs, here = schema["$defs"], schema
    for name in section.split("."):
        found = _table(here["properties"][name], defs)
        assert found is not None
        here = found
    return str(here.get("description", "")).replace("\n", " ")


def _drivers() -> Iterator[str]:
    """One file each: what it says of itself."""
    yield "## Drivers\n"
    yield "| file | what it does |"
    yield "|---|---|"
    for package in (devices, sinks):
        for name in sorted(found.name for found in iter_modules(package.__path__)):
            module = import_module(f"{package.__name__}.{name}")
            yield f"| `{module.__name__.replace('.', '/')}.py` | {(module.__doc__ or '').splitlines()[0]} |"
