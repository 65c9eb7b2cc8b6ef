"""`make bench`: every hot path as a ratio against the obvious library way, measured in the same run."""

from __future__ import annotations

import argparse
import importlib
import sys

FIGURES = ("decode", "frame_path", "encode", "line", "collector", "spool", "drain", "latency")
"""Modules of this folder; each has `figures() -> list[Figure]`."""


def main() -> int:
    """Print one line per figure; 1 when one is short of its goal."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all of them when none is given"
    )
    names = parser.parse_args().names or FIGURES
    unknown = sorted(set(names) - set(FIGURES))
    if unknown:
        parser.error(f"given {', '.join(unknown)}; allowed: {', '.join(FIGURES)}")
    short = 0
    for name in names:
        for figure in importlib.import_module(f"bench.{name}").figures():
            print(figure, flush=True)
            short += not figure.ok
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
