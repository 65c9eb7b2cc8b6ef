"""`cellguard rig` against a simulator in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cellguard.conftest import Done


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rig")
    arguments = ["--modules", "2", "--directory", str(folder / "links"), "--control", str(folder / "control")]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cellguard", "simulate", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield str(json.loads(process.stdout.readline())["control"])
    process.terminate()
    process.communicate(timeout=10.0)


def test_a_value_is_set_read_and_released(cellguard: Callable[..., Done], rig: str) -> None:
    assert cellguard("rig", "set", rig, "module.2.temperature_c=55", "ambient_c=12.5").returncode == 0
    read = cellguard("rig", "get", rig, "module.2.temperature_c", "ambient_c", "relay.1")
    assert json.loads(read.stdout) == {"module.2.temperature_c": 55, "ambient_c": 12.5, "relay.1": 0}
    assert cellguard("rig", "release", rig, "module.2.temperature_c", "ambient_c").returncode == 0
    assert json.loads(cellguard("rig", "get", rig, "module.2.temperature_c").stdout)["module.2.temperature_c"] < 40


def test_a_fault_takes_words_and_numbers_and_is_healed(cellguard: Callable[..., Done], rig: str) -> None:
    assert cellguard("rig", "fault", rig, "can.silence", "module=all").returncode == 0
    assert cellguard("rig", "heal", rig, "can.silence").returncode == 0
    refused = cellguard("rig", "fault", rig, "can.silence", "module=3")
    assert (refused.returncode, "1..2" in refused.stderr) == (3, True)


def test_everything_that_can_be_turned_is_listed(cellguard: Callable[..., Done], rig: str) -> None:
    named = json.loads(cellguard("rig", "names", rig).stdout)
    assert {"module.2.cell.12.voltage_v", "relay.3", "inverter.setpoint"} <= set(named)


def test_a_word_without_a_value_is_named(cellguard: Callable[..., Done], rig: str) -> None:
    refused = cellguard("rig", "set", rig, "ambient_c")
    assert (refused.returncode, "'ambient_c'" in refused.stderr, "NAME=VALUE" in refused.stderr) == (2, True, True)


def test_no_rig_is_one_sentence(cellguard: Callable[..., Done], tmp_path: Path) -> None:
    absent = cellguard("rig", "names", str(tmp_path / "nobody"))
    assert (absent.returncode, absent.stderr.count("\n")) == (69, 1)
    assert "no simulated rig" in absent.stderr
