from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError
from simulator.main import Options, rig_size, run

Make = Callable[..., Any]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_with_its_links_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "rig"
    with start("--directory", str(folder), "--modules", "15", "--seed", "3") as process:
        assert process.stdout is not None
        links = json.loads(process.stdout.readline())
        assert links == {
            "can": {"interface": "slcan", "channel": str(folder / "can"), "bitrate": 500000},
            "inverter": {"port": str(folder / "inverter")},
            "arduino": {"port": str(folder / "arduino")},
            "control": str(folder / "control"),
        }
        assert all(
            Path(path).exists() for path in (links["can"]["channel"], links["inverter"]["port"], links["control"])
        )
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (0, "", "")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modules", "16"], "--modules: given 16; allowed: 1..15"),
        (["--cells", "0"], "--cells: given 0; allowed: 1..14"),
        (["--profile", "lab"], "--profile: given lab; allowed: ideal or lab-2021"),
        (["--can", "vcan0"], "--can: given vcan0; allowed: slcan, unix, or socketcan:CHANNEL"),
        (["--can", "socketcan:nocan7"], "--can: given socketcan:nocan7; allowed: a CAN interface that is up"),
        (["--arduino-protocol", "v3"], "--arduino-protocol: given v3; allowed: v1 or v2"),
        (["--truth", "/nowhere/at/all"], "/nowhere/at/all: given No such file or directory"),
        (["--control", "/nowhere/at/all"], "allowed: a path in a folder that exists"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_78(arguments: list[str], says: str) -> None:
    with start(*arguments) as process:
        out, err = process.communicate(timeout=10)
    assert process.returncode == 78
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_start_that_fails_half_way_removes_what_it_had_opened(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    folder = tmp_path / "rig"
    with pytest.raises(ConfigError, match="no socket"):
        run(Options(directory=folder, control=tmp_path / "taken"))
    assert list(folder.iterdir()) == []


def test_the_same_seed_gives_the_same_boot_and_another_another(bench: Make) -> None:
    boots = [bench(seed=seed).rig.board.boot for seed in (5, 5, 6)]
    assert boots[0] == boots[1] != boots[2]


def test_without_a_seed_two_boards_differ(bench: Make) -> None:
    assert bench(seed=None).rig.board.boot != bench(seed=None).rig.board.boot


@pytest.mark.parametrize("modules", [1, 15])
@pytest.mark.parametrize("cells", [1, 12, 14])
@pytest.mark.parametrize("profile", ["ideal", "lab-2021"])
def test_every_size_of_pack_and_profile_starts_healthy(bench: Make, modules: int, cells: int, profile: str) -> None:
    rig = bench(modules=modules, cells=cells, profile=profile)
    assert rig_size(Options(modules=modules)).modules == modules
    cell_v = rig.rig.battery.rest_v / modules / cells
    assert 3.6 < cell_v < 4.0
    assert len(rig.sync()) == modules * 5
