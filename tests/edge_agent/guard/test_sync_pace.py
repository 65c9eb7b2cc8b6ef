"""The guard refuses a SYNC period that its machine does not sustain, and never the ordinary one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import core_settings, read_bus
from edge_agent.guard.sync_pace import check_pace, cycle_work_s, refusal, sustained_s

SLOWER_ON_A_PI_4 = 8.0
SLOWED = """
import sys
from pathlib import Path
from edge_agent.config import load_edge
from edge_agent.guard.main import run
from shared.errors import ConfigError

def trace(frame, event, argument):
    return trace

config = load_edge(Path(sys.argv[1]))
sys.settrace(trace)
try:
    run(config)
except ConfigError as error:
    print(error)
    sys.exit(error.exit_code)
"""
"""The guard on a machine that is made slow: every line of Python costs a little more."""


def measured(**tables: Any) -> tuple[Any, Any]:
    config = EdgeConfig.model_validate(tables)
    bus = read_bus(config)
    return bus, core_settings(config, bus)


def test_the_default_is_sustained_on_a_machine_eight_times_slower() -> None:
    bus, settings = measured()

    assert refusal(settings.sync_period_s, lambda: SLOWER_ON_A_PI_4 * cycle_work_s(bus, settings)) is None


def test_a_full_bus_at_30_ms_is_sustained_here_and_judged_in_no_time() -> None:
    bus, settings = measured(pack={"series": 15}, can={"sync_period_s": 0.03})
    start_s = time.process_time()

    check_pace(bus, settings)

    assert time.process_time() - start_s < 0.3


def test_more_modules_are_more_work() -> None:
    few, many = (cycle_work_s(*measured(pack={"series": series})) for series in (2, 15))

    assert many > 2.0 * few > 0.0


def test_a_period_too_short_is_refused_with_what_was_given_and_what_is_allowed() -> None:
    error = refusal(0.05, lambda: 0.02)

    assert error is not None
    assert error.exit_code == 78
    assert str(error) == (
        "[can] sync_period_s: given 0.05; allowed: at least 0.080 on this machine: a cycle takes it 20.0 ms of work"
    )
    assert refusal(sustained_s(0.02), lambda: 0.02) is None


def test_one_slow_measurement_does_not_refuse() -> None:
    works: Iterator[float] = iter((0.5, 0.001))

    assert refusal(0.03, lambda: next(works)) is None


def test_a_guard_on_a_slow_machine_does_not_start_with_a_fast_sync(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(
        '[node]\nstate_dir = "state"\nruntime_dir = "run"\n[pack]\nseries = 15\n'
        '[can]\ninterface = "unix"\nchannel = "absent"\nsync_period_s = 0.02\n'
    )

    done = subprocess.run(
        [sys.executable, "-c", SLOWED, str(path)], text=True, capture_output=True, timeout=60, check=False
    )

    assert done.returncode == 78, done.stderr
    assert done.stdout.startswith("[can] sync_period_s: given 0.02; allowed: at least ")
