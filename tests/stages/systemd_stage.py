"""Stage `systemd`: the units of deploy/systemd under a real systemd, with the simulator's rig on the guard's own ports."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import container
import judge
from container import Container
from judge import CELLGUARD, Judge
from proof import Failed, Proof

MODULES = 8
GUARD, LINK = "cellguard-guard", "cellguard-link"
STATE = "/var/lib/cellguard/guard"
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
START_S, CONNECT_S, TRUTH_S = 30.0, 60.0, 12.0
CURRENT_A = 20
ZERO_S, OPEN_S = 2.5, 4.0
"""SAFETY §2: agent dead, from its last sign of life."""
WATCHDOG_S = 5.0
LOAD_A = 2.0


class Rig:
    """The container with guard and link, the simulated rig, and who judges them."""

    def __init__(self, inside: Container, judge_: Judge, port: int, proof: Proof) -> None:
        self.inside, self.judge, self.port, self.proof = inside, judge_, port, proof

    def simulator(self, **request: Any) -> Any:
        """One request to the simulator's control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5.0)
            control.connect(str(self.inside.path("/run/rig/control")))
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                return json.loads(answers.readline())

    def value(self, name: str) -> float:
        """A true value of the rig."""
        return float(self.simulator(get=[name])["get"][name])

    def send(self, *words: str) -> None:
        """A command over the broker, that must be done."""
        where = ["--mqtt", f"127.0.0.1:{self.port}", "--site", "lab", "--node", "rig-1"]
        done = subprocess.run([*CELLGUARD, "send", *where, *words], text=True, capture_output=True, timeout=110, check=False)
        self.proof.require(done.returncode == 0, f"send {' '.join(words)}: {done.stdout}{done.stderr}")

    def pid(self, unit: str) -> int:
        """The main process of a unit, as the container numbers it; 0 without one."""
        return int(self.inside.shown(unit, "MainPID"))

    def wait(self, condition: Any, seconds: float, what: str) -> None:
        """Wait; a failure carries the end of the journal."""
        try:
            self.proof.wait(condition, seconds, what)
        except Failed as failure:
            journal = self.inside.do("journalctl", "--no-pager", "-n", "25", "-o", "cat")
            raise Failed(f"{failure}\nthe node says {self.judge.why()}\n{journal}") from failure

    def energise(self) -> float:
        """Connect the pack and let current flow, on a guard that has no latch; returns the monotonic time."""
        self.wait(self._may_close, START_S, "STANDBY with nothing that blocks closing")
        self.send("contactor", "close")
        self.send("inverter", "current", str(CURRENT_A))
        self.wait(lambda: self.value("circuit.current_a") > CURRENT_A / 2, CONNECT_S, "current through a closed circuit")
        return time.monotonic()

    def _may_close(self) -> bool:
        safety = self.judge.body("state/safety")
        return safety.get("state") == "STANDBY" and not safety["blocked"]["close"]

    def made_safe(self, since: float) -> tuple[float, float]:
        """Wait until the circuit is open; seconds from `since` to zero current ordered and to the opening."""
        self.wait(lambda: not self.value("circuit.closed"), TRUTH_S, "the circuit to open")
        truth = self.simulator(truth=True, since=since)["truth"]
        zero = min(one["t_mono"] for one in truth if one["what"] in {"inverter.setpoint", "inverter.mode"} and not one["value"])
        opened = [one for one in truth if one["what"] in {"relay.1", "relay.2"} and not one["value"]]
        loads = [abs(one["circuit_current_a"]) for one in opened]
        self.proof.require(max(loads) < LOAD_A, f"opened under {max(loads):.1f} A")
        return zero - since, min(one["t_mono"] for one in opened) - since

    def fresh_start(self) -> None:
        """Stop the guard, forget its latches as a new rig has none, start it."""
        self.inside.do("systemctl", "stop", GUARD)
        self.inside.do("rm", "-rf", f"{STATE}/guard.json")
        self.inside.do("systemctl", "start", GUARD)


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Boot the container, install the units as the docs say, prove each point."""
    made = container.root(cache, proof)
    folder = cache / "systemd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with judge.judging(folder, proof) as (judged, port):
        (folder / "edge.toml").write_text(SETTINGS.format(port=port, modules=MODULES))
        options = [*container.install(checkout, made, folder), *_installed(checkout, folder)]
        with container.booted(made, options, folder, proof) as inside:
            proof.say(f"the container runs {inside.do('systemctl', '--version').splitlines()[0]}")
            rig = Rig(inside, judged, port, proof)
            _starts(rig)
            _killed(rig)
            _hangs(rig)
            _link_killed(rig)
            _stopped(rig)
            _journal(rig)


def _installed(checkout: Path, folder: Path) -> list[str]:
    units = checkout / "deploy" / "systemd"
    bound = {
        units / f"{GUARD}.service": f"/etc/systemd/system/{GUARD}.service",
        units / f"{LINK}.service": f"/etc/systemd/system/{LINK}.service",
        units / "cellguard.sysusers": "/etc/sysusers.d/cellguard.conf",
        units / "cellguard.tmpfiles": "/etc/tmpfiles.d/cellguard.conf",
        folder / "edge.toml": "/etc/cellguard/edge.toml",
    }
    return [f"--bind-ro={outside}:{inside}" for outside, inside in bound.items()]


def _starts(rig: Rig) -> None:
    inside, proof = rig.inside, rig.proof
    inside.do("systemd-sysusers")
    inside.do("systemd-tmpfiles", "--create")
    inside.do("systemctl", "daemon-reload")
    # the simulator's ptys belong to the guard's user, as serial ports belong to the group dialout
    simulate = [f"{container.HOME}/venv/bin/cellguard", "simulate", "--modules", str(MODULES), "--can", "unix", "--directory", "/run/rig"]
    inside.do("systemd-run", "--unit=rig", f"--uid={GUARD}", "--gid=cellguard", "--property=RuntimeDirectory=rig", *simulate)
    rig.wait(lambda: inside.path("/run/rig/control").exists(), START_S, "the simulator")
    began = time.time_ns() // 1000
    inside.do("systemctl", "start", GUARD, LINK)
    proof.require(inside.shown(GUARD, "ActiveState") == "active", "the guard is not active after systemctl start")
    rig.wait(lambda: rig.judge.records_since(MODULES, began), START_S, "records of every module")
    proof.proved(f"Type=notify: start returns when the guard is ready; watchdog {inside.shown(GUARD, 'WatchdogUSec')}")
    for unit in (GUARD, LINK):
        _is_confined(rig, unit)
    proof.proved("both run as users of their own without a capability, under seccomp; link reaches the guard's socket")


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
    rig.proof.proved(f"kill -9 at {CURRENT_A} A: zero after {zero_s:.1f} s, open without load after {open_s:.1f} s, back LATCHED")


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
    rig.proof.proved(f"systemctl stop at {CURRENT_A} A: zero after {zero_s:.1f} s, open without load after {open_s:.1f} s; link ends last")


def _journal(rig: Rig) -> None:
    lines = rig.inside.do("journalctl", "--no-pager", "-o", "json", "-u", GUARD, "-u", LINK).splitlines()
    found = {"info": set[str](), "warning": set[str]()}
    for line in lines:
        record = json.loads(line)
        for level, priorities in found.items():
            if f" level={level} " in str(record["MESSAGE"]):
                priorities.add(record["PRIORITY"])
    rig.proof.require(found == {"info": {"6"}, "warning": {"4"}}, f"priorities in the journal: {found}")
    rig.proof.proved("the journal has our levels as its priorities: journalctl -p warning shows the warnings")
