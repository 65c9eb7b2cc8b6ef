"""`python -m tests.prove`: explores the production `step` exhaustively, then lets it kill its seeded defects."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from time import perf_counter
from typing import Any

from tests.prove.mutants import MUTANTS, Mutant

PROCESSES = 2
LEAST_STATES, LEAST_MUTANTS = 10_000, 40


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when nothing is violated, enough was seen and every mutant was killed."""
    given = _parser().parse_args(arguments)
    if given.mutant:
        _seed(given.mutant)
    if given.replay:
        return _replay(given.replay)
    if given.domain:
        return _search(given.domain)
    if given.mutant:
        return _mutate(given.mutant)
    ok = given.only == "mutants" or _explore_all()
    return 0 if (given.only == "domains" or _kill_all(given.name)) and ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--replay", metavar="TRACE", help="walk a counter-example step by step, as it was printed")
    parser.add_argument("--domain", metavar="NAME", help="one search only, its result as JSON")
    parser.add_argument("--mutant", metavar="NAME", help="seed this defect first (also with --replay and --domain)")
    parser.add_argument("--only", choices=("domains", "mutants"), help="one half of the proof")
    parser.add_argument("--name", default="", help="with --only mutants: those whose name contains this")
    return parser


def _seed(name: str) -> None:
    from tests.prove import seeding  # noqa: PLC0415 - nothing of the production may be imported before

    mutant = _mutant(name)
    seeding.install(mutant.module, mutant.old, mutant.new)


def _mutant(name: str) -> Mutant:
    found = next((mutant for mutant in MUTANTS if mutant.name == name), None)
    if found is None:
        raise SystemExit(f"no mutant {name!r}; allowed: {'; '.join(mutant.name for mutant in MUTANTS)}")
    return found


def _replay(trace: str) -> int:
    from tests.prove import traces  # noqa: PLC0415 - as above

    violated = False
    try:
        for line in traces.replay(trace):
            violated = violated or "VIOLATED" in line
            print(line)
    except traces.UnknownMove as error:
        raise SystemExit(str(error)) from error
    return int(violated)


def _search(name: str) -> int:
    from tests.prove import runs  # noqa: PLC0415 - as above

    print(runs.verdict(runs.searched(name)))
    return 0


def _mutate(name: str) -> int:
    from tests.prove import runs  # noqa: PLC0415 - as above

    mutant = _mutant(name)
    print(runs.verdict(runs.searched(mutant.domain, mutant.kinds, mutant.faults)))
    return 0


def _explore_all() -> bool:
    """The search to three faults first, both halves at once, because its time is promised; then the others."""
    from tests.prove.domains import DOMAINS, HALVES  # noqa: PLC0415 - as above

    began = perf_counter()
    halves = _explored(HALVES)
    seconds = perf_counter() - began
    others = _explored([name for name in reversed(DOMAINS) if name not in HALVES])
    beside_s = perf_counter() - began - seconds
    violations = sum(bool(found["violated"] or found["error"]) for found in (*halves, *others))
    states, transitions = (sum(found[count] for found in halves) for count in ("states", "transitions"))
    print(f"beside it: searches={len(others)} states={sum(found['states'] for found in others)} seconds={beside_s:.1f}")
    print(
        f"faults={DOMAINS[HALVES[0]].most_faults} states={states} transitions={transitions} violations={violations} seconds={seconds:.1f}"
    )
    return not violations and states > LEAST_STATES


def _explored(names: Sequence[str]) -> list[dict[str, Any]]:
    """Each search in a process of its own; what was found is told as soon as it is known."""
    from tests.prove import runs  # noqa: PLC0415 - as above

    done = []
    with ThreadPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(runs.in_a_process, "--domain", name): name for name in names}
        for future in as_completed(running):
            found = {"error": "", "violated": "", "states": 0, "transitions": 0, **future.result()}
            _tell(running[future], found)
            done.append(found)
    return done


def _tell(name: str, found: dict[str, Any]) -> None:
    if found["error"]:
        print(f"search {name!r}: {found['error']}")
        return
    print(f"search {name!r}: {found['states']} states, {found['transitions']} transitions, {found['seconds']:.1f} s")
    if found["violated"]:
        print(f"  {found['violated']} violated: {found['what']}\n  python -m tests.prove --replay '{found['trace']}'")
        _show(found["trace"])


def _show(trace: str) -> None:
    from tests.prove import traces  # noqa: PLC0415 - as above

    for line in traces.replay(trace):
        print(f"  {line}")


def _kill_all(part: str) -> bool:
    from tests.prove import runs  # noqa: PLC0415 - as above

    chosen = [mutant for mutant in MUTANTS if part in mutant.name]
    killed = 0
    with ThreadPoolExecutor(PROCESSES) as pool:
        running: dict[Future[dict[str, Any]], Mutant] = {
            pool.submit(runs.in_a_process, "--mutant", mutant.name, limit_s=runs.MUTANT_LIMIT_S): mutant
            for mutant in chosen
        }
        for future in as_completed(running):
            killed += _judged(running[future], future.result())
    print(f"mutants={len(chosen)} killed={killed}")
    return killed == len(chosen) and (bool(part) or killed >= LEAST_MUTANTS)


def _judged(mutant: Mutant, found: dict[str, Any]) -> int:
    if "error" in found:
        said = found["error"]
    elif not found["violated"]:
        said = f"SURVIVED {found['states']} states"
    elif found["violated"] not in mutant.killers:
        said = (
            f"killed by {found['violated']}, expected {' or '.join(mutant.killers)}: {found['what']} [{found['trace']}]"
        )
    else:
        print(
            f"{found['violated']:<4} kills {mutant.name!r} after {found['states']} states, {found['seconds']:.1f} s: {found['what']}"
        )
        return 1
    print(f"     {mutant.name!r} in {mutant.module}: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
