"""How well the guard itself does: cycle and latency percentiles, memory, and who is connected. Pure but for `/proc/self`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from edge_agent.guard.model import NoData, Opened, Reading
from shared.signals import module_number

WINDOW_S = 10.0
_LINK_LOST = frozenset({"absent", "lost"})
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Window:
    """Durations of the last 10 s: two halves of 5 s, the older one forgotten as a whole."""

    def __init__(self) -> None:
        self._halves: tuple[list[float], list[float]] = ([], [])
        self._turned_at = 0.0
        self.worst_s = 0.0

    def add(self, duration_s: float, now: float) -> None:
        """Count one duration."""
        if now - self._turned_at >= WINDOW_S / 2.0:
            self._halves = (self._halves[1], [])
            self._turned_at = now
        self._halves[1].append(duration_s)
        self.worst_s = max(self.worst_s, duration_s)

    def body(self) -> dict[str, float | int]:
        """p50, p99 and max in ms, the largest since start, and how many there were."""
        ordered = sorted((*self._halves[0], *self._halves[1]))
        if not ordered:
            return {"worst": _ms(self.worst_s), "count": 0}
        return {
            "p50": _ms(ordered[len(ordered) // 2]),
            "p99": _ms(ordered[len(ordered) * 99 // 100]),
            "max": _ms(ordered[-1]),
            "worst": _ms(self.worst_s),
            "count": len(ordered),
        }


class Memory:
    """The resident memory of this process, read from an already open file."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY)

    def resident_kb(self) -> int:
        """Resident set in kB."""
        return int(os.pread(self._file, 256, 0).split()[1]) * _PAGE_BYTES // 1024

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


class About:
    """The body of `info`, as far as the guard knows it: its settings, the devices' own words, the modules seen."""

    def __init__(self, fixed: Mapping[str, object], devices: Sequence[str]) -> None:
        self._fixed = dict(fixed)
        self._devices: dict[str, str] = dict.fromkeys(devices, "not opened yet")
        self._modules: set[int] = set()
        self._sources: set[str] = set()
        self.changed = True

    def see(self, arrivals: Sequence[Reading | NoData | Opened]) -> None:
        """Note what these arrivals tell; `changed` is set when `body` now differs."""
        for arrival in arrivals:
            if type(arrival) is Reading:
                if arrival.source not in self._sources:
                    self._source(arrival.source)
            elif type(arrival) is Opened:
                self._device(arrival.source, arrival.identity or "open")
            elif type(arrival) is NoData and not arrival.part and arrival.reason in _LINK_LOST:
                self._device(
                    arrival.source, f"{arrival.reason}: {arrival.detail}" if arrival.detail else arrival.reason
                )

    def fix(self, name: str, value: object) -> None:
        """One of the settings' words is another now."""
        self._fixed[name], self.changed = value, True

    def body(self) -> dict[str, object]:
        """The body; who has told it clears `changed`."""
        return {**self._fixed, "devices": dict(self._devices), "modules": sorted(self._modules)}

    def _device(self, source: str, text: str) -> None:
        if source in self._devices and self._devices[source] != text:
            self._devices[source] = text
            self.changed = True

    def _source(self, source: str) -> None:
        self._sources.add(source)
        number = module_number(source)
        if number is not None:
            self._modules.add(number)
            self.changed = True


def _ms(duration_s: float) -> float:
    return round(duration_s * 1000.0, 3)
