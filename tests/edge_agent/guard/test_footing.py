"""How the guard's process stands, in a process of its own: what was set is what it says."""

from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import gc, json, os, sys
from edge_agent.guard import footing
said = {"priority": footing.take_priority(), "memory": footing.settle_memory()}
again = footing.take_priority()
said |= {"policy": os.sched_getscheduler(0), "nice": os.getpriority(os.PRIO_PROCESS, 0), "again": again}
said |= {"frozen": gc.get_freeze_count(), "switch_s": sys.getswitchinterval()}
print(json.dumps(said))
"""


def test_priority_memory_and_collector_are_set_as_far_as_allowed_and_told() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", PROBE], text=True, capture_output=True, timeout=30, check=True)
    said = json.loads(done.stdout)

    assert said["priority"] in {"fifo 20", "nice -10", "normal"}
    assert (said["policy"] == 1) == said["priority"].startswith("fifo")
    assert said["again"] == said["priority"]
    assert said["priority"] != "nice -10" or said["nice"] == -10
    assert said["memory"] == "locked" or said["memory"].startswith("not locked: ")
    assert said["frozen"] > 1000
    assert said["switch_s"] == 0.001
