"""One search or one mutant from start to verdict, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

from tests.prove.domains import DOMAINS
from tests.prove.explorer import RUN, STANDBY, WELDED, Domain, Found, Search, stranded
from tests.prove.traces import written

MUTANT_LIMIT_S = 240.0


def explore(domain: Domain) -> Found:
    """Search it whole, then judge liveness on the graph."""
    search = Search(domain)
    found = search.run()
    if not found.violated:
        _liveness(search, found)
    return found


def _liveness(search: Search, found: Found) -> None:
    """P13: STANDBY can be reached again from every un-welded situation. P14: without a fault so can RUN."""
    goals = [("P13", STANDBY, WELDED, "STANDBY")] + ([("P14", RUN, 0, "RUN")] if search.domain.healthy else [])
    for name, goal, excused, state in goals:
        number = stranded(search, goal, excused)
        if number is not None:
            found.violated, found.what = name, f"{state} cannot be reached from here any more"
            found.trace = search.path(number)
            return


def searched(name: str, kinds: tuple[str, ...] = (), most_faults: int | None = None) -> Found:
    """A row of the table, perhaps with fewer faults, or with other kinds of events, which may then come in every tick."""
    domain = DOMAINS[name]
    if kinds:
        domain = replace(domain, kinds=kinds, through=(), anytime=domain.most_faults)
    return explore(domain if most_faults is None else replace(domain, most_faults=most_faults, anytime=most_faults))


def verdict(found: Found) -> str:
    """A result as one line of JSON, for the process that waits for it."""
    body = asdict(found)
    body["trace"] = written(found.domain, found.trace)
    return json.dumps(body)


def in_a_process(*arguments: str, limit_s: float | None = None) -> dict[str, object]:
    """`python -m tests.prove ARGUMENTS`, its last line read; a process that fails or takes too long says so in `error`."""
    command = [sys.executable, "-m", "tests.prove", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not finished within {limit_s:g} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result: dict[str, object] = json.loads(lines[-1])
    return result
