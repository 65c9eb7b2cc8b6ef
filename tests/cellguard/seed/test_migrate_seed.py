"""`cellguard config migrate-seed`: the lab's old settings become an edge.toml that is accepted, and nothing of them is lost."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellguard.seed.draft import edge_toml
from cellguard.seed.read import Seed
from cellguard.seed.rows import DRIVEN

OLD: dict[str, dict[str, Any]] = {
    "ModbusHandler": {
        **DRIVEN,
        "currentControlMode": 1, "powerControlMode": 2, "ControlMode": 1, "heartBeatRate": 333, "slaveAddress": 2,
        "USB_Port": "/dev/ttyUSB0", "max_vol": 384, "min_vol": 264, "max_crt": -100, "max_dis_crt": 100, "max_power": 30,
        "current_scale": 52.094, "variance_current": 0.5, "variance_power": 0.5, "variance_voltage": 5, "currentVal": 2,
        "powerValue": 20, "intervalCount": 1, "controlValueFile": "../Client/drive.csv", "label_list": ["a", "b"],
        "volLowWarning": 268, "volHighWarning": 384, "volHighDangerous": 390, "volLowDangerous": 264,
    },
    "ArduinoHandler": {
        "port_rate": 9600, "USB_Port": "/dev/ttyACM0", "pumpPIN": 6, "FanPIN": 7, "Relay1PIN": 5, "Relay2PIN": 3, "Relay3PIN": 4,
    },
    "PcanConnection": {
        "CMA_Voltage_High_Dangerous": 49, "CMA_Voltage_Low_Dangerous": 33, "CMA_Voltage_High_Warning": 48,
        "CMA_Voltage_Low_Warning": 34, "CMA_Temp_Dangerous": 50, "CMA_Temp_Warning": 30, "CMA_Temp_security": 29,
        "Cell_Voltage_High_Warning": 4.1, "Cell_Voltage_Low_Warning": 2.8, "Cell_Voltage_High_Dangerous": 4.2,
        "Cell_Voltage_Low_Dangerous": 2.7, "cellVoltageNum": 12, "bustype": "socketcan", "channel": "can0", "exitNum": 3,
        "dataList": [],
    },
    "PCConnection": {"ip_addre": "192.168.137.1", "ip_port": 9999, "errorTimes": 0, "isError": False, "recurTimes": 0},
}  # fmt: skip


@pytest.fixture
def migrated(tmp_path: Path, cellguard: Any) -> Any:
    """Run the command on bytes and return what it printed, what edge.toml that is, and how `edge check` ends on it."""

    def run(content: bytes) -> tuple[str, dict[str, Any]]:
        (tmp_path / "config.properties").write_bytes(content)
        done = cellguard("config", "migrate-seed", str(tmp_path / "config.properties"))
        assert done.returncode == 0, done.stderr
        assert "CHECK" in done.stderr
        (tmp_path / "edge.toml").write_text(done.stdout, encoding="utf-8")
        checked = cellguard("edge", "check", "--config", str(tmp_path / "edge.toml"))
        assert checked.returncode == 0, checked.stderr
        return done.stdout, tomllib.loads(done.stdout)

    return run


def changed(handler: str, **values: Any) -> bytes:
    """The old file with some keys of one object changed; None leaves one out."""
    members = {key: value for key, value in {**OLD[handler], **values}.items() if value is not None}
    return json.dumps({**OLD, handler: members}).encode()


def test_the_labs_settings_come_over_with_what_was_dangerous_changed(migrated: Any) -> None:
    text, toml = migrated(json.dumps(OLD).encode())

    assert toml["mqtt"]["host"] == "192.168.137.1"
    assert toml["mqtt"]["port"] == 8883
    assert toml["pack"] == {"series": 8, "cells": 12}
    assert toml["inverter"] == {
        "port": "/dev/ttyUSB0", "unit": 2, "mode": "current", "max_voltage_v": 384, "min_voltage_v": 264, "max_charge_a": 100,
        "max_discharge_a": 100, "max_power_kw": 30, "comm_timer_s": 2.0, "dc_current_scale": 52.094,
    }  # fmt: skip
    assert toml["arduino"]["protocol"] == "v2"
    assert toml["arduino"]["pins"] == {"pump": 6, "fan": 7, "relay1": 5, "relay2": 3, "relay3": 4}
    assert toml["limits"]["cell_voltage"] == {"warning": [2.8, 4.1], "danger": [2.7, 4.2]}
    assert toml["limits"]["module_voltage"] == {"warning": [34, 48], "danger": [33, 49]}
    assert toml["limits"]["bus_voltage"] == {"warning": [268, 384], "danger": [264, 390]}
    assert toml["limits"]["temperature"] == {"danger": 50}
    assert toml["cooling"]["on_c"] == 30
    assert toml["safety"]["recover"] is False
    for words in ("flash firmware v2 first", "33.3 s", "the manual's range is 400..840 V", "look which one turns"):
        assert words in text


def test_every_old_key_stands_in_the_text_with_its_value(migrated: Any) -> None:
    text, _ = migrated(json.dumps(OLD).encode())

    lost = [
        f"{handler}.{key}"
        for handler, values in OLD.items()
        for key, value in values.items()
        if f"{handler}.{key} = {json.dumps(value)}" not in text
    ]
    assert lost == []
    assert "not known" not in text


def test_what_is_unknown_is_listed_and_marked(migrated: Any) -> None:
    text, _ = migrated(
        json.dumps({**OLD, "Extra": {"a": 1}, "loose": "x\ny"}).replace('"exitNum"', '"exit Num"').encode()
    )

    assert "# Extra.a = 1: CHECK: not known to cellguard" in text
    assert '# loose = "x\\ny": CHECK: not known to cellguard' in text
    assert '# PcanConnection."exit Num" = 3: CHECK: not known to cellguard' in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed("ModbusHandler", max_vol=2000), "CHECK: 2000 is not taken: [inverter] max_voltage_v: given 2000; allowed: at most"),
        (changed("ModbusHandler", max_vol=200), "min_voltage_v 264.0 below max_voltage_v 200.0"),
        (changed("ModbusHandler", max_vol="high"), 'max_vol = "high": CHECK: not taken, allowed: a number'),
        (changed("ModbusHandler", max_vol=None), "CHECK: ModbusHandler.max_vol is not in the old file"),
        (changed("ModbusHandler", USB_Port=None), "until you put yours in"),
        (changed("ModbusHandler", volLowWarning=400), "[limits.bus_voltage] warning"),
        (changed("ModbusHandler", bat_max_volt=40000), "bat_max_volt = 40000: CHECK"),
        (changed("ModbusHandler", ControlMode=7), "allowed: currentControlMode or powerControlMode"),
        (changed("ArduinoHandler", FanPIN=6), "pins each pin once"),
        (changed("PcanConnection", Cell_Voltage_Low_Dangerous=3), "[limits.cell_voltage]"),
        (changed("PcanConnection", cellVoltageNum=40), "[pack] cells: given 40"),
        (changed("PcanConnection", bustype="pcan", channel="PCAN_USBBUS1"), 'channel = "PCAN_USBBUS1": kept, or can0'),
        (b'{"PCConnection": {"ip_addre": "pc", "ip_addre": "other"}}', "ip_addre stood twice"),
        (b"{}", "CHECK: the object ModbusHandler is not in the old file; [inverter] is left out"),
        (b'{"ModbusHandler": []}', "# ModbusHandler = []: CHECK: not known"),
    ],
)  # fmt: skip
def test_odd_values_are_said_in_a_comment_and_the_rest_is_accepted(
    content: bytes, sentence: str, migrated: Any
) -> None:
    text, _ = migrated(content)

    assert sentence in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_file_may_be_utf_8_with_a_mark_or_cp1252(encoding: str, migrated: Any) -> None:
    old = {**OLD, "PCConnection": {"ip_addre": "pc", "note": "30 °C"}}

    text, _ = migrated(json.dumps(old, ensure_ascii=False).encode(encoding))

    assert 'PCConnection.note = "30 °C"' in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"ModbusHandler": {\n"max_vol": 384,\n}}', "line 3: allowed: JSON"),
        (b"[1]", "given a list; allowed: one JSON object"),
        (b"\x81\x90", "line 1: allowed: JSON"),
        (b"[" * 100_000, "allowed: JSON with four objects"),
        (None, "a readable file (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_old_settings_is_refused_in_one_sentence(
    content: bytes | None, sentence: str, tmp_path: Path, cellguard: Any
) -> None:
    path = tmp_path / "config.properties"
    if content is not None:
        path.write_bytes(content)

    done = cellguard("config", "migrate-seed", str(path))

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(f"error: {path}")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
HANDLER = st.fixed_dictionaries({}, optional={name: JSON for values in OLD.values() for name in values})


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from([*OLD, "Other"]), HANDLER), st.dictionaries(st.text(), JSON, max_size=3))
def test_whatever_the_old_file_holds_the_text_is_accepted(handlers: dict[str, Any], loose: dict[str, Any]) -> None:
    whole = {name: {**values} for name, values in handlers.items()}

    text = edge_toml(Seed(whole, loose, ()))

    assert "node" in tomllib.loads(text)
    text.encode("utf-8")
