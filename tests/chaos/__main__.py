"""`python -m tests.chaos --seeds N`: rounds of chaos, one line each and the total last; 1 when anything was lost or double."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench.influxd import PROGRAM
from tests.chaos.round import Result, play, to_stderr

INFLUX_EVERY = 3


def main() -> int:
    """Play the rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many rounds")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--kills", type=int, default=16, help="kill -9 in each round")
    parser.add_argument("--others", type=int, default=6, help="other faults in each round")
    parser.add_argument(
        "--store", choices=("archive", "influx", "both"), default="both", help="every third in InfluxDB"
    )
    parser.add_argument("--jobs", type=int, default=2, help="rounds at the same time; each mostly waits")
    parser.add_argument("--verbose", action="store_true", help="name each fault on stderr")
    given = parser.parse_args()
    results, began = [], time.monotonic()
    for result in _played(given):
        results.append(result)
        _say(str(result))
        for sentence in result.wrong:
            _say(f"  seed {result.seed}: {sentence}")
    return _total(results, time.monotonic() - began)


def _played(given: argparse.Namespace) -> Iterator[Result]:
    """The rounds in the order of their seeds, each in a process of its own."""
    say = to_stderr if given.verbose else str
    with ProcessPoolExecutor(given.jobs, max_tasks_per_child=1) as pool:
        rounds = [
            pool.submit(partial(play, seed, given.kills, given.others, influx=_in_influx(given.store, seed), say=say))
            for seed in range(given.first, given.first + given.seeds)
        ]
        for one in rounds:
            yield one.result()


def _in_influx(store: str, seed: int) -> bool:
    wanted = store == "influx" or (store == "both" and seed % INFLUX_EVERY == 0)
    return wanted and PROGRAM is not None


def _total(results: list[Result], seconds: float) -> int:
    kills, lost, double = (sum(getattr(result, name) for result in results) for name in ("kills", "lost", "double"))
    wrong = sum(bool(result.wrong) for result in results)
    others = sum(result.faults for result in results)
    _say(f"kills={kills} lost={lost} double={double} seconds={seconds:.0f} faults={others} rounds_wrong={wrong}")
    return int(bool(lost or double or wrong))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
