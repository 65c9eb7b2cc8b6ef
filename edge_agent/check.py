"""Judges settings without touching a device: what must stop a start, what is missing, what is only absent now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import core_settings, dbc_path, read_bus

_NUMBERED = re.compile(r"tty(USB|ACM)\d+")


@dataclass(frozen=True, slots=True)
class Findings:
    """`warnings`: files that must be there at `run`, names that may change. `notes`: devices absent now, which is no error."""

    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def judge(config: EdgeConfig, where: str) -> Findings:
    """Look at everything the settings name.

    Raises:
        ConfigError: the DBC is wrong, or a limit cannot be used; every violation is named.
    """
    missing = [f"{key}: {path} does not exist" for key, path in _files(config) if not path.exists()]
    if dbc_path(config).exists():
        core_settings(config, read_bus(config), where)
    else:
        missing.append("the limits are not judged without the DBC")
    missing += [
        f"{key}: {path} may be another adapter after the next start; use its name below /dev/serial/by-id or one of udev"
        for key, path in _devices(config)
        if _NUMBERED.fullmatch(path.name)
    ]
    absent = [f"{key}: {path} is absent now" for key, path in _devices(config) if not path.exists()]
    return Findings(tuple(missing), tuple(absent))


def _files(config: EdgeConfig) -> Iterator[tuple[str, Path]]:
    tls = config.mqtt.tls
    yield "[can] dbc", dbc_path(config)
    yield "[schedule] folder", config.schedule.folder
    if config.mqtt.password_file is not None:
        yield "[mqtt] password_file", config.mqtt.password_file
    if tls is not None:
        named = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
        yield from ((f"[mqtt.tls] {key}", path) for key, path in named.items() if path is not None)


def _devices(config: EdgeConfig) -> Iterator[tuple[str, Path]]:
    if config.can.interface == "socketcan":
        yield "[can] channel", Path("/sys/class/net") / config.can.channel
    elif config.can.channel.startswith("/"):
        yield "[can] channel", Path(config.can.channel)
    if config.inverter is not None:
        yield "[inverter] port", Path(config.inverter.port)
    if config.arduino is not None:
        yield "[arduino] port", Path(config.arduino.port)
