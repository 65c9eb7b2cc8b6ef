"""Faults raised on a running demo, judged by the simulator's truth and by what an operator sees over MQTT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

FLOW_S = 25.0
FRAME_BITS, BITRATE = 115, 500_000


def send(demo: Any, *words: str) -> dict[str, Any]:
    """The last answer to a command as the operator types it."""
    command = [sys.executable, "-P", "-m", "cellguard", "send", "--mqtt", demo.ready["mqtt"], *words, "--json"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def running(start_demo: Any, wait_until: Any, *arguments: str) -> Any:
    """A demo whose schedule has run for so long that its own operator leaves the pack alone."""
    demo = start_demo(*arguments)
    wait_until(demo.flows, FLOW_S, "20 A through a closed circuit")
    wait_until(lambda: demo.latest("state/schedule").get("elapsed_s", 0.0) >= 1.0, 5.0, "a second of the schedule")
    return demo


def overlay(folder: Path, text: str) -> str:
    settings = folder / "overlay.toml"
    settings.write_text(text)
    return f"--config={settings}"


def latched(demo: Any) -> list[str]:
    safety = demo.latest("state/safety")
    return sorted(safety["latches"]) if safety.get("state") == "LATCHED" else []


def opening(demo: Any, since: float) -> list[dict[str, Any]]:
    """How the main relays opened: in which order, by whom, and under which current."""
    truth = demo.simulator(truth=True, since=since)["truth"]
    return [one for one in truth if one["what"] in {"relay.1", "relay.2"} and one["value"] == 0]


def zeroed_after(demo: Any, since: float) -> float:
    """When the inverter was at zero for good, in s."""
    truth = demo.simulator(truth=True, since=since)["truth"]
    setpoints = [one for one in truth if one["what"] == "inverter.setpoint"]
    assert setpoints[-1]["value"] == 0
    after: float = setpoints[-1]["t_mono"] - since
    return after


def test_one_welded_relay_is_found_by_the_next_weld_check_and_never_closed_onto_again(
    start_demo: Any, wait_until: Any
) -> None:
    demo = running(start_demo, wait_until)
    began = time.monotonic()
    demo.simulator(fault="relay.weld", n=1)

    assert send(demo, "contactor", "open")["status"] == "done"
    (other,) = opening(demo, began)
    assert (other["what"], other["by"]) == ("relay.2", "command")
    assert abs(other["circuit_current_a"]) < 2
    assert (demo.value("relay.1"), demo.value("circuit.closed")) == (1, 0)
    assert demo.raised() == {}, "one weld behind an open relay cannot be seen"

    again = time.monotonic()
    answer = send(demo, "contactor", "close")
    assert (answer["status"], answer["code"]) == ("failed", "E_DANGER")
    assert "relay 1 or 3 is welded" in answer["reason"]
    wait_until(lambda: latched(demo) == ["relays.weld_plus"], 3.0, "LATCHED")
    assert demo.raised() == {"relays.weld_plus": {"CRITICAL"}}
    checked = [one for one in demo.simulator(truth=True, since=again)["truth"] if one["what"] == "relay.2"]
    assert [one["value"] for one in checked] == [1, 0]
    assert checked[1]["t_mono"] - checked[0]["t_mono"] < 2.0
    assert [demo.value(f"arduino.pin.relay{n}") for n in (1, 2, 3)] == [0, 0, 0]

    killed = demo.pids()["guard"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: demo.pids()["guard"] != killed, 10.0, "guard to be started again")
    wait_until(lambda: send(demo, "contactor", "close").get("code") == "E_LATCHED", 10.0, "LATCHED after the restart")
    assert latched(demo) == ["relays.weld_plus"]
    assert send(demo, "safety", "reset_latch", "relays.weld_plus")["code"] == "E_LOCAL_ONLY"
    assert not demo.value("circuit.closed")


def test_a_slow_line_that_was_dead_until_the_inverters_timer_tripped_ends_no_test(
    start_demo: Any, wait_until: Any
) -> None:
    demo = running(start_demo, wait_until)
    demo.simulator(fault="inverter.delay", min_s=0.06, max_s=0.06, probability=1.0)
    demo.simulator(fault="inverter.silence")
    began = time.monotonic()
    wait_until(lambda: demo.value("inverter.comm_trips") > 0, 5.0, "the inverter's own timer")
    demo.simulator(heal="inverter.silence")
    wait_until(lambda: demo.latest("state/safety").get("state") == "READY", 10.0, "READY")
    wait_until(demo.flows, 15.0, "the demo's operator to go on")
    assert opening(demo, began) == []
    assert not {"FAULT", "CRITICAL", "DANGER"} & set().union(*demo.raised().values())


def test_a_bus_full_of_id_0_is_missing_data_zero_first_then_open(
    start_demo: Any, wait_until: Any, tmp_path: Path
) -> None:
    demo = running(start_demo, wait_until, "--can", "unix", overlay(tmp_path, "[safety]\nhold_s = 3\n"))
    demo.simulator(fault="can.flood", id=0, rate=6000)
    began = time.monotonic()
    before = demo.simulator(get=["can.sent", "can.heard"])["get"]
    wait_until(lambda: latched(demo), 12.0, "LATCHED")
    after, lasted_s = demo.simulator(get=["can.sent", "can.heard"])["get"], time.monotonic() - began

    assert (after["can.sent"] - before["can.sent"]) * FRAME_BITS / BITRATE / lasted_s > 0.95
    assert after["can.heard"] == before["can.heard"], "no SYNC wins against id 0"
    assert zeroed_after(demo, began) < 3.0
    opened = opening(demo, began)
    assert [one["what"] for one in opened] == ["relay.1", "relay.2"]
    assert all(one["by"] == "command" and abs(one["circuit_current_a"]) < 2 for one in opened)
    assert opened[-1]["t_mono"] - began < 3.0 + 5.0
    modules = [f"module-{n:02d}.stale" for n in range(1, 9)]
    assert latched(demo) == modules
    assert sorted(demo.raised()) == modules


def test_frozen_frames_never_clear_an_alarm_and_are_a_fault_themselves(
    start_demo: Any, wait_until: Any, tmp_path: Path
) -> None:
    demo = running(start_demo, wait_until, overlay(tmp_path, "[limits.frozen]\nwarning = 4.0\ndanger = 7.0\n"))
    alarm = "module-03.cell-05.voltage_high"
    demo.simulator(set={"module.3.cell.5.voltage_v": 4.13})
    wait_until(lambda: demo.latest(f"alarm/{alarm}").get("state") == "active", 5.0, "the warning")
    began = time.monotonic()
    demo.simulator(fault="can.freeze", module=3)
    demo.simulator(release=["module.3.cell.5.voltage_v"])
    assert demo.value("module.3.cell.5.voltage_v") < 4.0

    wait_until(lambda: latched(demo) == ["module-03.frozen"], 15.0, "LATCHED")
    assert demo.latest(f"alarm/{alarm}")["state"] == "active", "nothing new was seen of the cell"
    assert demo.latest("state/safety")["blocked"]["charge"] == [alarm]
    assert demo.raised()["module-03.frozen"] == {"WARNING", "FAULT"}
    assert not [name for name in demo.raised() if not name.startswith("module-03.")]
    opened = opening(demo, began)
    assert [one["what"] for one in opened] == ["relay.1", "relay.2"]
    assert all(abs(one["circuit_current_a"]) < 2 for one in opened)

    demo.simulator(heal="can.freeze")
    wait_until(lambda: demo.latest(f"alarm/{alarm}").get("state") == "cleared", 5.0, "new data to clear it")


def test_a_guard_that_stood_still_is_latched_for_that_and_claims_no_load_that_was_not_there(
    start_demo: Any, wait_until: Any
) -> None:
    demo = running(start_demo, wait_until)
    guard, began = demo.pids()["guard"], time.monotonic()
    os.kill(guard, signal.SIGSTOP)
    wait_until(lambda: time.monotonic() - began > 5.0, 6.0, "five seconds")
    os.kill(guard, signal.SIGCONT)
    wait_until(lambda: latched(demo), 5.0, "LATCHED")

    assert zeroed_after(demo, began) < 2.5
    opened = opening(demo, began)
    assert all(one["by"] == "deadman" and one["circuit_current_a"] == 0 for one in opened)
    assert opened[-1]["t_mono"] - began < 4.0
    resumed = time.monotonic()
    wait_until(lambda: time.monotonic() - resumed > 3.0, 4.0, "the verdict on the opening")
    assert set(latched(demo)) - {"arduino.deadman"} == {"guard.overrun"}, "the dead-man may be heard first"
    assert "relays.opened_under_load" not in demo.raised()
