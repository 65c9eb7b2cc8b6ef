"""Stage `socketcan`: the agent on a stock kernel's can0, the BMUs on can1 of the same bus, through the broker to the archive."""

from __future__ import annotations

import select
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import judge
import kernel
from guest_machine import BROKER, Machine, running
from judge import Judge
from proof import Failed, Proof

MODULES = 3
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
modules = {MODULES}
[relays]
mode = "monitor"
"""
UP = "ip link set {0} up type can bitrate 500000 restart-ms 100 && ip link set {0} txqueuelen 100"
DRIVER = "/sys/bus/pci/drivers/kvaser_pci"
ADAPTER = "0000:00:05.0"
START_S, LOSS_S, BACK_S, HEALTH_S = 120.0, 12.0, 20.0, 15.0
FLOOD = 9000
"""More frames than the guard's 2 MiB of buffer hold."""


class Rig:
    """The guest with its agent, and who judges it."""

    def __init__(self, checkout: Path, machine: Machine, judge_: Judge, proof: Proof) -> None:
        self.checkout, self.machine, self.judge, self.proof = checkout, machine, judge_, proof
        self.settings = judge_.archive.parent / "edge.toml"

    def start(self, name: str, arguments: Sequence[str], environ: str = "") -> None:
        """Start a part of the product in the guest; its process id goes to /run/stage/NAME.pid, its log beside it."""
        words = shlex.join([sys.executable, "-m", "cellguard", *arguments])
        where = f"cd {shlex.quote(str(self.checkout))}"
        started = f"PYTHONDONTWRITEBYTECODE=1 {environ} setsid {words} > /run/stage/{name}.log 2>&1"
        self.machine.do(
            f"mkdir -p /run/stage; {where}; ulimit -l unlimited; {started} & echo $! > /run/stage/{name}.pid"
        )

    def agent(self, name: str, environ: str = "") -> None:
        """Start guard or link."""
        self.start(name, ["edge", name, "--config", str(self.settings)], environ)

    def signal(self, name: str, sign: str) -> None:
        """Send a signal to a part."""
        self.machine.do(f"kill -{sign} $(cat /run/stage/{name}.pid)")

    def now_us(self) -> int:
        """The guest's time."""
        return int(self.machine.do("date +%s%6N"))

    def await_records(self, t_us: int, seconds: float, after: str) -> None:
        """Wait for a record of every module that began after `t_us`."""
        self._await(lambda: self.judge.records_since(MODULES, t_us), seconds, f"records of every module after {after}")

    def await_word(self, word: str, seconds: float) -> None:
        """Wait until the node says `word` of itself or its devices."""
        self._await(lambda: word in self.judge.why(), seconds, f"the node to say {word!r}")

    def await_count(self, name: str, least: int, since_us: int = 0) -> int:
        """Wait until a counter of the device is at least so much; returns it."""
        self._await(lambda: self.judge.count(name, since_us) >= least, HEALTH_S, f"counter {name} to reach {least}")
        return self.judge.count(name, since_us)

    def _await(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            self.proof.wait(condition, seconds, what)
        except Failed as failure:
            said = [str(failure), f"the node says {self.judge.why()}", self.machine.do("tail -n 12 /run/stage/*.log")]
            raise Failed("\n".join(said)) from failure


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Boot the guest, prove each point, and compare with what the archive holds."""
    stock = kernel.fetch(cache, proof)
    folder = cache / "socketcan"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "edge.toml").write_text(SETTINGS)
    with judge.judging(folder, proof) as (judged, port):
        with running(stock, folder, port, proof) as machine:
            rig = Rig(checkout, machine, judged, proof)
            marks = [_telemetry(rig), _link_down(rig), _unplugged(rig), _overload(rig)]
            _bus_off(rig)
            rig.signal("link", "TERM")
            proof.wait(lambda: judged.body("status").get("state") == "offline", 10.0, "link to say goodbye")
        _archive(rig, marks)


def _telemetry(rig: Rig) -> int:
    for name in ("can0", "can1"):
        rig.machine.do(UP.format(name))
    rig.machine.do("ip link set lo up; ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0")
    began = rig.now_us()
    rig.start(
        "simulator", ["simulate", "--modules", str(MODULES), "--can", "socketcan:can1", "--directory", "/run/stage/rig"]
    )
    rig.agent("guard")
    rig.agent("link")
    rig.await_records(began, START_S, "the start")
    details = rig.machine.do("ip -d link show can0")
    rig.proof.require("bitrate 500000" in details and "ERROR-ACTIVE" in details, details)
    rig.proof.require(
        "memory is locked" in rig.machine.do("cat /run/stage/guard.log"), "the guard's memory is not locked"
    )
    rig.proof.proved(f"telemetry of {MODULES} modules over can0 at 500 kbit/s, between two controllers on one bus")
    return began


def _link_down(rig: Rig) -> int:
    rig.machine.do("ip link set can0 down")
    rig.await_word("interface is down", LOSS_S)
    rig.machine.do("ip link set can0 up")
    back = rig.now_us()
    rig.await_records(back, BACK_S, "the link came up again")
    rig.proof.proved("ip link down is named within seconds, and the reader comes back after ip link up")
    return back


def _unplugged(rig: Rig) -> int:
    rig.machine.do(f"echo {ADAPTER} > {DRIVER}/unbind")
    rig.await_word("no such CAN interface", LOSS_S)
    rig.machine.do(f"echo {ADAPTER} > {DRIVER}/bind")
    rig.machine.do(UP.format("can0"))
    back = rig.now_us()
    rig.await_records(back, BACK_S, "the adapter was there again")
    rig.proof.proved(
        "an adapter that is pulled is named, and the reader comes back when it is plugged in and configured"
    )
    return back


def _overload(rig: Rig) -> int:
    flood = shlex.join([sys.executable, str(rig.checkout / "tests" / "stages" / "guest" / "flood.py")])
    rig.machine.do(f"{flood} can1 0x7ff 3000")
    seen = rig.await_count("error_frames", 1)
    rig.proof.proved(f"a controller that is overrun says so in error frames, and they are counted ({seen})")
    rig.signal("guard", "STOP")
    rig.machine.do(f"{flood} can0 0x7fe {FLOOD}")
    rig.signal("guard", "CONT")
    lost = rig.await_count("overflowed_frames", 1)
    rig.signal("guard", "0")
    back = rig.now_us()
    rig.await_records(back, BACK_S, "the overload")
    rig.proof.proved(f"{lost} frames that the socket had no room for are counted, and the same guard goes on")
    return back


def _bus_off(rig: Rig) -> None:
    """The same guard on an adapter of the kernel's slcan, whose far end is played here."""
    rig.signal("guard", "TERM")
    rig.machine.do("ldattach -8 -n -1 -s 115200 17 /dev/ttyS2")
    rig.machine.do("for i in 1 2 3 4 5 6 7 8 9; do [ -e /sys/class/net/can2 ] && break; sleep 0.2; done")
    rig.machine.do("ip link set can2 up type can bitrate 500000")
    rig.agent("guard", "CELLGUARD_CAN__CHANNEL=can2")
    rig.await_word("socketcan can2", START_S)
    adapter = rig.machine.adapter
    said = adapter.recv(4096) if select.select([adapter], [], [], 5.0)[0] else b""
    rig.proof.require(b"S6\rO\r" in said, f"the adapter was not opened at 500 kbit/s: {said!r}")
    began = rig.now_us()
    adapter.sendall(b"e1a\r")
    noticed = rig.await_count("error_frames", 1, began)
    adapter.sendall(b"sb000255\r")
    rig.await_count("error_frames", noticed + 1, began)
    rig.proof.require("BUS-OFF" in rig.machine.do("ip -d link show can2"), "the kernel does not say BUS-OFF")
    rig.proof.proved("error frames and bus-off of an adapter are seen and counted")


def _archive(rig: Rig, marks: Sequence[int]) -> None:
    for number in range(1, MODULES + 1):
        times = rig.judge.stored(f"module-{number:02d}")
        for mark in marks:
            rig.proof.require(any(mark < one for one in times), f"module {number}: nothing stored after {mark}")
    rig.proof.proved(f"the host's archive holds every module's rows of each part, none twice ({len(times)} a module)")
