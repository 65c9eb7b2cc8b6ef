"""What the guard records and says of it: the sources' signals, the catalog topic, and the parts as the core knows them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edge_agent.guard.codecs.dbc_database import Decoder, SignalSpec
from edge_agent.guard.rows import Part, Schema
from edge_agent.guard.safety.interface import SignalInfo
from shared.errors import ConfigError
from shared.signals import ARDUINO, INVERTER, MODULE_MEANINGS, Signal, module_source

_CELL = re.compile(r"Cell_?(\d+)_(?P<what>\w+)\Z")
_CELL_MEANINGS = {"Voltage": "voltage of one cell", "SOC": "state of charge of one cell"}
_TEMPERATURE = re.compile(r"CMA_Temp(\d+)\Z")

Groups = Mapping[int, Mapping[str, Decoder]]


def module_parts(groups: Groups, dbc: str) -> dict[str, tuple[SignalInfo, ...]]:
    """Part → signals of a module, alike for all.

    Raises:
        ConfigError: two modules of the DBC do not have the same parts with the same signals.
    """
    layouts = {module: _layout(parts) for module, parts in groups.items()}
    first = min(layouts)
    for module, layout in layouts.items():
        if layout != layouts[first]:
            differing = ", ".join(sorted(part for part, _ in set(layout.items()) ^ set(layouts[first].items())))
            allowed = f"the same messages with the same signals for every module, as for module {first}"
            raise ConfigError(f"{dbc}: module {module}", f"other {differing}", allowed)
    return {part: tuple(SignalInfo(*signal) for signal in signals) for part, signals in layouts[first].items()}


def schemas(
    modules: Sequence[int], parts: Mapping[str, Sequence[SignalInfo]], cells: int, fitted: Sequence[str]
) -> list[Schema]:
    """The rows of every source: the modules of the DBC, then those of `inverter` and `arduino` that are fitted."""
    kept: tuple[Part, ...] = tuple(
        (part, tuple(signal.name if is_populated(signal.name, cells) else None for signal in signals))
        for part, signals in sorted(parts.items())
    )
    found = [Schema(module_source(module), kept, cycled=True) for module in modules]
    single = {"inverter": ("poll", INVERTER), "arduino": ("line", ARDUINO)}
    for source in fitted:
        part, signals = single[source]
        found.append(Schema(source, ((part, tuple(signal.name for signal in signals)),), cycled=False))
    return found


def is_populated(signal: str, cells: int) -> bool:
    """False for the signals of cells that a module of `cells` cells does not have."""
    match = _CELL.match(signal)
    return match is None or int(match[1]) <= cells


def catalog(parts: Mapping[str, Decoder], cells: int) -> dict[str, dict[str, object]]:
    """The body of the `catalog` topic."""
    module: dict[str, object] = {
        signal.name: {**_entry(signal).as_catalog(), "part": part, "scale": signal.scale, "offset": signal.offset}
        for part, decoder in sorted(parts.items())
        for signal in decoder.spec.signals
        if is_populated(signal.name, cells)
    }
    return {
        "module": module,
        "inverter": {signal.name: signal.as_catalog() for signal in INVERTER},
        "arduino": {signal.name: signal.as_catalog() for signal in ARDUINO},
    }


def known_signals(signals: Sequence[Signal]) -> tuple[SignalInfo, ...]:
    """The signals of the inverter or the Arduino as the core knows them; their values come in physical units."""
    return tuple(SignalInfo(signal.name, signal.unit, signal.resolution, 0.0) for signal in signals)


def _layout(parts: Mapping[str, Decoder]) -> dict[str, tuple[tuple[str, str, float, float], ...]]:
    return {
        part: tuple((signal.name, signal.unit, signal.scale, signal.offset) for signal in decoder.spec.signals)
        for part, decoder in parts.items()
        if decoder.spec.signals
    }


def _entry(signal: SignalSpec) -> Signal:
    low, high = _range(signal)
    return Signal(signal.name, signal.unit, abs(signal.scale), low, high, _meaning(signal.name))


def _meaning(name: str) -> str:
    if found := _CELL.match(name):
        return f"cell {int(found[1])}: {_CELL_MEANINGS.get(found['what'], found['what'])}"
    if found := _TEMPERATURE.match(name):
        return f"temperature sensor {int(found[1])}"
    return MODULE_MEANINGS.get(name, "as the DBC names it")


def _range(signal: SignalSpec) -> tuple[float, float]:
    """As the DBC says; where it says nothing (or 0..0), what the bits can express."""
    if signal.minimum is not None and signal.maximum is not None and signal.minimum < signal.maximum:
        return signal.minimum, signal.maximum
    if signal.is_float:
        return -3.4e38, 3.4e38
    lowest = -(1 << signal.length - 1) if signal.signed else 0
    highest = (1 << signal.length - 1) - 1 if signal.signed else (1 << signal.length) - 1
    ends = sorted(round(count * signal.scale + signal.offset, 9) for count in (lowest, highest))
    return ends[0], ends[1]
