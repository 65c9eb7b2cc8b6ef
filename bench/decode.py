"""The figure `decode`: frames decoded by the generated functions against cantools, checked to be equal first."""

from __future__ import annotations

from importlib.metadata import version
from random import Random

import cantools.database

import dbc
from bench.figure import Figure, alternate
from edge_agent.guard.codecs.dbc import compare, groups, load

GOAL = 5.0
CYCLES = 10  # SYNC cycles of 15 modules with 8 frames each


def figures() -> list[Figure]:
    """Decode the PDOs of 15 modules with both, frame by frame, each side with its own decoder at hand."""
    db = load(dbc.path())
    if mismatches := compare(db, 100, seed=1):
        raise SystemExit("\n".join(mismatches[:10]))
    parsed = cantools.database.load_file(dbc.path(), encoding="utf-8")
    assert isinstance(parsed, cantools.database.Database)
    random = Random(1)
    pdos = [one for module in groups(db, r"BMU(?P<module>\d\d)_").values() for one in module.values()]
    frames = [(one, random.randbytes(8)) for _ in range(CYCLES) for one in pdos]
    ours = [(one.values, data) for one, data in frames]
    theirs = [(parsed.get_message_by_name(one.spec.name).decode, data) for one, data in frames]

    def generated() -> None:
        for decode, data in ours:
            decode(data)

    def oracle() -> None:
        for decode, data in theirs:
            decode(data, decode_choices=False)

    against = f"against cantools decode, n={len(frames)} frames, cantools {version('cantools')}"
    return [Figure("decode", alternate(oracle, generated, rounds=15), GOAL, against)]
