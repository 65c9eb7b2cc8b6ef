"""The guard keeps nothing: minutes of the whole of it, and its memory is what it was."""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import edge_agent
import shared
from tests.conftest import wait_for
from tests.evidence.whole_guard import WholeAgent, WholeWorld
from tests.evidence.world import clocked

ROWS_A_SECOND = 8 * 5
SETTLED_S, JUDGED_S = 20.0, 45.0
MOST_BYTES = 24 * 1024
"""What waits for link at a moment comes and goes; 14 bytes kept of each row would be more."""


@pytest.fixture
def world() -> Iterator[WholeWorld]:
    with tempfile.TemporaryDirectory(prefix="cg-") as folder, ExitStack() as stack:
        made = WholeWorld(Path(folder), stack, 1, "lab-2021")
        with clocked(made):
            yield made


def test_a_guard_that_runs_on_keeps_nothing_of_it_and_link_gets_every_record(world: WholeWorld) -> None:
    world.connect()
    world.drive((300.0, 35.0), (300.0, -35.0))
    tracemalloc.start()
    world.run(SETTLED_S)
    before = _kept(world)
    world.run(JUDGED_S)
    grown = _kept(world) - before
    tracemalloc.stop()
    agent = world.living
    assert isinstance(agent, WholeAgent)
    assert grown < MOST_BYTES
    assert agent.state == "RUN"
    assert agent.link.records > ROWS_A_SECOND * (SETTLED_S + JUDGED_S)
    assert agent.link.holes == 0


def _kept(world: WholeWorld) -> int:
    """Bytes that live and were taken in the guard's own code since tracing began."""
    agent = world.living
    assert isinstance(agent, WholeAgent)
    wait_for(lambda: agent.door.is_idle, 30, "link to take what waits")
    agent.events.clear()
    gc.collect()
    folders = [Path(str(package.__file__)).parent for package in (edge_agent, shared)]
    own = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(inclusive=True, filename_pattern=f"{folder}/*") for folder in folders]
    )
    return sum(trace.size for trace in own.traces)
