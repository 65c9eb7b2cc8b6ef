"""`config reload`: what a running guard takes over, what it refuses with the key, and that a real one does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import EdgeConfig, fingerprint
from edge_agent.guard.core_settings import read_bus
from edge_agent.guard.reload import needs_restart, reloader
from shared.errors import ConfigError

RUNNING: dict[str, Any] = {"inverter": {"port": "/dev/a"}, "can": {"modules": 8}}


def config(**sections: Any) -> EdgeConfig:
    return EdgeConfig.model_validate({**RUNNING, **sections})


def wanting(wanted: EdgeConfig) -> Any:
    running = config()
    return reloader(running, read_bus(running), lambda: wanted)()


@pytest.mark.parametrize(
    "sections",
    [
        {"limits": {"cell_voltage": {"warning": (2.9, 4.0)}}},
        {"safety": {"hold_s": 5.0}},
        {"cooling": {"on_c": 30.0}},
        {"commands": {"energise": "window"}},
        {"schedule": {"autonomous": True}},
    ],
)
def test_what_only_the_safety_core_uses_is_taken_over(sections: dict[str, Any]) -> None:
    wanted = config(**sections)
    assert list(needs_restart(config(), wanted)) == []
    assert wanting(wanted).config == fingerprint(wanted)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"can": {"modules": 8, "bitrate": 250_000}}, r"\[can\] bitrate"),
        ({"inverter": {"port": "/dev/b"}}, r"\[inverter\] port"),
        ({"arduino": {"port": "/dev/c"}}, r"\[arduino\]"),
        ({"pack": {"cells": 11}}, r"\[pack\] cells"),
        ({"record": {"batch_s": 2.0}}, r"\[record\] batch_s"),
        ({"schedule": {"folder": Path("elsewhere")}}, r"\[schedule\] folder"),
        ({"relays": {"mode": "monitor"}, "cooling": {"on_c": 30.0}}, r"\[relays\] mode"),
    ],
)
def test_what_devices_and_link_are_built_from_is_refused_with_the_key_and_nothing_is_taken_over(
    sections: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named + r": given changed; allowed: reload takes over .*\[limits\].*restart"):
        wanting(config(**sections))


def test_a_dbc_whose_bytes_are_others_is_refused_and_so_are_limits_that_contradict_each_other(tmp_path: Path) -> None:
    running = config()
    bus, dbc = read_bus(running), tmp_path / "bms.dbc"
    dbc.write_bytes(b'VERSION ""\n')
    with pytest.raises(ConfigError, match=r"\[can\] dbc"):
        reloader(running, bus, lambda: config(can={"modules": 8, "dbc": dbc}))()
    mine = config(can={"modules": 8, "dbc": dbc})
    with pytest.raises(ConfigError, match=r"the file .*bms\.dbc: given changed"):
        reloader(mine, bus, lambda: mine)()
    with pytest.raises(ConfigError, match="cell_voltage"):
        wanting(config(limits={"cell_voltage": {"warning": (2.8, 4.3)}}))
