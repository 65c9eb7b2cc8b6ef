"""`tail`, `alarms`, `watch` and `doctor` against a real broker and a stand-in node."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import orjson
import pytest

ALARM = {
    "alarm": "module-03.temperature_high",
    "level": "DANGER",
    "state": "latched",
    "value": 55,
    "limit": 50,
    "unit": "°C",
    "since": 1795345556123456,
    "acked": None,
}


@pytest.fixture
def run(cellguard: Any, mqtt: list[str]) -> Any:
    return lambda *arguments: cellguard(*arguments, *mqtt)


@pytest.fixture
def pack(node: Any) -> Any:
    """The stand-in with everything a healthy node has said, and one alarm."""
    now = time.time_ns() // 1000
    node.keep("info", {"modules": [1, 2], "ts": now})
    node.keep(
        "state/safety",
        {"state": "LATCHED", "latches": [ALARM["alarm"]], "blocked": {"charge": [], "close": [ALARM["alarm"]]}},
    )
    node.keep("state/outputs", {"pump": {"commanded": 1, "readback": 1}, "relay1": {"commanded": 0, "readback": 1}})
    node.keep(
        "state/schedule",
        {"state": "running", "file": "demo.csv", "step": 4, "steps": 120, "setpoint": -35.0, "unit": "A"},
    )
    node.keep("state/module-01", {"ts": now, "CMA_Voltage": 47.33, "CMA_Max_Temp": 21, "bad": {"CMA_Temp3": "stale"}})
    node.keep(f"alarm/{ALARM['alarm']}", ALARM)
    node.keep("alarm/module-05.stale", {**ALARM, "alarm": "module-05.stale", "state": "cleared"})
    return node


@pytest.mark.usefixtures("pack")
def test_alarms_lists_those_that_hold_and_not_the_cleared_ones(run: Any) -> None:
    done = run("alarms")

    assert done.returncode == 0, done.stderr
    assert "module-03.temperature_high" in done.stdout
    assert "DANGER" in done.stdout
    assert "module-05.stale" not in done.stdout


@pytest.mark.usefixtures("pack")
def test_alarms_as_json_are_the_retained_bodies(run: Any) -> None:
    done = run("alarms", "--json")
    everything = run("alarms", "--json", "--all")

    assert [orjson.loads(line) for line in done.stdout.splitlines()] == [ALARM]
    assert len(everything.stdout.splitlines()) == 2


@pytest.mark.usefixtures("node")
def test_no_alarms_is_said_in_words(run: Any) -> None:
    done = run("alarms")

    assert (done.returncode, done.stdout) == (0, "lab/rig-1: no alarms\n")


def test_tail_prints_one_json_line_for_each_message_of_the_topic(node: Any, run: Any) -> None:
    done = run("tail", "state/inverter", "--json", "--count", "2")

    lines = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["topic"] for line in lines] == [f"{node.root}/state/inverter"] * 2
    assert lines[0]["payload"]["current"] == 12.5


@pytest.mark.usefixtures("pack")
def test_tail_for_people_marks_what_the_broker_had_kept(run: Any) -> None:
    done = run("tail", "alarm/#", "--count", "2")

    assert done.stdout.count("(kept)") == 2
    assert "lab/rig-1/alarm/module-03.temperature_high" in done.stdout


def test_tail_of_a_topic_without_messages_ends_with_4(node: Any, run: Any) -> None:
    assert node.connected
    done = run("tail", "tele/+", "--seconds", "0.5")

    assert (done.returncode, done.stdout) == (4, "")


def test_tail_shows_no_control_characters_of_a_hostile_payload(node: Any, run: Any) -> None:
    node.keep("alarm/hostile", {"alarm": "\x1b[2J\x07"})
    node._mqtt.retain(f"{node.root}/event/raw", b"\x1b]0;owned\x07")

    done = run("tail", "event/raw", "--count", "1")

    assert "owned" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


@pytest.mark.usefixtures("pack")
def test_watch_once_shows_modules_outputs_safety_schedule_and_alarms(run: Any) -> None:
    done = run("watch", "--once")

    assert done.returncode == 0, done.stderr
    for word in (
        "lab/rig-1",
        "online",
        "LATCHED",
        "module-01",
        "47.33",
        "module-02",
        "demo.csv",
        "step 4/120",
        "12.5",
        "DANGER",
    ):
        assert word in done.stdout, word
    assert "relay1 on (wanted off)" in done.stdout


@pytest.mark.usefixtures("pack")
def test_watch_once_as_json_is_one_object(run: Any) -> None:
    done = run("watch", "--once", "--json")
    seen = orjson.loads(done.stdout)

    assert seen["node"] == "lab/rig-1"
    assert seen["modules"] == ["module-01", "module-02"]
    assert seen["states"]["module-01"]["CMA_Voltage"] == 47.33
    assert seen["alarms"] == [ALARM]


@pytest.mark.usefixtures("pack")
def test_doctor_names_each_fault_with_what_to_do_and_ends_with_5(run: Any) -> None:
    done = run("doctor", "--json", "--seconds", "1")

    found = {row["check"]: row for row in map(orjson.loads, done.stdout.splitlines())}
    assert done.returncode == 5
    assert {name for name, row in found.items() if row["verdict"] == "ok"} >= {
        "broker",
        "node",
        "heartbeat",
        "inverter",
    }
    assert {name for name, row in found.items() if row["verdict"] == "fault"} == {"modules", "storage", "safety"}
    assert "module-02" in found["modules"]["said"]
    assert all(row["todo"] for row in found.values() if row["verdict"] != "ok")


def test_doctor_without_a_broker_says_what_to_start(run: Any, broker: Any) -> None:
    broker.stop()

    done = run("doctor")

    assert done.returncode == 5
    assert "FAULT broker" in done.stdout
    assert "is the broker running? `systemctl status mosquitto`, or `cellguard demo`" in done.stdout


def test_doctor_finds_nothing_wrong_with_a_healthy_node(node: Any, mqtt: list[str], broker: Any) -> None:
    node.keep("info", {"modules": []})
    node.keep("state/safety", {"state": "RUN", "latches": []})
    command = [sys.executable, "-P", "-m", "cellguard", "doctor", "--json", "--seconds", "2", *mqtt]
    doctor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while doctor.poll() is None:
        for topic in ("state/module-01", "state/arduino", "receipt"):
            node.say(topic, {"ts": time.time_ns() // 1000})
        try:
            doctor.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert doctor.stdout is not None
    out = doctor.stdout.read()
    doctor.stdout.close()

    assert '"fault"' not in out
    assert doctor.returncode == 0
    assert broker.port
