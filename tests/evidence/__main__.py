"""`python -m tests.evidence --faults 1000 | --hours 24 | --traces 100000`: the long forms of what `make test` samples."""

from __future__ import annotations

import argparse
import sys
import time

from tests.evidence.campaign import Outcome, campaign
from tests.evidence.kinds import KINDS
from tests.evidence.lab_day import live
from tests.evidence.traces import follow


def main() -> int:
    """Do what was asked; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("--faults", type=int, default=0, help="throw so many random faults")
    parser.add_argument("--hours", type=float, default=0.0, help="live so many hours of lab-2021")
    parser.add_argument("--traces", type=int, default=0, help="compare rule engine and oracle on so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="faults thrown at the same time")
    given = parser.parse_args()
    broken = 0
    if given.traces:
        raised = follow(given.traces, given.seed)
        _say(f"{given.traces} traces, the engine equals the oracle; alarms raised: {dict(sorted(raised.items()))}")
    if given.faults:
        broken += faults(given.faults, given.seed, given.workers)
    if given.hours:
        day = live(given.hours, given.seed, _say)
        _say(day.line())
        broken += bool(day.latches) or day.states["HOLD"] > 0 or day.run_s < 0.99 * day.seconds
    return int(broken > 0)


def faults(count: int, seed: int, workers: int) -> int:
    """Throw them, print the worst of each class; how many broke their promise."""
    began = time.monotonic()
    found = []
    for outcome in campaign(count, seed, workers):
        found.append(outcome)
        if outcome.complaints:
            _say(f"BROKEN {outcome}")
    for line in table(found):
        _say(line)
    broken = sum(bool(outcome.complaints) for outcome in found)
    _say(f"{len(found)} faults, {broken} broken promises, seed {seed}, {time.monotonic() - began:.0f} s")
    return broken


def table(found: list[Outcome]) -> list[str]:
    """The worst case of each kind, in the order of the kinds, as rows of a Markdown table."""
    lines = [
        "| promise | fault | n | worst zero s | worst open s | most load A | opened by | CRITICAL |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        ours = [outcome for outcome in found if outcome.kind == kind.name]
        if not ours:
            continue
        zero, opened = (max((t for t in times if t is not None), default=None) for times in (
            [one.zero_s for one in ours], [one.open_s for one in ours]
        ))  # fmt: skip
        by = ", ".join(sorted({one.by for one in ours if one.by}))
        lines.append(
            f"| {kind.promise.name} | {kind.name} | {len(ours)} | {_s(zero)} | {_s(opened)} "
            f"| {max(one.load_a for one in ours):.2f} | {by} | {sum(one.critical for one in ours)} |"
        )
    return lines


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
