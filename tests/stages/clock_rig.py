"""The rig of stage `clock`: a guest whose clock is set and jumps, ticks whose true times are known, and current that must not stop."""

from __future__ import annotations

import json
import shlex
import sys
import time
from typing import Any

from clock_judge import Step
from guest_rig import Rig

MODULES = 2
AHEAD_NS = "unshare --time --monotonic {0} --boottime {0} --fork"
CURRENT_A = 20
CONTROL = "/run/stage/rig/control"
TICKS = "/run/stage/ticks"
FIRST_PCT, MOST_TICKS, TICK_S = 20.0, 130, 0.69
"""A tick falls at another place between two rows each time, so that many of them show the rows' times finely."""
CONNECT_S = 60.0


class ClockRig(Rig):
    """The guest, whose CLOCK_BOOTTIME only goes on; the host's clock is the truth."""

    ahead_s = 0.0
    """So much later than it is since boot do the programs believe it to be."""
    woke_wrong_s = 0.0
    _measured: tuple[tuple[float, float], ...] = ()
    """CLOCK_BOOTTIME, and what led from it to the host's Unix time then."""

    def measure(self) -> float:
        """What leads from the guest's CLOCK_BOOTTIME to the host's Unix time now: an emulated machine's clock drifts."""
        tries = []
        for _ in range(3):
            before = time.time()
            uptime_s = self.uptime_s()
            after = time.time()
            tries.append((after - before, uptime_s, (before + after) / 2 - uptime_s))
        self._measured += (min(tries)[1:],)
        return self._measured[-1][1]

    def true_s(self, uptime_s: float) -> float:
        """The host's Unix time at a moment of the guest's CLOCK_BOOTTIME, between the first measure and the last."""
        (since_s, first_s), (until_s, last_s) = self._measured[0], self._measured[-1]
        return uptime_s + first_s + (last_s - first_s) * (uptime_s - since_s) / max(until_s - since_s, 1.0)

    def shift_uptime(self, uptime_s: float) -> None:
        """What is started from now on believes that the machine runs for so long; and how wrong its clock woke up."""
        self.ahead_s = float(int(uptime_s - self.uptime_s()))
        self.within = AHEAD_NS.format(int(self.ahead_s))
        before, now_us, after = time.time(), self.now_us(), time.time()
        self.woke_wrong_s = now_us / 1e6 - (before + after) / 2

    def uptime_s(self) -> float:
        """The guest's CLOCK_BOOTTIME."""
        return float(self.machine.do("cat /proc/uptime").split()[0])

    def set_clock(self, wrong_s: float, word: str = "") -> Step:
        """Really set the guest's clock, so much ahead of the truth; with `synced` as the word it looks disciplined."""
        self.machine.do(self._words("set_clock.py", str(self.measure() + wrong_s), word))
        return Step(time.time(), wrong_s)

    def tick(self) -> None:
        """Begin to raise module 1's charge again and again, in the background."""
        self.machine.do(
            f"{self._words('ticks.py', CONTROL, str(FIRST_PCT), str(MOST_TICKS), str(TICK_S))} > {TICKS} 2>&1 &"
        )

    def ticks(self) -> dict[float, tuple[float, float]]:
        """Charge → when it was set, by the host's clock: not before, not after."""
        lines = [[float(word) for word in line.split()] for line in self.machine.do(f"cat {TICKS}").splitlines()]
        return {charge: (self.true_s(before), self.true_s(after)) for before, after, charge in lines}

    def await_ticks(self, count: int) -> None:
        """Let so many more be shown."""
        goal = self._shown("module-01", "SOC") + count / 2
        self.wait(lambda: self._shown("module-01", "SOC") >= goal, count + CONNECT_S, f"{count} more ticks")

    def _shown(self, source: str, signal: str) -> float:
        return float(self.judge.body(f"state/{source}").get(signal, 0.0))

    def spooled(self) -> int:
        """How many records wait in the spool, as the node tells."""
        return int(self.judge.body("state/health")["books"]["spooled"])

    def simulator(self, **request: Any) -> dict[str, Any]:
        """One request to the simulator's control socket."""
        asked = shlex.quote(json.dumps(request))
        answer = json.loads(self.machine.do(f"echo {asked} | socat -t 5 - UNIX-CONNECT:{CONTROL}"))
        assert isinstance(answer, dict)
        return answer

    def value(self, name: str) -> float:
        """A true value of the rig."""
        return float(self.simulator(get=[name])["get"][name])

    def energise(self) -> None:
        """Connect the pack and let current flow."""
        self.wait(lambda: self.judge.may_close, CONNECT_S, "STANDBY with nothing that blocks closing")
        self.judge.send("contactor", "close")
        self.judge.send("inverter", "current", str(CURRENT_A))
        self.wait(lambda: self._shown("inverter", "current") > CURRENT_A - 1, CONNECT_S, "the current ordered")

    def _words(self, name: str, *arguments: str) -> str:
        return shlex.join(
            [sys.executable, "-I", "-S", str(self.checkout / "tests" / "stages" / "guest" / name), *arguments]
        )
