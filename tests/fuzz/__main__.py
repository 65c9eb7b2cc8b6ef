"""`python -m tests.fuzz --messages 1000000`: broken messages at every door of collector and link; 1 when one did harm."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from tests.fuzz.doors import DOORS

SHOWN = 3


def main() -> int:
    """Share the messages out among the doors."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, harm = time.monotonic(), 0
    for door in DOORS:
        count = given.messages // len(DOORS)
        with tempfile.TemporaryDirectory() as folder:
            one = door(Path(folder))
            harm += run(one, count, Random(given.seed))
        sys.stdout.write(f"{door.__name__} messages={count} accepted={one.accepted}\n")
    sys.stdout.write(f"messages={given.messages} harm={harm} seconds={time.monotonic() - began:.0f}\n")
    return int(harm > 0)


def run(door: object, count: int, random: Random) -> int:
    """Knock so often; how many times it did harm, the first of them told on stderr."""
    harm = 0
    for _ in range(count):
        try:
            door.knock(random)  # type: ignore[attr-defined]  # a row of DOORS
        except Exception:  # noqa: BLE001 whatever a door raises is a finding
            harm += 1
            if harm <= SHOWN:
                traceback.print_exc()
    return harm


if __name__ == "__main__":
    sys.exit(main())
