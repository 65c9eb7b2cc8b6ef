"""The battery: modules of cells in series with charge, inner resistance and temperature, and the pins that hold values."""

from __future__ import annotations

from itertools import pairwise

from simulator.profiles import Profile, start_cells_v

CAPACITY_AS = 100.0 * 3600.0
CELL_RESISTANCE_OHM = 0.0008
HEAT_CAPACITY_J_PER_K = 1200.0
COOLING_W_PER_K = {"passive": 0.15, "fan": 0.6, "pump": 1.2}
SENSORS = 7

# Rest voltage of an NMC cell by state of charge in per cent; the ends go beyond 0 and 100 so that abuse can be seen.
_OCV_POINTS = (
    (-10.0, 2.00),
    (0.0, 3.00),
    (5.0, 3.35),
    (10.0, 3.45),
    (20.0, 3.55),
    (30.0, 3.61),
    (40.0, 3.65),
    (50.0, 3.70),
    (60.0, 3.79),
    (70.0, 3.90),
    (80.0, 4.00),
    (90.0, 4.08),
    (100.0, 4.19),
    (110.0, 4.45),
)
_STEPS_PER_PCT = 2
_LOWEST_PCT = _OCV_POINTS[0][0]


def _interpolate(x: float, points: tuple[tuple[float, float], ...]) -> float:
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (max(x, x0) - x0) / (x1 - x0)
    return points[-1][1]


_GRID = [
    _interpolate(_LOWEST_PCT + step / _STEPS_PER_PCT, _OCV_POINTS)
    for step in range(int((_OCV_POINTS[-1][0] - _LOWEST_PCT) * _STEPS_PER_PCT) + 1)
]


def rest_voltage_v(soc_pct: float) -> float:
    """Open-circuit voltage of a cell; rising with the charge, clamped beyond −10 and 110 %."""
    position = (soc_pct - _LOWEST_PCT) * _STEPS_PER_PCT
    index = int(position)
    if position <= 0:
        return _GRID[0]
    if index >= len(_GRID) - 1:
        return _GRID[-1]
    return _GRID[index] + (_GRID[index + 1] - _GRID[index]) * (position - index)


def charge_at_pct(voltage_v: float) -> float:
    """The state of charge at which a resting cell shows this voltage."""
    return _interpolate(voltage_v, tuple((volts, pct) for pct, volts in _OCV_POINTS))


