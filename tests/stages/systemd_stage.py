"""Stage `systemd`: cellguard installed under a real systemd, with the simulator's rig on the guard's own ports."""

from __future__ import annotations

import json
import time
from pathlib import Path

import container
import installing
import judge
from container import Container
from proof import Proof, fresh_folder
from systemd_rig import CURRENT_A, GUARD, LINK, START_S, Rig

MODULES = 8
SETTINGS = """\
[mqtt]
host = "127.0.0.1"
port = {port}
[can]
interface = "unix"
channel = "/run/rig/can"
modules = {modules}
[inverter]
port = "/run/rig/inverter"
[arduino]
port = "/run/rig/arduino"
[spool]
max_mb = 64
reserved_mb = 8
"""
ZERO_S, OPEN_S = 2.5, 4.0
"""The budget for a dead agent, counted from the moment it dies."""
WATCHDOG_S = 5.0
TIMED_OUT = 124
"""What timeout(1) returns when it had to end its program."""


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Boot the container, install as the docs say, prove each point."""
    made = container.root(cache, proof)
    folder = fresh_folder(cache, "systemd")
    options = installing.bundles(checkout, made, folder, proof)
    with judge.judging(folder, proof) as (judged, port), container.booted(made, options, folder, proof) as inside:
        proof.say(f"the container runs {inside.do('systemctl', '--version').splitlines()[0]}")
        installing.first(inside, SETTINGS.format(port=port, modules=MODULES), proof)
        _networkd(inside, proof)
        rig = Rig(inside, judged, proof)
        _starts(rig)
        _killed(rig)
        _hangs(rig)
        _link_killed(rig)
        _journal(rig)
        _upgraded(rig)
        _stopped(rig)
        installing.gone(inside, proof)


def _networkd(inside: Container, proof: Proof) -> None:
    """The container may not configure a network (no CAP_NET_ADMIN): networkd only reads its files there."""
    read = inside.attempt("timeout", "2", "/lib/systemd/systemd-networkd")
    proof.require(read.returncode == TIMED_OUT, f"systemd-networkd did not run: {read.stderr}")
    proof.require("80-can0" not in read.stderr, read.stderr)
    proof.proved("networkd knows every key of the files for can0")


def _starts(rig: Rig) -> None:
    inside, proof = rig.inside, rig.proof
    # the simulator's ptys belong to the guard's user, as serial ports belong to the group dialout
    simulate = [
        "/usr/local/bin/cellguard",
        "simulate",
        "--modules",
        str(MODULES),
        "--can",
        "unix",
        "--directory",
        "/run/rig",
    ]
    inside.do(
        "systemd-run", "--unit=rig", f"--uid={GUARD}", "--gid=cellguard", "--property=RuntimeDirectory=rig", *simulate
    )
    rig.wait(lambda: inside.path("/run/rig/control").exists(), START_S, "the simulator")
    began = time.time_ns() // 1000
    installing.again(rig)
    proof.require(inside.shown(GUARD, "ActiveState") == "active", "the guard is not active after it was started")
    rig.wait(lambda: rig.judge.records_since(MODULES, began), START_S, "records of every module")
    proof.proved(f"Type=notify: start returns when the guard is ready; watchdog {inside.shown(GUARD, 'WatchdogUSec')}")
    for unit in (GUARD, LINK):
        _is_confined(rig, unit)
    proof.proved("both run as users of their own without a capability, under seccomp; link reaches the guard's socket")
    scheduled = inside.do("chrt", "--pid", str(rig.pid(GUARD)))
    proof.require("SCHED_FIFO" in scheduled and ": 20" in scheduled, scheduled)
    proof.proved("the guard is scheduled before everything ordinary (fifo, 20)")


def _is_confined(rig: Rig, unit: str) -> None:
    status = rig.inside.do("cat", f"/proc/{rig.pid(unit)}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = rig.inside.do("id", "-u", unit)
    rig.proof.require(fields["Uid"].split()[0] == user != "0", f"{unit} runs as {fields['Uid']}")
    rig.proof.require(int(fields["CapEff"], 16) == 0, f"{unit} has capabilities {fields['CapEff']}")
    rig.proof.require((fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1"), f"{unit} is not filtered")


def _killed(rig: Rig) -> None:
    rig.energise()
    before = rig.pid(GUARD)
    killed = time.monotonic()
    rig.inside.do("sh", "-c", f"kill -KILL {before}")
    zero_s, open_s = rig.made_safe(killed)
    rig.proof.require(zero_s <= ZERO_S and open_s <= OPEN_S, f"zero after {zero_s:.1f} s, open after {open_s:.1f} s")
    rig.wait(lambda: rig.pid(GUARD) not in {0, before}, START_S, "the guard to be started again")
    rig.wait(lambda: rig.judge.body("state/safety").get("state") == "LATCHED", START_S, "LATCHED")
    rig.proof.proved(
        f"kill -9 at {CURRENT_A} A: zero after {zero_s:.1f} s, open without load after {open_s:.1f} s, back LATCHED"
    )


def _hangs(rig: Rig) -> None:
    rig.fresh_start()
    rig.energise()
    before = rig.pid(GUARD)
    hung = time.monotonic()
    rig.inside.do("sh", "-c", f"kill -STOP {before}")
    zero_s, open_s = rig.made_safe(hung)
    rig.proof.require(zero_s <= ZERO_S and open_s <= OPEN_S, f"zero after {zero_s:.1f} s, open after {open_s:.1f} s")
    rig.wait(lambda: rig.pid(GUARD) not in {0, before}, WATCHDOG_S + START_S, "the watchdog to act")
    took_s = time.monotonic() - hung
    said = rig.inside.do("journalctl", "--no-pager", "-o", "cat", "-u", GUARD)
    rig.proof.require("Watchdog timeout" in said, "the journal has no watchdog time-out")
    rig.proof.proved(
        f"a guard that hangs at {CURRENT_A} A: zero after {zero_s:.1f} s, open without load after {open_s:.1f} s,"
        f" killed and started again by the watchdog after {took_s:.1f} s"
    )


def _link_killed(rig: Rig) -> None:
    guard, before = rig.pid(GUARD), rig.pid(LINK)
    rig.inside.do("sh", "-c", f"kill -KILL {before}")
    rig.wait(lambda: rig.pid(LINK) not in {0, before}, START_S, "link to be started again")
    began = time.time_ns() // 1000
    rig.wait(lambda: rig.judge.records_since(MODULES, began), START_S, "records of every module after link was killed")
    rig.proof.require(rig.pid(GUARD) == guard, "the guard was disturbed by the end of link")
    rig.proof.proved("kill -9 of link: started again, and the guard runs on undisturbed")


def _upgraded(rig: Rig) -> None:
    rig.fresh_start()
    rig.energise()
    installing.upgrade(rig)


def _stopped(rig: Rig) -> None:
    rig.fresh_start()
    rig.energise()
    told = time.monotonic()
    rig.inside.do("systemctl", "stop", GUARD, LINK)
    zero_s, open_s = rig.made_safe(told)
    rig.proof.require(zero_s <= 1.0, f"a clean stop wrote zero only after {zero_s:.1f} s")
    results = {unit: rig.inside.shown(unit, "Result") for unit in (GUARD, LINK)}
    rig.proof.require(set(results.values()) == {"success"}, f"not a clean end: {results}")
    ended = [int(rig.inside.shown(unit, "InactiveEnterTimestampMonotonic")) for unit in (GUARD, LINK)]
    rig.proof.require(ended[0] <= ended[1], "link ended before the guard")
    rig.proof.proved(
        f"systemctl stop at {CURRENT_A} A: zero after {zero_s:.1f} s, open without load after {open_s:.1f} s; link ends last"
    )


def _journal(rig: Rig) -> None:
    """A device that is pulled is a warning, and put back the guard's next life has it again."""
    warnings = ("journalctl", "--no-pager", "-o", "cat", "-p", "warning", "-u", GUARD)
    rig.simulator(fault="can.unplug")
    rig.wait(lambda: "device can lost" in rig.inside.do(*warnings), START_S, "a warning that CAN is lost")
    rig.simulator(heal="can.unplug")
    lines = rig.inside.do("journalctl", "--no-pager", "-o", "json", "-u", GUARD, "-u", LINK).splitlines()
    found = {"info": set[str](), "warning": set[str]()}
    for line in lines:
        record = json.loads(line)
        for level, priorities in found.items():
            if f" level={level} " in str(record["MESSAGE"]):
                priorities.add(record["PRIORITY"])
    rig.proof.require(found == {"info": {"6"}, "warning": {"4"}}, f"priorities in the journal: {found}")
    rig.proof.proved("the journal has our levels as its priorities: journalctl -p warning shows the warnings")
