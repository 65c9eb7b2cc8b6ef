"""From the old values to the text of `edge.toml`: what cellguard refuses becomes a comment with the reason. Pure but for the DBC."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cellguard import toml
from cellguard.seed.read import Seed
from cellguard.seed.rows import HANDLERS, ROWS, Row, why_left_out
from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import Bus, core_settings, read_bus
from shared.errors import ConfigError
from shared.settings import over
from shared.violations import SettingsError

_WHERE = "edge.toml"
_HEAD = """# edge.toml of the Raspberry Pi, made by `cellguard config migrate-seed` from the lab's old settings.
# Above each line: the old key and value, and what became of it. Look at every CHECK before the first start, and copy this file
# to /etc/cellguard/edge.toml. What is not named here has its default: `cellguard config show --config FILE` prints everything.
"""


@dataclass(slots=True)
class Line:
    """One setting to be written, or with `value` None only its comments."""

    section: str
    key: str
    value: toml.Value | None
    notes: list[str] = field(default_factory=list)
    otherwise: toml.Value | None = None
    refused: bool = False


def edge_toml(seed: Seed) -> str:
    """The text of an `edge.toml` that `cellguard edge check` accepts; every key of the old file stands in it."""
    lines = [_line(row, seed) for row in ROWS if not row.handler or row.handler in seed.handlers]
    bus = read_bus(EdgeConfig())
    while (error := _refusal(lines, bus)) is not None:
        _take_back(lines, error)
    return "\n".join([_HEAD, *_settings(lines), "", *_rest(seed), ""])


def checks(text: str) -> int:
    """How many comments of the text ask for a person's eye."""
    return sum("CHECK" in line for line in text.splitlines()) - _HEAD.count("CHECK")


def _line(row: Row, seed: Seed) -> Line:
    old = seed.handlers.get(row.handler, {})
    given = {key: old[key] for key in row.old if key in old}
    shown = ", ".join(f"{_name(row.handler, key)} = {_shown(value)}" for key, value in given.items())
    line = Line(row.section, row.key, row.otherwise, [f"{shown}: {row.says}" if shown else row.says], row.otherwise)
    if row.make is None:
        return line
    if missing := [key for key in row.old if key not in old]:
        are = "are" if len(missing) > 1 else "is"
        names = ", ".join(_name(row.handler, key) for key in missing)
        line.notes = [*([shown] if shown else []), f"CHECK: {names} {are} not in the old file; {_instead(row)}"]
        return line
    try:
        line.value = row.make(*given.values())
    except (ValueError, OverflowError) as error:
        line.notes = [f"{shown}: CHECK: not taken, allowed: {error}; {_instead(row)}"]
    return line


def _instead(row: Row) -> str:
    place = f"[{row.section}] {row.key}"
    return (
        f"{place} keeps its default"
        if row.otherwise is None
        else f"{place} is {_shown(row.otherwise)} until you put yours in"
    )


def _refusal(lines: list[Line], bus: Bus) -> ConfigError | None:
    """What `cellguard edge check` would say to the lines as they are."""
    try:
        config = over(tomllib.loads("\n".join(_settings(lines))), _WHERE, EdgeConfig, overlays=())
        core_settings(config, bus, _WHERE)
    except ConfigError as error:
        return error
    return None


def _take_back(lines: list[Line], error: ConfigError) -> None:
    """Turn the lines that a refusal speaks of into comments; raises the refusal when it speaks of none."""
    taken = False
    for violation in error.violations if isinstance(error, SettingsError) else (error,):
        sentence = str(violation).removeprefix(f"{_WHERE}: ")
        for line in _spoken_of(lines, sentence):
            line.notes.append(f"CHECK: {_shown(line.value)} is not taken: {sentence}")
            line.value, line.refused, taken = line.otherwise, True, True
    if not taken:
        raise error


def _spoken_of(lines: list[Line], sentence: str) -> list[Line]:
    sections = re.findall(r"\[([a-z_.]+)\]", sentence)
    open_ = [
        line
        for line in lines
        if line.value is not None
        and not line.refused
        and any(f"{line.section}.".startswith(f"{section}.") for section in sections)
    ]
    named = [line for line in open_ if re.search(rf"\b{line.key}\b", sentence)]
    return named or open_


def _settings(lines: list[Line]) -> Iterator[str]:
    for section in dict.fromkeys(line.section for line in lines):
        rows = [line for line in lines if line.section == section]
        yield ""
        yield f"[{section}]"
        for line in rows:
            yield from (f"# {note}" for note in line.notes)
            if line.value is not None:
                yield toml.dumps({line.key: line.value}).rstrip()


def _rest(seed: Seed) -> Iterator[str]:
    yield "# Left out:"
    known = {(row.handler, key) for row in ROWS for key in row.old}
    for handler, why in HANDLERS.items():
        if handler not in seed.handlers:
            yield f"# CHECK: the object {handler} is not in the old file; {why}"
    for handler, values in (*seed.handlers.items(), ("", seed.loose)):
        for key, value in _unwritten(handler, values, known):
            why = why_left_out(handler, key, value) or "CHECK: not known to cellguard"
            yield f"# {_name(handler, key)} = {_shown(value)}: {why}"
    for key in seed.doubled:
        yield f"# CHECK: {_name('', key)} stood twice in one object: the last one counted, as before"


def _unwritten(handler: str, values: Mapping[str, object], known: set[tuple[str, str]]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if (handler, key) not in known:
            yield key, value
    if handler and not values and handler not in HANDLERS:
        yield "", {}


def _name(handler: str, key: str) -> str:
    words = [part if re.fullmatch(r"\w+", part, re.ASCII) else _shown(part) for part in (handler, key) if part]
    return ".".join(words)


def _shown(value: object) -> str:
    """On one line and without signs that TOML forbids in comments."""
    text = json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "backslashreplace").decode()
