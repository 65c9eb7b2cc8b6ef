"""A trip of the running system is kept as a file, and the file run again gives the same trip; a looser limit gives none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

HOT = "module-03.temperature_high"


def replay(*arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "cellguard", "replay", "--json", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["verdict"]
    return done.returncode, verdict


def test_a_hot_module_leaves_a_file_that_replays_the_same_trip(
    start_demo: Any, wait_until: Any, tmp_path: Path
) -> None:
    demo = start_demo()
    wait_until(demo.flows, 25.0, "20 A through a closed circuit")
    demo.simulator(set={"module.3.temperature_c": 55})
    wait_until(lambda: demo.latest("state/safety").get("state") == "LATCHED", 8.0, "LATCHED")
    wait_until(lambda: demo.latest("state/health").get("trips", {}).get("waiting"), 5.0, "the trip in state/health")
    told = [json.loads(message.payload) for message in demo.heard[f"{demo.root}/event/state"]]
    (tripped,) = [one for one in told if one["to"] == "STOPPING" and one["from"] == "RUN"]
    demo.process.send_signal(signal.SIGINT)
    demo.books()

    (seen,) = tripped["seen"]
    assert (seen["alarm"], seen["rule"], seen["value"], seen["limit"], seen["samples"]) == (
        HOT,
        "temperature",
        55,
        50,
        4,
    )
    assert 0.55 < (seen["seen"] - seen["first"]) / 1e6 < 0.9
    assert tripped["latches"] == [HOT]

    (file,) = (demo.data / "state" / "trips").iterdir()
    assert file.name.endswith(f"-{HOT}.jsonl.gz")
    code, same = replay(str(file))
    assert (code, same["replayed"], same["same"]) == (0, [HOT], True), same
    assert abs(same["later_s"]) < 0.3

    looser = tmp_path / "looser.toml"
    looser.write_text("[limits.temperature]\ndanger = 58.0\n")
    code, other = replay(str(file), "--config", str(looser))
    assert (code, other["replayed"]) == (0, []), other
