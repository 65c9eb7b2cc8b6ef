"""`python -m tests.chaos --seeds N`: rounds of chaos, one line each and the total last; 1 when anything was lost or double."""

from __future__ import annotations

import argparse
import sys

from bench.influxd import PROGRAM
from tests.chaos.round import Result, play

INFLUX_EVERY = 3


def main() -> int:
    """Play the rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many rounds")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--kills", type=int, default=11, help="kill -9 in each round")
    parser.add_argument("--others", type=int, default=6, help="other faults in each round")
    parser.add_argument(
        "--store", choices=("archive", "influx", "both"), default="both", help="every third in InfluxDB"
    )
    parser.add_argument("--verbose", action="store_true", help="name each fault on stderr")
    given = parser.parse_args()
    results = []
    for seed in range(given.first, given.first + given.seeds):
        influx = given.store == "influx" or (given.store == "both" and seed % INFLUX_EVERY == 0)
        say = _to_stderr if given.verbose else str
        result = play(seed, given.kills, given.others, influx=influx and PROGRAM is not None, say=say)
        results.append(result)
        _say(str(result))
        for sentence in result.wrong:
            _say(f"  seed {seed}: {sentence}")
    return _total(results)


def _total(results: list[Result]) -> int:
    kills, lost, double, seconds = (
        sum(getattr(result, name) for result in results) for name in ("kills", "lost", "double", "seconds")
    )
    wrong = sum(bool(result.wrong) for result in results)
    others = sum(result.faults for result in results)
    _say(f"kills={kills} lost={lost} double={double} seconds={seconds:.0f} faults={others} rounds_wrong={wrong}")
    return int(bool(lost or double or wrong))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
