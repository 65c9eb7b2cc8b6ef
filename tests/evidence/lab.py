"""The lab's rig as settings: what every piece of evidence runs with unless it says otherwise."""

from __future__ import annotations

from typing import Any

from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import Bus, core_settings, read_bus
from edge_agent.guard.safety.interface import Settings

_BUS: list[Bus] = []


def lab_config(**sections: Any) -> EdgeConfig:
    """The lab's rig: eight modules, inverter in current mode, Arduino v2; schedules go on without a PC."""
    given: dict[str, Any] = {
        "can": {"modules": 8}, "inverter": {"port": "virtual"}, "arduino": {"port": "virtual"},
        "schedule": {"autonomous": True}, **sections,
    }  # fmt: skip
    return EdgeConfig.model_validate(given)


def bus_of(config: EdgeConfig) -> Bus:
    """The DBC, compiled once in a process."""
    if not _BUS:
        _BUS.append(read_bus(config))
    return _BUS[0]


def lab_settings(**sections: Any) -> Settings:
    config = lab_config(**sections)
    return core_settings(config, bus_of(config))
