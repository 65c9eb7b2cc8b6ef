"""The table of faults that can be injected: their arguments, what is allowed, and which are active now."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import Refused

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in a range; `word` is allowed besides."""

    low: int
    high: int
    word: str = ""

    def check(self, value: object) -> object:
        """The value itself; Refused says in words what would fit."""
        if self.word and value == self.word:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            also = f' or "{self.word}"' if self.word else ""
            raise Refused(f"a whole number {self.low}..{self.high}{also}, not {value!r:.60}")
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number in a range."""

    low: float
    high: float

    def check(self, value: object) -> object:
        """The value itself; Refused says in words what would fit."""
        good = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
        if not good or not self.low <= value <= self.high:  # type: ignore[operator]  # `good` says it is a number
            raise Refused(f"a number {self.low:g}..{self.high:g}, not {value!r:.60}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, value: object) -> object:
        """The value itself; Refused says in words what would fit."""
        if value not in self.words:
            raise Refused(f"one of {', '.join(self.words)}, not {value!r:.60}")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """A text that matches a pattern, described in words."""

    pattern: str
    words: str

    def check(self, value: object) -> object:
        """The value itself; Refused says in words what would fit."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value, re.DOTALL):
            raise Refused(f"{self.words}, not {value!r:.60}")
        return value


Field = Whole | Number | Choice | Text


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault: its fields, the defaults of those that may be left out, and the fields that tell two of them apart."""

    fields: Mapping[str, Field]
    defaults: Mapping[str, object]
    keys: tuple[str, ...] = ()


def _spec(keys: tuple[str, ...] = (), defaults: Mapping[str, object] | None = None, **fields: Field) -> FaultSpec:
    return FaultSpec(fields, defaults or {}, keys)


_PROBABILITY = Number(0.0, 1.0)
_ALWAYS = {"probability": 1.0}


def fault_table(modules: int) -> dict[str, FaultSpec]:
    """Every fault of CONTRACT §6 for a rig of this many modules."""
    one = Whole(1, modules)
    each = Whole(1, modules, "all")
    register = Whole(0, 65535)
    return {
        "can.silence": _spec(("module",), module=each),
        "can.raw": _spec(
            ("module", "pdo"), module=one, pdo=Whole(1, 8), data=Text("(?:[0-9A-Fa-f]{2}){0,8}", "up to 8 bytes in hex")
        ),
        "can.freeze": _spec(("module",), module=each),
        "can.flood": _spec(("id",), id=Whole(0, 0x1FFFFFFF), rate=Number(0.0, 20_000.0)),
        "can.duplicate": _spec(("module",), module=one),
        "can.unplug": _spec(),
        "inverter.silence": _spec(),
        "inverter.unplug": _spec(),
        "inverter.delay": _spec((), _ALWAYS, min_s=Number(0, 60), max_s=Number(0, 60), probability=_PROBABILITY),
        "inverter.corrupt": _spec((), _ALWAYS, probability=_PROBABILITY),
        "inverter.ignore_setpoint": _spec(),
        "inverter.refuse_write": _spec(("address",), address=register),
        "inverter.fault": _spec(("register", "bit"), register=Whole(30272, 30278), bit=Whole(0, 15)),
        "inverter.scale": _spec(("register",), register=register, factor=Number(-100.0, 100.0)),
        "inverter.comm_timer": _spec(
            (), {"refresh": "write41025"}, refresh=Choice(("write41025", "any_write", "any_frame", "never_trips"))
        ),
        "arduino.silence": _spec(),
        "arduino.raw": _spec(
            (), {"times": 0}, line=Text(".{0,4096}", "up to 4096 characters"), times=Whole(0, 1_000_000)
        ),
        "arduino.noise": _spec((), {"rate": 20.0}, rate=Number(0.0, 10_000.0)),
        "arduino.reset": _spec(),
        "arduino.unplug": _spec(),
        "relay.weld": _spec(("n",), n=Whole(1, 3)),
        "precharge.fail": _spec(),
    }


class Faults:
    """The active faults. Whoever must act on a change registers a callback in `on_change`."""

    def __init__(self, modules: int) -> None:
        self.table = fault_table(modules)
        self._active: dict[str, dict[tuple[object, ...], Arguments]] = {name: {} for name in self.table}
        self.on_change: dict[str, Callable[[], None]] = {}

    def inject(self, name: str, given: Arguments) -> None:
        """Make a fault active; Refused leaves everything as it was."""
        arguments = self._checked(name, given)
        spec = self.table[name]
        if name == "inverter.delay" and arguments["min_s"] > arguments["max_s"]:
            raise Refused(f"{name}: min_s {arguments['min_s']} is above max_s {arguments['max_s']}")
        self._active[name][tuple(arguments[key] for key in spec.keys)] = arguments
        self._changed(name)

    def heal(self, name: str, given: Arguments) -> None:
        """End a fault: every one of that name, or only those whose arguments equal the given ones."""
        self._known(name)
        given = self._spelled_out(name, given)
        unknown = set(given) - set(self.table[name].fields)
        if unknown:
            raise Refused(f"{name} has no {min(unknown)!r}; it has {self._fields(name)}")
        kept = {
            key: arguments
            for key, arguments in self._active[name].items()
            if any(arguments[field] != value for field, value in given.items())
        }
        self._active[name] = kept
        self._changed(name)

    def active(self, name: str) -> list[Arguments]:
        """The arguments of each active fault of that name."""
        return list(self._active[name].values())

    def has(self, name: str) -> bool:
        """Whether any fault of that name is active."""
        return bool(self._active[name])

    def on_module(self, name: str, module: int) -> bool:
        """Whether that fault is active for this module, or for all."""
        active = self._active[name]
        return bool(active) and ((module,) in active or ("all",) in active)

    def _changed(self, name: str) -> None:
        if name in self.on_change:
            self.on_change[name]()

    def _known(self, name: str) -> None:
        if name not in self.table:
            raise Refused(f"no fault {name!r:.60}; there are {', '.join(self.table)}")

    def _spelled_out(self, name: str, given: Arguments) -> Arguments:
        """`"all": true` is another way to say `"module": "all"`."""
        module = self.table[name].fields.get("module")
        if isinstance(module, Whole) and module.word and given.get(module.word) is True:
            return {**{key: value for key, value in given.items() if key != module.word}, "module": module.word}
        return given

    def _fields(self, name: str) -> str:
        return ", ".join(self.table[name].fields) or "no arguments"

    def _checked(self, name: str, given: Arguments) -> dict[str, Any]:
        self._known(name)
        spec = self.table[name]
        given = self._spelled_out(name, given)
        unknown = set(given) - set(spec.fields)
        if unknown:
            raise Refused(f"{name} has no {min(unknown)!r:.60}; it has {self._fields(name)}")
        arguments = {**spec.defaults, **given}
        for field, kind in spec.fields.items():
            if field not in arguments:
                raise Refused(f"{name} needs {field}")
            try:
                kind.check(arguments[field])
            except Refused as problem:
                raise Refused(f"{name}: {field} must be {problem}") from None
        return arguments
