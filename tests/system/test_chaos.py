"""A short round of chaos with a fixed seed: whatever is killed, cut, filled or slowed, nothing is lost and nothing double."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _has_broker() -> None:
    if shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/sbin:/usr/local/bin") is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")


@pytest.mark.parametrize(("seed", "store"), [(2, "archive"), (3, "influx")])
def test_kills_cuts_and_full_disks_lose_and_double_nothing(seed: int, store: str) -> None:
    arguments = ["--first", str(seed), "--seeds", "1", "--kills", "5", "--others", "3", "--store", store, "--verbose"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    total = done.stdout.splitlines()[-1]
    assert re.match(r"kills=5 lost=0 double=0 seconds=\d+ ", total), done.stdout
    rows = re.search(r"rows=(\d+) cells=(\d+)", done.stdout)
    assert rows is not None
    assert int(rows[1]) > 100, done.stdout
    assert int(rows[2]) > 20 * int(rows[1]), done.stdout