class Module:
    """Cells in series. `pins` and `cell_pins` hold values named as in the control socket until they are released."""

    __slots__ = (
        "cell_pins",
        "charged_as",
        "discharged_as",
        "pins",
        "resistance_ohm",
        "rest_v",
        "rests_v",
        "soc_pct",
        "temperature_c",
    )

    def __init__(self, cells_v: list[float], temperatures_c: list[float]) -> None:
        self.soc_pct = [charge_at_pct(voltage) for voltage in cells_v]
        self.temperature_c = temperatures_c
        self.pins: dict[str, float] = {}
        self.cell_pins: dict[tuple[str, int], float] = {}
        self.charged_as = 0.0
        self.discharged_as = 0.0
        self.rests_v: list[float] = []
        self.rest_v = 0.0
        self.resistance_ohm = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Recompute rest voltages and the series resistance; a pinned voltage is stiff, it has no resistance."""
        pinned = self.cell_pins
        held_pct = self.pins.get("soc_pct")
        if held_pct is not None:
            self.soc_pct = [held_pct] * len(self.soc_pct)
        self.rests_v = [rest_voltage_v(soc) for soc in self.soc_pct]
        resistance = CELL_RESISTANCE_OHM * len(self.rests_v)
        for (what, index), value in pinned.items():
            if what == "voltage_v":
                self.rests_v[index] = value
                resistance -= CELL_RESISTANCE_OHM
        self.rest_v = sum(self.rests_v)
        self.resistance_ohm = resistance
        if "voltage_v" in self.pins:
            self.rest_v, self.resistance_ohm = self.pins["voltage_v"], 0.0

    def cells_v(self, current_a: float) -> list[float]:
        """Terminal voltages of the cells at this pack current (+ discharge)."""
        drop = current_a * CELL_RESISTANCE_OHM
        volts = [rest - drop for rest in self.rests_v]
        for (what, index), value in self.cell_pins.items():
            if what == "voltage_v":
                volts[index] = value
        return volts

    def cell_temperatures_c(self) -> list[float]:
        """Temperatures of the cells, pins included; a cell's own pin wins over its module's."""
        held = self.pins.get("temperature_c")
        cells = list(self.temperature_c) if held is None else [held] * len(self.temperature_c)
        for (what, index), value in self.cell_pins.items():
            if what == "temperature_c":
                cells[index] = value
        return cells

    def sensors_c(self) -> list[float]:
        """The seven sensors: each sits between two cells and shows the pinned one of them, else the first."""
        cells = self.cell_temperatures_c()
        pinned = {index for what, index in self.cell_pins if what == "temperature_c"}
        shown = []
        for sensor in range(SENSORS):
            near = [index for index in (2 * sensor, 2 * sensor + 1) if index < len(cells)]
            held = [index for index in near if index in pinned]
            shown.append(cells[held[0]] if held else cells[near[0]] if near else self._spare_sensor_c(cells, pinned))
        return shown

    def _spare_sensor_c(self, cells: list[float], pinned: set[int]) -> float:
        free = [cells[index] for index in range(len(cells)) if index not in pinned]
        return free[-1] if free else cells[-1]

    def pass_charge(
        self, charge_as: float, square_a2s: float, cooling_w_per_k: float, span: tuple[float, float]
    ) -> None:
        """Take charge out of each cell and warm it; `span` is (seconds, ambient °C)."""
        dt, ambient_c = span
        drop_pct = 100.0 * charge_as / CAPACITY_AS
        heat_k = square_a2s * CELL_RESISTANCE_OHM / HEAT_CAPACITY_J_PER_K
        relax = min(1.0, cooling_w_per_k * dt / HEAT_CAPACITY_J_PER_K)
        if drop_pct:
            self.soc_pct = [soc - drop_pct for soc in self.soc_pct]
            self.charged_as += max(0.0, -charge_as)
            self.discharged_as += max(0.0, charge_as)
        self.temperature_c = [cell + heat_k - (cell - ambient_c) * relax for cell in self.temperature_c]
        self.refresh()


class Battery:
    """All modules in series."""

    def __init__(self, profile: Profile, modules: int, cells: int) -> None:
        self.ambient_c = profile.ambient_c
        self.modules = [
            Module(start_cells_v(profile, number, cells), _start_temperatures_c(profile, number, cells))
            for number in range(modules)
        ]
        self.rest_v = 0.0
        self.resistance_ohm = 0.0
        self.version = 0
        self.refresh()

    def refresh(self) -> None:
        """Sum up the modules; `version` tells readers that something may have moved."""
        self.rest_v = sum(module.rest_v for module in self.modules)
        self.resistance_ohm = sum(module.resistance_ohm for module in self.modules)
        self.version += 1

    def refresh_module(self, index: int) -> None:
        """Recompute one module after its pins changed."""
        self.modules[index].refresh()
        self.refresh()

    def pass_charge(self, charge_as: float, square_a2s: float, dt: float, cooling: tuple[bool, bool]) -> None:
        """Move the state on by `dt` seconds in which this charge (+ discharge) and ∫I²dt flowed; cooling is (pump, fan)."""
        pump, fan = cooling
        watts = COOLING_W_PER_K["passive"] + pump * COOLING_W_PER_K["pump"] + fan * COOLING_W_PER_K["fan"]
        for module in self.modules:
            module.pass_charge(charge_as, square_a2s, watts, (dt, self.ambient_c))
        self.refresh()


def _start_temperatures_c(profile: Profile, number: int, cells: int) -> list[float]:
    if not profile.temperatures_c:
        return [profile.ambient_c] * cells
    row = profile.temperatures_c[number % len(profile.temperatures_c)]
    return [float(row[min(index // 2, SENSORS - 1)]) for index in range(cells)]
