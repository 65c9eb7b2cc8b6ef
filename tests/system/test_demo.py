"""The whole system as the demo runs it, judged from outside: topics, books, restarts, and the truth of the circuit."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

TOPICS = (
    "status", "hb", "info", "catalog", "state/module-01", "state/module-08", "state/inverter", "state/arduino", "state/safety",
    "state/outputs", "state/schedule", "state/health", "tele/module-01", "tele/inverter", "tele/arduino", "receipt",
)  # fmt: skip
RESTART_S, FLOW_S = 10.0, 25.0


def cellguard(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "cellguard", *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)


def exported(archive: str, source: str) -> Counter[tuple[int, str]]:
    done = cellguard("export", "--archive", archive, "--source", source, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return Counter((int(row["time"]), row["signal"]) for row in csv.DictReader(io.StringIO(done.stdout)))


def test_a_demo_speaks_on_every_topic_survives_a_killed_link_and_its_books_balance(
    start_demo: Any, left_running: Any, wait_until: Any
) -> None:
    demo = start_demo("--duration", "22")
    assert set(demo.ready["pids"]) == {"broker", "simulator", "guard", "link", "collector"}
    assert all(psutil.pid_exists(pid) for pid in demo.ready["pids"].values())
    wait_until(lambda: demo.missing(TOPICS) == [], 15.0, lambda: f"topics {demo.missing(TOPICS)}")
    wait_until(demo.flows, FLOW_S, "20 A through a closed circuit")

    killed, killed_us = demo.pids()["link"], time.time_ns() // 1000
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: demo.pids()["link"] != killed, RESTART_S, "link to be started again")
    assert "link ended (SIGKILL)" in demo.stderr()

    books = demo.books()
    assert demo.process.returncode == 0, (books, demo.stderr())
    assert books["produced"] == books["stored"] + books["gaps"] + books["quarantined"] + books["spooled"]
    assert books["produced"] > 500
    assert (books["gaps"], books["quarantined"], books["unknown_gaps"]) == (0, 0, 0)
    assert left_running(demo.data) == []

    rows = exported(demo.ready["archive"], "module-03")
    times = sorted({time_us for time_us, _ in rows if -1_000_000 < time_us - killed_us < 5_000_000})
    assert max(rows.values()) == 1, "a row is stored twice"
    assert max(later - earlier for earlier, later in pairwise(times)) < 450_000


def test_a_hot_module_is_zeroed_then_opened_without_load_and_stays_latched(
    start_demo: Any, left_running: Any, wait_until: Any
) -> None:
    demo = start_demo()
    wait_until(demo.flows, FLOW_S, "20 A through a closed circuit")
    began = time.monotonic()

    demo.simulator(set={"module.3.temperature_c": 55})
    wait_until(lambda: not demo.value("circuit.closed"), 8.0, "the circuit to open")
    wait_until(lambda: demo.value("pump") and demo.value("fan"), 3.0, "cooling")
    wait_until(lambda: demo.latest("state/safety").get("state") == "LATCHED", 5.0, "LATCHED")

    truth = demo.simulator(truth=True, since=began)["truth"]
    zeroed = min(one["t_mono"] for one in truth if one["what"] == "inverter.setpoint" and one["value"] == 0)
    opened = [one for one in truth if one["what"] in {"relay.1", "relay.2"} and one["value"] == 0]
    assert {one["what"] for one in opened} == {"relay.1", "relay.2"}
    assert all(one["t_mono"] > zeroed and abs(one["circuit_current_a"]) < 2 for one in opened)

    demo.simulator(release=["module.3.temperature_c"])
    wait_until(
        lambda: demo.latest("alarm/module-03.temperature_high").get("state") == "latched", 15.0, "the latched alarm"
    )
    refused = cellguard("send", "--mqtt", demo.ready["mqtt"], "contactor", "close", "--json")
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["code"] == "E_LATCHED"
    assert not demo.value("circuit.closed")

    demo.process.send_signal(signal.SIGINT)
    books = demo.books()
    assert demo.process.returncode == 0, (books, demo.stderr())
    assert left_running(demo.data) == []


def test_commands_are_obeyed_from_the_command_line_and_from_any_client(start_demo: Any, wait_until: Any) -> None:
    demo = start_demo()
    where = ("--mqtt", demo.ready["mqtt"])

    sent = cellguard("send", *where, "pump", "on", "--json")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert [json.loads(line)["status"] for line in sent.stdout.splitlines()] == ["accepted", "done"]
    assert demo.value("pump") == 1

    demo.publish("cmd/fan", {"on": True})
    wait_until(lambda: demo.value("fan"), 5.0, "the fan")
    assert cellguard("doctor", *where).returncode == 0
    assert cellguard("alarms", *where).returncode == 0


def test_nothing_is_left_running_when_a_demo_is_killed(start_demo: Any, left_running: Any, wait_until: Any) -> None:
    demo = start_demo()

    demo.process.kill()

    wait_until(lambda: left_running(demo.data) == [], 5.0, "its children to die with it")
    assert not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in demo.ready["pids"].values()
    )
