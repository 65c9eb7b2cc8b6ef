"""`python -m simulator`: the thinnest command line, for working on the simulator alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared.errors import CellguardError
from simulator.main import Options, run


def main() -> int:
    """Parse and run; an error is one line."""
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--modules", type=int, default=8)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--profile", default="ideal")
    parser.add_argument("--can", default="slcan")
    parser.add_argument("--arduino-protocol", default="v2")
    for name in ("--control", "--truth", "--directory"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seed", type=int)
    try:
        return run(Options(**vars(parser.parse_args())))
    except CellguardError as problem:
        sys.stderr.write(f"{problem}\n")
        return problem.exit_code


if __name__ == "__main__":
    sys.exit(main())
