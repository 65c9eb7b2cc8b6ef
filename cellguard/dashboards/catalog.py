"""What the dashboards know of the signals: the catalog of the project's own DBC, and the rules' default limits."""

from __future__ import annotations

import re
from functools import lru_cache

import dbc
from edge_agent.guard.catalog import catalog
from edge_agent.guard.codecs.dbc import load
from edge_agent.guard.codecs.dbc_database import groups
from edge_agent.guard.safety.rules import DEFAULTS, LAB_CELLS

LIMITS = DEFAULTS
_MODULES = r"BMU(?P<module>\d\d)_"


@lru_cache(maxsize=1)
def signals() -> dict[str, dict[str, str]]:
    """Measurement → signal → unit, in the catalog's order."""
    modules = groups(load(dbc.path()), _MODULES)
    whole = catalog(modules[min(modules)], LAB_CELLS)
    return {
        measurement: {name: str(entry["unit"]) for name, entry in entries.items() if isinstance(entry, dict)}
        for measurement, entries in whole.items()
    }


def unit(measurement: str, signal: str) -> str:
    """The unit of a signal; KeyError when the catalog has none of that name."""
    return signals()[measurement][signal]


def matching(measurement: str, pattern: str) -> dict[str, str]:
    r"""Label → signal for every signal that matches; the label is the pattern's group.

    >>> list(matching("module", r"(CMA_Temp[12])\\Z"))
    ['CMA_Temp1', 'CMA_Temp2']
    """
    expression = re.compile(pattern)
    found = {match[1]: name for name in signals()[measurement] if (match := expression.match(name))}
    if not found:
        raise KeyError(f"no signal of {measurement} matches {pattern}")
    return found
