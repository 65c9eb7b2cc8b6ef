"""Stage `clock`: a machine whose clock is wrong when it wakes, is set, and jumps, under a rig that carries current all the while."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clock_judge
import judge
import kernel
from clock_judge import Step, Told
from clock_rig import CONTROL, CURRENT_A, MODULES, ClockRig
from guest_machine import BROKER, running
from guest_rig import START_S
from proof import Proof, fresh_folder

SETTINGS = f"""\
[node]
state_dir = "/run/stage/state"
runtime_dir = "/run/stage/run"
[mqtt]
host = "{BROKER}"
port = 1883
[pack]
series = {MODULES}
[can]
interface = "unix"
channel = "/run/stage/rig/can"
modules = {MODULES}
sync_period_s = 0.4
[inverter]
poll_period_s = 0.4
port = "/run/stage/rig/inverter"
min_voltage_v = 60
max_voltage_v = 100
lease_s = 600
[arduino]
port = "/run/stage/rig/arduino"
"""
AWAY_S = 8 * 86_400.0
"""How long the machine was switched off: without a real-time clock it wakes at the time of its last shutdown."""
BOUND_S, START_BOOTS = 120.0, 4.5
"""Since boot: so long records wait for a clock that nothing sets. The programs get of it what this machine takes for so many boots."""
LONG_AGO_S = -25 * 365 * 86_400.0
JUMP_S, TICKS_A_JUMP = 90.0, 10
FIRST, WAITING = 10, 80
"""Records: one or two seconds of them, and about ten."""
SAID_S = 20.0


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Boot the guest in its past, let its clock be set and jump, and judge by what the archive holds."""
    stock = kernel.fetch(cache, proof)
    folder = fresh_folder(cache, "clock")
    (folder / "edge.toml").write_text(SETTINGS)
    wakes_at = f"{datetime.fromtimestamp(time.time() - AWAY_S, UTC):%Y-%m-%dT%H:%M:%S}"
    with judge.judging(folder, proof) as (judged, port):
        with running(stock, folder, port, proof, wakes_at) as machine:
            rig = ClockRig(checkout, machine, judged, proof)
            _never_set(rig)
            changes = rig.value("truth.recorded")
            steps = [*_set_at_last(rig), *_jumps(rig)]
            _undisturbed(rig, changes)
            told = _ended(rig, steps)
        clock_judge.compare(judged.archive, told, proof)


def _never_set(rig: ClockRig) -> None:
    """What is recorded waits until the bound and no longer; meanwhile the pack is connected as on any day."""
    rig.connect()
    rig.measure()
    rig.shift_uptime(BOUND_S - START_BOOTS * rig.proof.seconds)
    rig.agent("link")
    rig.simulate(MODULES, "unix")
    rig.agent("guard")
    rig.wait(lambda: rig.machine.attempt(f"test -S {CONTROL}")[0] == 0, START_S, "the simulator")
    rig.tick()
    rig.wait(lambda: rig.judge.body("state/health"), START_S, "link")
    rig.wait(lambda: rig.spooled() >= FIRST, START_S, "records that wait")
    began_s = rig.uptime_s() + rig.ahead_s
    rig.energise()
    rig.wait(lambda: rig.judge.body("tele/module-01"), START_S, "records after the bound")
    first_s = rig.judge.first_at["tele/module-01"] - rig.measure() + rig.ahead_s
    rig.proof.require(began_s < BOUND_S, f"the programs took {began_s:.0f} s to start: nothing had to wait")
    said = rig.judge.body("tele/module-01")["clock"]
    rig.proof.require(first_s > BOUND_S - 0.5 and said == "unsynced", f"sent {first_s:.1f} s after boot as {said}")
    rig.proof.proved(
        f"a clock that nobody sets is waited for, not for ever: records of {began_s:.0f} s after boot sent after {first_s:.0f} s, {said}"
    )


def _set_at_last(rig: ClockRig) -> list[Step]:
    """Link ends, the clock falls back to long ago, link comes back to it; then a time server is there."""
    steps = [Step(time.time(), LONG_AGO_S)]  # what link does not take any more is dated by its next life
    rig.signal("link", "TERM")
    rig.wait(lambda: rig.judge.body("status").get("state") == "offline", SAID_S, "link to say goodbye")
    rig.set_clock(LONG_AGO_S)
    rig.agent("link")
    rig.wait(lambda: rig.judge.body("status").get("state") != "offline", START_S, "link to come back")
    rig.wait(lambda: rig.spooled() >= WAITING, START_S, f"{WAITING} records to wait")
    waiting, newest_s = rig.spooled(), rig.judge.body("tele/module-01")["t0"] / 1e6
    rig.proof.require(newest_s < steps[0].at_s - AWAY_S / 2, "a record was sent with a time that nobody believes")
    steps.append(rig.set_clock(0.0, "synced"))
    wakes_s = steps[-1].at_s - 2 * AWAY_S
    rig.await_records(MODULES, int(steps[-1].at_s * 1e6), SAID_S, "the clock was set")
    rig.wait(lambda: rig.judge.oldest_s() > wakes_s, SAID_S, "what the broker keeps to be dated anew")
    rig.proof.proved(f"link came back with its clock 25 years behind: {waiting} records waited until it was set")
    return steps


def _jumps(rig: ClockRig) -> list[Step]:
    steps = []
    for wrong_s in (JUMP_S, 0.0):
        rig.await_ticks(TICKS_A_JUMP)
        steps.append(rig.set_clock(wrong_s, "synced"))
    rig.await_ticks(TICKS_A_JUMP)
    return steps


def _undisturbed(rig: ClockRig, changes: float) -> None:
    """By the simulator's truth: no relay, setpoint, mode or circuit changed, whatever the clock did."""
    changed = rig.value("truth.recorded") - changes
    rig.proof.require(not changed, f"{changed:g} changes: {rig.simulator(truth=True)['truth'][-int(changed) :]}")
    current_a = rig.value("circuit.current_a")
    rig.proof.require(current_a > CURRENT_A - 1, f"the current is {current_a:.1f} A")
    rig.proof.proved(f"{current_a:.0f} A flow on: no output and no setpoint changed while the clock was set and jumped")


def _ended(rig: ClockRig, steps: list[Step]) -> Told:
    """End guard, let everything be stored, end link; what the archive must hold."""
    rig.measure()
    ticks = rig.ticks()
    rig.signal("guard", "TERM")
    rig.wait(lambda: "guard is not connected" in rig.judge.why(), SAID_S, "guard to end")
    ended_us = rig.judge.body("status")["ts"]
    rig.wait(lambda: _settled(rig.judge.body("state/health"), ended_us), SAID_S, "everything to be stored")
    answered = {f"module-{n:02d}": int(rig.value(f"can.answered.module.{n}")) for n in range(1, MODULES + 1)}
    rig.signal("link", "TERM")
    rig.wait(lambda: rig.judge.body("status").get("state") == "offline", SAID_S, "link to say goodbye")
    return Told(rig.woke_wrong_s, tuple(steps), ticks, answered, rig.judge.body("state/health")["books"])


def _settled(health: dict[str, Any], since_us: int) -> bool:
    return health["ts"] > since_us and not health["books"]["spooled"] and not health["in_flight"]
