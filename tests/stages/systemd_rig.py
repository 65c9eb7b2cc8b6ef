"""The rig of stage `systemd`: guard and link as units in a container, the simulated hardware beside them, and its truth."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from container import Container
from judge import Judge
from proof import Failed, Proof

GUARD, LINK = "cellguard-guard", "cellguard-link"
STATE = "/var/lib/cellguard/guard"
CURRENT_A = 20
LOAD_A = 2.0
START_S, CONNECT_S, TRUTH_S = 30.0, 60.0, 12.0


class Rig:
    """The container with guard and link, the simulated rig, and who judges them."""

    def __init__(self, inside: Container, judge_: Judge, proof: Proof) -> None:
        self.inside, self.judge, self.proof = inside, judge_, proof

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

    def pid(self, unit: str) -> int:
        """The main process of a unit, as the container numbers it; 0 without one."""
        return int(self.inside.shown(unit, "MainPID"))

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait; a failure carries the end of the journal."""
        try:
            self.proof.wait(condition, seconds, what)
        except Failed as failure:
            journal = self.inside.do("journalctl", "--no-pager", "-n", "25", "-o", "cat")
            raise Failed(f"{failure}\nthe node says {self.judge.why()}\n{journal}") from failure

    def energise(self) -> None:
        """Connect the pack and let current flow, on a guard that has no latch."""
        self.wait(lambda: self.judge.may_close, START_S, "STANDBY with nothing that blocks closing")
        self.judge.send("contactor", "close")
        self.judge.send("inverter", "current", str(CURRENT_A))
        self.wait(
            lambda: self.value("circuit.current_a") > CURRENT_A / 2, CONNECT_S, "current through a closed circuit"
        )

    def made_safe(self, since: float) -> tuple[float, float]:
        """Wait until the circuit is open; seconds from `since` to zero current ordered and to the opening."""
        self.wait(lambda: not self.value("circuit.closed"), TRUTH_S, "the circuit to open")
        truth = self.simulator(truth=True, since=since)["truth"]
        zeros = _changes(truth, {"inverter.setpoint", "inverter.mode"})
        opened = _changes(truth, {"relay.1", "relay.2"})
        self.proof.require(zeros and opened, f"no zero or no opening in the truth: {truth}")
        load_a = max(abs(one["circuit_current_a"]) for one in opened)
        self.proof.require(load_a < LOAD_A, f"opened under {load_a:.1f} A")
        return zeros[0]["t_mono"] - since, opened[0]["t_mono"] - since

    def fresh_start(self) -> None:
        """Stop the guard, forget its latches as a new rig has none, start it."""
        self.inside.do("systemctl", "stop", GUARD)
        self.inside.do("rm", "-rf", f"{STATE}/guard.json")
        self.inside.do("systemctl", "start", GUARD)


def _changes(truth: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    """Changes to 0 of what is named, the earliest first."""
    return sorted((one for one in truth if one["what"] in names and not one["value"]), key=lambda one: one["t_mono"])
