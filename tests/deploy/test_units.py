"""The files of deploy/ that the Pi's own services read: systemd's units, networkd, udev, kernel modules, sysctl."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from edge_agent.guard.devices.af_can import BUFFER_BYTES
from edge_agent.guard.devices.can_bus import DIRECT

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = ("cellguard-guard", "cellguard-link")
MOST_EXPOSED = 20
"""Tenths of `systemd-analyze security`'s exposure level."""


def unit_file(name: str) -> Path:
    return DEPLOY / "systemd" / f"{name}.service"


def settings(path: Path) -> dict[str, list[str]]:
    """Every key of an ini-like file with its values, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key.strip()].append(value.strip())
    return found


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    return subprocess.run([program, *arguments], text=True, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_exists_with_options_it_has(name: str) -> None:
    program, *words = settings(unit_file(name))["ExecStart"][0].split()
    assert program == "/opt/cellguard/venv/bin/cellguard"
    command = words[: words.index("--config")]

    helped = subprocess.run(
        [sys.executable, "-m", "cellguard", *command, "--help"], text=True, capture_output=True, timeout=30, check=False
    )

    assert helped.returncode == 0, helped.stderr
    assert "--config" in helped.stdout


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong_in_a_unit(name: str, tmp_path: Path) -> None:
    # the program is only there on an installed Pi
    text = unit_file(name).read_text(encoding="utf-8").replace("/opt/cellguard/venv/bin/cellguard", "/bin/true")
    copy = tmp_path / f"{name}.service"
    copy.write_text(text, encoding="utf-8")

    done = analyze("verify", "--man=no", str(copy))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_confined_to_an_exposure_of_at_most_2(name: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit_file(name)))
    assert done.returncode == 0, done.stdout[-200:]


def test_the_guard_has_no_network_and_link_has_no_devices() -> None:
    guard, link = (settings(unit_file(name)) for name in UNITS)
    assert guard["RestrictAddressFamilies"] == ["AF_UNIX AF_CAN"]
    assert guard["IPAddressDeny"] == ["any"]
    assert link["PrivateDevices"] == ["yes"]
    assert "DeviceAllow" not in link
    assert guard["DevicePolicy"] == link["DevicePolicy"] == ["closed"]


def test_both_are_started_again_for_ever_but_not_with_wrong_settings() -> None:
    for unit in (settings(unit_file(name)) for name in UNITS):
        assert unit["Restart"] == ["always"]
        assert unit["StartLimitIntervalSec"] == ["0"]
        assert unit["RestartPreventExitStatus"] == ["78"]
        assert float(unit["RestartSec"][0]) <= 5


def test_the_guard_is_watched_and_ends_before_link() -> None:
    guard, link = (settings(unit_file(name)) for name in UNITS)
    assert (guard["Type"], guard["WatchdogSec"], guard["WatchdogSignal"]) == (["notify"], ["5"], ["SIGKILL"])
    assert link["Before"] == ["cellguard-guard.service"]
    assert "After" not in guard or "cellguard-link" not in guard["After"][0]
    assert not [key for key in guard if key in {"Requires", "BindsTo", "Requisite"}]


def test_the_units_users_share_a_group_and_nothing_else() -> None:
    created = (DEPLOY / "systemd" / "cellguard.sysusers").read_text(encoding="utf-8")
    guard, link = (settings(unit_file(name)) for name in UNITS)
    assert guard["User"] != link["User"]
    assert guard["Group"] == link["Group"] == ["cellguard"]
    assert guard["StateDirectory"] != link["StateDirectory"]
    for unit in (guard, link):
        assert f"u {unit['User'][0]} " in created
    # a group that does not exist would keep the guard from starting: membership is given where groups are made
    assert "SupplementaryGroups" not in guard
    assert "m cellguard-guard dialout" in created


def test_every_class_of_serial_port_that_is_allowed_is_loaded_before_the_guard() -> None:
    text = (DEPLOY / "modules-load.d" / "cellguard.conf").read_text(encoding="utf-8")
    loaded = {line for line in text.splitlines() if line and not line.startswith("#")}
    assert {"can", "can_raw", "peak_usb", "usbserial", "cdc_acm"} <= loaded
    guard = settings(unit_file("cellguard-guard"))
    assert {"char-ttyUSB rw", "char-ttyACM rw", "char-gpiochip rw"} <= set(guard["DeviceAllow"])
    assert "systemd-modules-load.service" in guard["After"][0]


def test_networkd_brings_up_the_interface_of_the_example_at_its_bit_rate() -> None:
    network = settings(DEPLOY / "networkd" / "80-can0.network")
    link = settings(DEPLOY / "networkd" / "80-can0.link")
    can = tomllib.loads((DEPLOY / "edge.example.toml").read_text(encoding="utf-8"))["can"]
    assert can["interface"] in DIRECT
    assert network["Name"] == link["Name"] == [can["channel"]]
    assert network["BitRate"] == [str(can["bitrate"])]
    assert network["RestartSec"] == ["100ms"]
    assert int(link["TransmitQueueLength"][0]) >= 100


def test_the_kernel_allows_the_receive_buffer_that_the_guard_asks_for() -> None:
    allowed = settings(DEPLOY / "sysctl.d" / "cellguard.conf")
    assert int(allowed["net.core.rmem_max"][0]) >= BUFFER_BYTES
    assert int(allowed["net.core.netdev_max_backlog"][0]) > 4347, "a second of a full bus"


def test_no_file_names_a_serial_port_by_its_number() -> None:
    numbered = re.compile(r"^[^#]*/dev/tty(USB|ACM)\d", re.MULTILINE)
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if numbered.search(path.read_text(encoding="utf-8"))] == []


def test_udev_names_each_port_by_the_serial_number_of_its_adapter() -> None:
    text = (DEPLOY / "udev" / "80-cellguard.rules").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if "SYMLINK+=" in line]
    assert [re.search(r'SYMLINK\+="([^"]+)"', rule)[1] for rule in rules] == ["cellguard-inverter", "cellguard-arduino"]  # type: ignore[index]  # a rule without a name fails here
    assert all('ENV{ID_SERIAL_SHORT}=="' in rule for rule in rules)
