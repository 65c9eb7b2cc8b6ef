"""Runs the slower stages: real SocketCAN, a clock that jumps, real systemd, the images of docker compose. Exit 1 when one failed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import clock_stage
import image_stage
import socketcan_stage
import systemd_stage
from proof import Failed, Proof, Skipped

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / "build" / "stages"
PACKAGES = Path(__file__).with_name("apt-packages.txt")


class Stage(NamedTuple):
    """One stage: its name, and what runs it with the checkout, the cache folder and its voice."""

    name: str
    run: Callable[[Path, Path, Proof], None]


STAGES = (
    Stage("socketcan", socketcan_stage.run),
    Stage("clock", clock_stage.run),
    Stage("systemd", systemd_stage.run),
    Stage("image", image_stage.run),
)


def main(wanted: list[str]) -> int:
    """Run the stages named, or all; the last line counts them."""
    known = [stage.name for stage in STAGES]
    if unknown := set(wanted) - set(known):
        sys.stderr.write(f"stages: {', '.join(sorted(unknown))} is none of {', '.join(known)}\n")
        return 2
    # an orderly end also on SIGTERM: nothing is left running
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["sh", CHECKOUT / "deploy" / "apt-install.sh", PACKAGES], check=True)
    results = {stage.name: _run(stage) for stage in STAGES if not wanted or stage.name in wanted}
    counted = {result: list(results.values()).count(result) for result in ("passed", "skipped")}
    names = ",".join(name if result == "passed" else f"{name}({result})" for name, result in results.items())
    sys.stdout.write(f"stages passed={counted['passed']} skipped={counted['skipped']} names={names}\n")
    return 1 if "failed" in results.values() else 0


def _run(stage: Stage) -> str:
    proof = Proof(stage.name)
    try:
        stage.run(CHECKOUT, CACHE, proof)
    except Skipped as reason:
        proof.say(f"SKIPPED, nothing is proved: {reason}")
        return "skipped"
    except (Failed, OSError, subprocess.SubprocessError) as reason:
        proof.say(f"FAILED: {reason}")
        return "failed"
    proof.say(f"passed, {proof.count} things proved")
    return "passed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
