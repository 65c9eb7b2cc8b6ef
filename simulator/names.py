"""The names of the control socket: what can be read, what can be pinned to which values, and what a release frees."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import NamedTuple

from shared.errors import Refused
from simulator.rig import Rig

Value = float | int | str


class Setting(NamedTuple):
    """How a name is pinned: its range, whether only whole numbers fit, and what to call."""

    low: float
    high: float
    whole: bool
    pin: Callable[[float], None]
    free: Callable[[], None]


class Name(NamedTuple):
    """One name: how it is read, and how it is set when it can be."""

    read: Callable[[], Value]
    setting: Setting | None = None


MODULE_RANGES = {
    "temperature_c": (-128.0, 127.0, False),
    "voltage_v": (0.0, 655.35, False),
    "current_a": (-3276.8, 3276.7, False),
    "soc_pct": (-10.0, 110.0, False),
    "min_cell_v": (0.0, 10.0, False),
    "max_cell_v": (0.0, 10.0, False),
    "status": (0, 65535, True),
}
CELL_RANGES = {"voltage_v": (0.0, 10.0, False), "temperature_c": (-128.0, 127.0, False)}
BIT_RANGE = (0.0, 1.0, True)
ADC_RANGE = (0.0, 1023.0, True)
AMBIENT_RANGE = (-40.0, 80.0, False)


class Names:
    """All names of one rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._names: dict[str, Name] = {}
        for index in range(rig.size.modules):
            self._add_module(index)
        self._add_arduino()
        self._add_circuit()
        self._add_counters()

    def listed(self) -> list[str]:
        """Every name; each can be read."""
        return list(self._names)

    def settable(self) -> list[str]:
        """The names that can be pinned and released."""
        return [name for name, row in self._names.items() if row.setting]

    def read(self, names: list[str]) -> dict[str, Value]:
        """The values of these names; Refused names the unknown one."""
        return {name: self._find(name).read() for name in names}

    def set(self, values: dict[str, object]) -> None:
        """Pin all of these or, when one is wrong, none."""
        checked = [(self._setting(name), self._number(name, value)) for name, value in values.items()]
        for setting, number in checked:
            setting.pin(number)

    def release(self, names: list[str]) -> None:
        """Free these names; one that is not pinned stays free."""
        for setting in [self._setting(name) for name in names]:
            setting.free()

    def add(self, name: str, read: Callable[[], Value]) -> None:
        """A further readable name, for what only the links know."""
        self._names[name] = Name(read)

    def _find(self, name: str) -> Name:
        if name in self._names:
            return self._names[name]
        near = difflib.get_close_matches(name[:100], self._names, 3)
        hint = f"; close to it: {', '.join(near)}" if near else '; {"names":true} lists all'
        raise Refused(f"no name {name!r:.100}{hint}")

    def _setting(self, name: str) -> Setting:
        row = self._find(name)
        if row.setting is None:
            raise Refused(f"{name} can only be read")
        return row.setting

    def _number(self, name: str, value: object) -> float:
        setting = self._setting(name)
        fits = isinstance(value, int) if setting.whole else isinstance(value, int | float)
        if isinstance(value, bool) or not fits or not isinstance(value, int | float):
            raise Refused(f"{name} takes a {'whole ' if setting.whole else ''}number, not {value!r:.60}")
        if not math.isfinite(value) or not setting.low <= value <= setting.high:
            raise Refused(f"{name} takes {setting.low:g}..{setting.high:g}, not {value!r:.60}")
        return value

    # ---- modules ----

    def _add_module(self, index: int) -> None:
        prefix = f"module.{index + 1}."
        for what, limits in MODULE_RANGES.items():
            self._names[prefix + what] = Name(
                self._module_reader(index, what), self._module_setting(index, what, limits)
            )
        for cell in range(self._rig.size.cells):
            for what, limits in CELL_RANGES.items():
                setting = self._cell_setting(index, (what, cell), limits)
                self._names[f"{prefix}cell.{cell + 1}.{what}"] = Name(self._cell_reader(index, cell, what), setting)

    def _module_reader(self, index: int, what: str) -> Callable[[], Value]:
        rig, module = self._rig, self._rig.battery.modules[index]
        readers: dict[str, Callable[[], Value]] = {
            "temperature_c": lambda: max(module.sensors_c()),
            "voltage_v": lambda: rig.sensors.voltage_v(index, rig.plant.current_a),
            "current_a": lambda: rig.sensors.current_a(index, rig.plant.current_a),
            "soc_pct": lambda: sum(module.soc_pct) / len(module.soc_pct),
            "min_cell_v": lambda: module.pins.get("min_cell_v", min(module.cells_v(rig.plant.current_a))),
            "max_cell_v": lambda: module.pins.get("max_cell_v", max(module.cells_v(rig.plant.current_a))),
            "status": lambda: rig.sensors.status(index, rig.now),
        }
        return readers[what]

    def _module_setting(self, index: int, what: str, limits: tuple[float, float, bool]) -> Setting:
        battery = self._rig.battery
        pins = battery.modules[index].pins

        def pin(value: float) -> None:
            pins[what] = value
            battery.refresh_module(index)

        def free() -> None:
            pins.pop(what, None)
            battery.refresh_module(index)

        return Setting(*limits, pin, free)

    def _cell_reader(self, index: int, cell: int, what: str) -> Callable[[], Value]:
        plant, module = self._rig.plant, self._rig.battery.modules[index]
        if what == "voltage_v":
            return lambda: module.cells_v(plant.current_a)[cell]
        return lambda: module.cell_temperatures_c()[cell]

    def _cell_setting(self, index: int, key: tuple[str, int], limits: tuple[float, float, bool]) -> Setting:
        battery = self._rig.battery
        pins = battery.modules[index].cell_pins

        def pin(value: float) -> None:
            pins[key] = value
            battery.refresh_module(index)

        def free() -> None:
            pins.pop(key, None)
            battery.refresh_module(index)

        return Setting(*limits, pin, free)

    # ---- the rest ----

    def _add_arduino(self) -> None:
        rig, inputs = self._rig, self._rig.inputs
        for what in ("temp1", "temp2", "press", "current"):
            self._names[f"arduino.adc.{what}"] = Name(self._adc_reader(what), self._adc_setting(what))

        def set_ground_fault(value: float) -> None:
            inputs.ground_fault = int(value)

        ground = Setting(*BIT_RANGE, set_ground_fault, lambda: set_ground_fault(0))
        self._names["arduino.ground_fault"] = Name(lambda: inputs.ground_fault, ground)
        for bit, what in enumerate(("pump", "fan", "relay1", "relay2", "relay3")):
            self._names[f"arduino.pin.{what}"] = Name(lambda bit=bit: rig.board.pins >> bit & 1)  # type: ignore[misc]  # bound now
        self._names["arduino.boot"] = Name(lambda: rig.board.boot)

        def set_ambient(value: float) -> None:
            rig.battery.ambient_c = value

        ambient = Setting(*AMBIENT_RANGE, set_ambient, lambda: set_ambient(rig.size.profile.ambient_c))
        self._names["ambient_c"] = Name(lambda: rig.battery.ambient_c, ambient)

    def _adc_reader(self, what: str) -> Callable[[], Value]:
        return lambda: self._rig.inputs.adc(what, self._rig.now)

    def _adc_setting(self, what: str) -> Setting:
        pins = self._rig.inputs.pins

        def pin(value: float) -> None:
            pins[what] = int(value)

        def free() -> None:
            pins.pop(what, None)

        return Setting(*ADC_RANGE, pin, free)

    def _add_circuit(self) -> None:
        rig, plant = self._rig, self._rig.plant
        for number, contact in plant.contacts.items():
            self._names[f"relay.{number}"] = Name(lambda contact=contact: int(contact.closed))  # type: ignore[misc]  # bound now
        rows: dict[str, Callable[[], Value]] = {
            "pump": lambda: int(plant.pump),
            "fan": lambda: int(plant.fan),
            "circuit.closed": lambda: int(plant.closed),
            "circuit.current_a": lambda: plant.current_a,
            "circuit.charge_as": lambda: plant.totals.charge_as,
            "pack.voltage_v": lambda: plant.terminal_v,
            "link.voltage_v": lambda: plant.link_v,
            "inverter.mode": lambda: rig.inverter.mode,
            "inverter.setpoint": lambda: rig.inverter.setpoint,
        }
        self._names.update({name: Name(read) for name, read in rows.items()})

    def _add_counters(self) -> None:
        rig = self._rig
        rows: dict[str, Callable[[], Value]] = {
            "can.sent": lambda: sum(rig.bus.sent.values()),
            "can.heard": lambda: sum(rig.bus.heard.values()),
            "can.overwritten": lambda: rig.bus.overwritten,
            "can.host_refused": lambda: rig.bus.host_refused,
            "can.silences": lambda: rig.nodes.silences,
            "truth.recorded": lambda: rig.truth.recorded,
            "truth.unwritten": lambda: rig.truth.unwritten,
            "arduino.bad": lambda: rig.board.counted["refused"],
        }
        for index in range(rig.size.modules):
            rows[f"can.answered.module.{index + 1}"] = lambda number=index + 1: rig.nodes.answered[number]  # type: ignore[misc]  # bound now
            rows[f"can.sent.module.{index + 1}"] = lambda number=index + 1: rig.nodes.sent_by(number)  # type: ignore[misc]  # bound now
        for what in ("requests", "replies", "late", "corrupted", "bad_frames", "other_units"):
            rows[f"inverter.{what}"] = lambda what=what: rig.rtu.counted[what]  # type: ignore[misc]  # bound now
        for what in ("reads", "writes", "exceptions", "comm_trips"):
            rows[f"inverter.{what}"] = lambda what=what: rig.inverter.counted[what]  # type: ignore[misc]  # bound now
        for what in ("lines", "heard", "obeyed", "swallowed", "deadman"):
            rows[f"arduino.{what}"] = lambda what=what: rig.board.counted[what]  # type: ignore[misc]  # bound now
        self._names.update({name: Name(read) for name, read in rows.items()})
