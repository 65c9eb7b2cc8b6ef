"""From the configuration and the DBC to the settings of the safety core, judged before anything starts. Pure but for the DBC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dbc
from edge_agent import comm_timer
from edge_agent.config import EdgeConfig, Limit
from edge_agent.guard.catalog import Groups, known_signals, module_parts
from edge_agent.guard.codecs.dbc import groups, load
from edge_agent.guard.safety.interface import ArduinoSettings, InverterSettings, LimitOverride, Settings, SignalInfo
from edge_agent.guard.safety.rule_checks import check
from shared.errors import ConfigError
from shared.signals import ARDUINO, INVERTER
from shared.violations import SettingsError

MAX_SIGNALS = 255
"""A row counts its bad values in one byte."""


@dataclass(frozen=True, slots=True)
class Bus:
    """What the DBC says of the modules."""

    groups: Groups
    parts: Mapping[str, tuple[SignalInfo, ...]]
    sha: str
    fallback: tuple[str, ...]


def dbc_path(config: EdgeConfig) -> Path:
    """The DBC in force: [can] dbc, or the project's own."""
    return config.can.dbc or dbc.path()


def read_bus(config: EdgeConfig) -> Bus:
    """Read the DBC; raises ConfigError when it is absent, wrong, or has no modules of the kind [can] group names."""
    path = dbc_path(config)
    database = load(path)
    found = groups(database, config.can.group)
    parts = module_parts(found, str(path))
    count = sum(len(signals) for signals in parts.values())
    if count > MAX_SIGNALS:
        raise ConfigError(
            f"{path}: [can] group {config.can.group!r}", f"{count} signals a module", f"at most {MAX_SIGNALS}"
        )
    return Bus(found, parts, database.sha, database.fallback)


def core_settings(config: EdgeConfig, bus: Bus, where: str = "edge.toml") -> Settings:
    """The settings of the core; raises SettingsError naming every limit that cannot be used."""
    modules = config.can.modules
    settings = Settings(
        module_parts=bus.parts,
        inverter_signals=known_signals(INVERTER),
        arduino_signals=known_signals(ARDUINO),
        series=config.pack.series,
        cells=config.pack.cells,
        commission_count=modules if isinstance(modules, int) else None,
        sync_period_s=config.can.sync_period_s,
        inverter=_inverter(config),
        arduino=_arduino(config),
        profile=config.relays.mode,
        precharge=config.relays.precharge,
        main_path=config.relays.main_path,
        pack_current=config.signals.pack_current,
        pack_voltage=config.signals.pack_voltage,
        link_voltage=config.signals.link_voltage,
        current_noise_a=config.signals.current_noise_a,
        limits={name: _override(limit) for name, limit in config.limits.items()},
        hold_s=config.safety.hold_s,
        wait_s=config.safety.wait_s,
        ramp_a_per_s=config.safety.ramp_a_per_s,
        limit_rise_a_per_s=config.safety.limit_rise_a_per_s,
        recover=config.safety.recover,
        cooling_on_c=config.cooling.on_c,
        energise=config.commands.energise,
        autonomous=config.schedule.autonomous,
    )
    if found := check(settings):
        raise SettingsError([ConfigError(where, "", sentence) for sentence in found])
    return settings


def not_fail_safe(config: EdgeConfig) -> list[str]:
    """What `info` must admit: protections of this set-up that are missing or were never measured."""
    found = []
    if config.inverter is not None:
        measured = comm_timer.load(config.node.state_dir)
        if measured is None or not measured.trusted(config.inverter.comm_timer_s):
            found.append("inverter_comm_timer")
    if config.arduino is not None and config.arduino.protocol == "v1":
        found.append("arduino_v1")
    if config.relays.mode == "contactor" and config.signals.link_voltage == "none":
        found.append("weld_detection")
    return found


def _inverter(config: EdgeConfig) -> InverterSettings | None:
    given = config.inverter
    if given is None:
        return None
    return InverterSettings(
        mode=given.mode,
        poll_period_s=given.poll_period_s,
        max_voltage_v=given.max_voltage_v,
        min_voltage_v=given.min_voltage_v,
        max_charge_a=given.max_charge_a,
        max_discharge_a=given.max_discharge_a,
        max_power_kw=given.max_power_kw,
        comm_timer_s=given.comm_timer_s,
        lease_s=given.lease_s,
    )


def _arduino(config: EdgeConfig) -> ArduinoSettings | None:
    given = config.arduino
    return None if given is None else ArduinoSettings(given.protocol, given.sensors)


def _override(limit: Limit) -> LimitOverride:
    return LimitOverride(limit.warning, limit.danger, limit.hysteresis, limit.n, limit.t_on_s, limit.action)
