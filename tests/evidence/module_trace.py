"""Random frames of one module: cells, temperatures, sums, spreads, what is broken, a second sender."""

from __future__ import annotations

from typing import Any

from edge_agent.guard.model import NoData, Reading
from tests.evidence import oracle
from tests.evidence.oracle import D, F, Sample
from tests.evidence.trace import CELLS, Trace, settings

CELL_EDGES = tuple(round(oracle.counts(volts)) + off for volts in (2.5, 2.55, 2.7, 2.75, 2.8, 2.85) for off in (-1, 0, 1)) + tuple(
    round(oracle.counts(volts)) + off for volts in (4.07, 4.1, 4.17, 4.2, 4.22, 4.25) for off in (-1, 0, 1)
)  # fmt: skip
HEAT_EDGES = (36, 37, 38, 39, 40, 41, 46, 47, 48, 49, 50, 56, 57, 58, 60, 61)
COLD_EDGES = (8, 7, 6, 5, 4, 3, 2, 1, 0, -1, -17, -18, -19, -20, -21)


class ModuleTrace(Trace):
    """Frames of one module: cells, temperatures, sums, spreads, what is broken, a second sender."""

    def __init__(self, seed: object) -> None:
        super().__init__(seed)
        source, streams = "module-01", self.streams
        streams["CMA_Voltage"] = oracle.module_voltage(source, CELLS)
        streams["CMA_Min_Temp"] = oracle.temperature(source, hot=False, cold=True)
        streams["CMA_Max_Temp"] = oracle.temperature(source, hot=True, cold=False)
        for k in range(1, 9):
            name = f"{source}.cell-{k:02d}"
            streams[f"Cell_{k}_Voltage"] = oracle.cell(name) if k <= CELLS else oracle.absent_cell(name)
        for k in range(1, 8):
            streams[f"CMA_Temp{k}"] = oracle.temperature(source, hot=True, cold=True)
        streams["cell_sum"] = oracle.difference(f"{source}.cell_sum", 15, 50, 5)
        streams["min_max"] = oracle.difference(f"{source}.min_max", 2, 5, 1)
        streams["cell_spread"] = oracle.difference(f"{source}.cell_spread", 10, None, 2)
        streams["temperature_spread"] = oracle.difference(f"{source}.temperature_spread", 8, None, 2)
        streams["duplicate"] = oracle.flag(f"{source}.duplicate", F, 5, 0.0)
        streams["contradiction"] = oracle.flag("pack.contradiction", D, 1, 0.0)
        self.theme = self.dice.choice(("cells", "heat", "cold", "sums", "all"))
        self.whole: dict[str, tuple[float, dict[str, float]]] = {}
        self.doubled = self.contrary = False
        self.cycle = self.first_of = 0

    def sample(self) -> None:
        self.contrary = self.is_contrary()
        self.cycle += 1
        self.feed(Reading("can", "sync", self.now, (self.cycle,), (0.0,)))
        if self.dice.random() < (0.5 if self.theme == "all" else 0.05):
            self.feed(NoData("module-01", "pdo3", self.now, "duplicate"))
            # a module that was never heard has no second sender
            self.doubled = bool(self.heard)
        for part in ("pdo1", "pdo3", "pdo6"):
            if self.dice.random() < 0.95:
                self.frame(part)

    heard = False

    def frame(self, part: str) -> None:
        names = [signal.name for signal in settings().module_parts[part]]
        raw = {name: self.count(name) for name in names}
        bad = tuple(
            (i, "out_of_range") for i, name in enumerate(names) if name in self.streams and self.dice.random() < 0.01
        )
        counts: tuple[Any, ...] = tuple(raw.values())
        self.feed(Reading("module-01", part, self.now, counts, counts, bad))
        self.heard = True
        judged = [name for name in names if name in self.streams]
        broken = {names[i] for i, _ in bad}
        believed = [name for name in judged if name not in broken and self.streams[name].believes(raw[name])]
        whole = len(believed) == len(judged)
        for name in believed:
            self.streams[name].see(Sample(self.now, raw[name], whole))
        if whole:
            self.whole[part] = (self.now, raw)
            self.derived(part)

    def derived(self, part: str) -> None:
        if part == "pdo1" and self.first_of != self.cycle:
            self.first_of = self.cycle
            self.streams["duplicate"].see(Sample(self.now, float(self.doubled)))
            self.doubled = False
        if part != "pdo3" or self.now - self.whole.get("pdo1", (-1.0, {}))[0] > 0.9 * 0.2:
            return
        first, cells = self.whole["pdo1"][1], [self.whole["pdo3"][1][f"Cell_{k}_Voltage"] for k in range(1, CELLS + 1)]
        volts = sum(2.2 + 0.01 * count for count in cells)
        values = {
            "cell_sum": abs(volts / 0.01 - first["CMA_Voltage"]),
            "min_max": max(abs(min(cells) - first["Min_Cell_Voltage"]), abs(max(cells) - first["Max_Cell_Voltage"])),
            "cell_spread": max(cells) - min(cells),
            "temperature_spread": first["CMA_Max_Temp"] - first["CMA_Min_Temp"],
        }
        for name, value in values.items():
            self.streams[name].see(Sample(self.now, value))

    def count(self, name: str) -> float:
        theme, dice = self.theme, self.dice
        if name.startswith("Cell_"):
            if int(name.split("_")[1]) > CELLS:
                return self.walk(name, 0, (0, 0, 0, 1, 255)) if theme == "all" else 0
            edges = (*CELL_EDGES, 0, 255) if theme in {"cells", "all"} else (155, 158, 163, 164, 165, 166, 167, 190)
            return self.walk(name, 155, edges) if theme in {"cells", "sums", "all"} else 155
        if name in {"Min_Cell_Voltage", "Max_Cell_Voltage"}:
            return 155 + (dice.choice((0, 1, 2, 3, 4, 5, 6)) if theme == "sums" else 0)
        if name == "CMA_Voltage":
            edges = (0, 549, 550, 551, 555, 556, 566, 567, 572, 573, 795, 796, 800, 801, 811, 812, 816, 817, 1001)
            near = tuple(750 + off for off in (4, 5, 9, 10, 11, 14, 15, 16, 44, 45, 46, 49, 50, 51))
            return self.walk(name, 750, near if theme == "sums" else edges)
        if "Temp" in name:
            edges = COLD_EDGES if theme == "cold" else HEAT_EDGES
            spread = (24, 25, 27, 30, 31, 32, 33, 34) if theme == "sums" else (*edges, -41, 121)
            return self.walk(name, 25, spread) if theme != "cells" else 25
        return 0

    def is_contrary(self) -> bool:
        active = {row.alarm for row in self.rows() if row.active and ".cell-" in row.alarm}
        return any(a.endswith("voltage_high") for a in active) and any(a.endswith("voltage_low") for a in active)

    def late(self) -> None:
        self.streams["contradiction"].see(Sample(self.now, float(self.contrary)))
