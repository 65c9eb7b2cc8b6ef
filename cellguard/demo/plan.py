"""What a demo consists of: its options, its folders, and the settings written for guard, link and collector."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cellguard import toml
from shared.errors import ConfigError
from shared.settings import Table

SITE, NODE, COLLECTOR = "lab", "demo", "pc-1"
SCHEDULE = "demo.csv"
SCHEDULE_A, STEP_S, STEPS = 35, 20, 4320
LONGEST_SOCKET = 107
"""Bytes that a Unix socket's path may have."""
_LONGEST_NAME = len("/guard-local.sock.bound") + 8
REFERENCE_CELLS = 96
MAX_CELL_V, MIN_CELL_V = 4.0, 2.75
MODULE_V = {"warning": (34.0 / 12, 48.0 / 12), "danger": (33.0 / 12, 49.0 / 12)}
BUS_V = {"warning": (268.0 / 96, 384.0 / 96), "danger": (264.0 / 96, 390.0 / 96)}
"""The lab's limits of module and bus, per cell in series (V)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for; `duration_s` counts from ready, None means until stopped."""

    duration_s: float | None = None
    modules: int = 8
    cells: int = 12
    sync_period_s: float = 0.2
    can: str = "slcan"
    profile: str = "ideal"
    overlay: Path | None = None
    port: int = 1883
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Folders:
    """Where everything of one demo lies. `run` holds sockets, so its path is short."""

    data: Path
    run: Path
    temporary: tuple[Path, ...] = field(default=())

    @property
    def edge_toml(self) -> Path:
        """Settings of guard and link."""
        return self.data / "edge.toml"

    @property
    def collector_toml(self) -> Path:
        """Settings of the collector."""
        return self.data / "collector.toml"

    @property
    def control(self) -> Path:
        """The simulator's control socket."""
        return self.run / "simulator.sock"

    @property
    def archive(self) -> Path:
        """The collector's store."""
        return self.data / "archive"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.data / "logs"

    @property
    def pids(self) -> Path:
        """Which process is which, kept current."""
        return self.data / "pids.json"


def make_folders(data: Path | None) -> Folders:
    """Create the folders; without `data` a temporary one that the end of the demo removes. Raises ConfigError."""
    temporary: list[Path] = []
    if data is None:
        data = Path(tempfile.mkdtemp(prefix="cellguard-demo-"))
        temporary.append(data)
    data = data.absolute()
    run = data / "run"
    if len(str(run).encode()) + _LONGEST_NAME > LONGEST_SOCKET:
        run = Path(tempfile.mkdtemp(prefix="cellguard-"))
        temporary.append(run)
    folders = Folders(data, run, tuple(temporary))
    try:
        for folder in (data, run, folders.logs, folders.archive, data / "state", data / "schedules"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--data", str(data), f"a folder that can be made and written ({error.strerror})") from error
    return folders


def write_files(options: Options, folders: Folders) -> None:
    """Write what does not depend on the simulator: collector.toml and the schedule."""
    folders.collector_toml.write_text(toml.dumps(collector_settings(options, folders)), encoding="utf-8")
    (folders.data / "schedules" / SCHEDULE).write_text(schedule(), encoding="utf-8")


def write_edge(options: Options, folders: Folders, links: Table) -> None:
    """Write edge.toml for the simulator's `links`, the line that `cellguard simulate` prints."""
    folders.edge_toml.write_text(toml.dumps(edge_settings(options, folders, links)), encoding="utf-8")


def schedule() -> str:
    """A day of short cycles that leave the pack as charged as it was: current flows except while it is reversed."""
    steps = (f"{STEP_S},{SCHEDULE_A if step % 2 == 0 else -SCHEDULE_A}" for step in range(STEPS))
    return "\n".join(["Interval [s],Current [A]", *steps]) + "\n"


def edge_settings(options: Options, folders: Folders, links: Table) -> Table:
    """The whole of edge.toml; the pack's limits follow its size."""
    cells = options.modules * options.cells
    return {
        "node": {"site": SITE, "name": NODE, "state_dir": folders.data / "state", "runtime_dir": folders.run},
        "mqtt": {"host": "127.0.0.1", "port": options.port, "receipts_from": [COLLECTOR]},
        "pack": {"series": options.modules, "cells": options.cells},
        "can": {**links["can"], "sync_period_s": options.sync_period_s, "modules": options.modules},
        "inverter": {
            **links["inverter"],
            "max_voltage_v": round(cells * MAX_CELL_V, 2),
            "min_voltage_v": round(cells * MIN_CELL_V, 2),
        },
        "arduino": {**links["arduino"], "protocol": "v2"},
        "limits": _limits(options.modules, options.cells),
        # the demo's own operator lives in a process of the demo: losing the broker for a moment must not pause it
        "schedule": {"folder": folders.data / "schedules", "autonomous": True},
        "spool": {"max_mb": 256, "reserved_mb": 16},
    }


def collector_settings(options: Options, folders: Folders) -> Table:
    """The whole of collector.toml."""
    return {
        "collector": {"name": COLLECTOR},
        "mqtt": {"host": "127.0.0.1", "port": options.port},
        "store": {"kind": "archive"},
        "archive": {"path": folders.archive},
    }


def _limits(modules: int, cells: int) -> Table:
    if modules * cells == REFERENCE_CELLS and cells == 12:
        return {}
    return {
        "module_voltage": {level: _scaled(pair, cells) for level, pair in MODULE_V.items()},
        "bus_voltage": {level: _scaled(pair, modules * cells) for level, pair in BUS_V.items()},
    }


def _scaled(pair: tuple[float, float], cells: int) -> list[float]:
    return [round(bound * cells, 2) for bound in pair]
