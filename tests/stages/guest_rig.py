"""The agent and the simulator in the guest, and who judges them: started, signalled and waited for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from guest_machine import Machine
from judge import Judge
from proof import Failed, Proof

UP = "ip link set {0} up type can bitrate 500000 restart-ms 100 && ip link set {0} txqueuelen 100"
NETWORK = "ip link set lo up; ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0"
START_S, HEALTH_S = 120.0, 15.0


class Rig:
    """The guest with its agent, and who judges it. `within` is put before every program that is started."""

    def __init__(self, checkout: Path, machine: Machine, judge_: Judge, proof: Proof) -> None:
        self.checkout, self.machine, self.judge, self.proof = checkout, machine, judge_, proof
        self.settings = judge_.archive.parent / "edge.toml"
        self.within = ""

    def connect(self) -> None:
        """Both controllers up on one bus, and the network to the host's broker."""
        for name in ("can0", "can1"):
            self.machine.do(UP.format(name))
        self.machine.do(NETWORK)

    def start(self, name: str, arguments: Sequence[str], environ: str = "") -> None:
        """Start a part of the product in the guest; its process id goes to /run/stage/NAME.pid, its log beside it."""
        words = shlex.join([sys.executable, "-m", "cellguard", *arguments])
        where = f"mkdir -p /run/stage; cd {shlex.quote(str(self.checkout))}; ulimit -l unlimited"
        started = f"PYTHONDONTWRITEBYTECODE=1 {environ} setsid {words} > /run/stage/{name}.log 2>&1"
        line = f"{where}; {started} & echo $! > /run/stage/{name}.pid"
        self.machine.do(f"{self.within} bash -c {shlex.quote(line)}" if self.within else line)

    def simulate(self, modules: int, can: str = "socketcan:can1") -> None:
        """Start the simulated rig, its BMUs on can1."""
        where = ["--can", can, "--directory", "/run/stage/rig"]
        self.start("simulator", ["simulate", "--modules", str(modules), *where])
        # hardware does not wait for its turn; guard is still before it
        self.machine.do("chrt --fifo --all-tasks --pid 10 $(cat /run/stage/simulator.pid)")

    def agent(self, name: str, environ: str = "") -> None:
        """Start guard or link."""
        self.start(name, ["edge", name, "--config", str(self.settings)], environ)

    def signal(self, name: str, sign: str) -> None:
        """Send a signal to a part."""
        self.machine.do(f"kill -{sign} $(cat /run/stage/{name}.pid)")

    def now_us(self) -> int:
        """The guest's time."""
        return int(self.machine.do("date +%s%6N"))

    def await_records(self, modules: int, t_us: int, seconds: float, after: str) -> None:
        """Wait for a record of every module that began after `t_us`."""
        self.wait(lambda: self.judge.records_since(modules, t_us), seconds, f"records of every module after {after}")

    def await_word(self, word: str, seconds: float) -> None:
        """Wait until the node says `word` of itself or its devices."""
        self.wait(lambda: word in self.judge.why(), seconds, f"the node to say {word!r}")

    def await_count(self, name: str, least: int, since_us: int = 0) -> int:
        """Wait until a counter of the device is at least so much; returns it."""
        self.wait(lambda: self.judge.count(name, since_us) >= least, HEALTH_S, f"counter {name} to reach {least}")
        return self.judge.count(name, since_us)

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait; a failure carries what the node says and the end of its logs."""
        try:
            self.proof.wait(condition, seconds, what)
        except Failed as failure:
            said = [str(failure), f"the node says {self.judge.why()}", self.machine.do("tail -n 12 /run/stage/*.log")]
            raise Failed("\n".join(said)) from failure
