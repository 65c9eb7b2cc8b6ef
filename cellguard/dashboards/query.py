"""The InfluxQL of the panels: what is asked of a measurement, and the macros that Grafana fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SITE_NODE = '"site" =~ /^${site:regex}$/ AND "node" =~ /^${node:regex}$/'
MODULE = '"module" =~ /^${module:regex}$/'
WINDOW = "$timeFilter"


@dataclass(frozen=True, slots=True)
class Query:
    """One statement. `alias` is Grafana's pattern for the names of its series; `table` asks for rows instead of series."""

    text: str
    alias: str = "$col"
    table: bool = False


def where(*conditions: str) -> str:
    """The node and time the person chose, and what else must hold."""
    return f"WHERE {' AND '.join((SITE_NODE, *conditions, WINDOW))}"


def series(measurement: str, columns: Mapping[str, str], *conditions: str, by: str = "", alias: str = "$col") -> Query:
    """Aggregates over time, a series a column; without data a column is null there, so that its line breaks.

    Args:
        measurement: where to look.
        columns: label → InfluxQL of an aggregate.
        conditions: what else must hold.
        by: a tag to tell apart.
        alias: how the series are called.
    """
    chosen = ", ".join(f'{expression} AS "{label}"' for label, expression in columns.items())
    group = f', "{by}"' if by else ""
    text = f'SELECT {chosen} FROM "{measurement}" {where(*conditions)} GROUP BY time($__interval){group} fill(null)'
    return Query(text, alias)


def rows(measurement: str, columns: Mapping[str, str], *conditions: str) -> Query:
    """The newest rows as a table; label → field or tag."""
    chosen = ", ".join(f'{expression} AS "{label}"' for label, expression in columns.items())
    text = f'SELECT {chosen} FROM "{measurement}" {where(*conditions)} ORDER BY time DESC LIMIT 500'
    return Query(text, table=True)


def changes(measurement: str, columns: Mapping[str, str], *conditions: str, by: str = "", alias: str = "$col") -> Query:
    """For timelines: every stored value, unaggregated; label → field."""
    chosen = ", ".join(f'"{field}" AS "{label}"' for label, field in columns.items())
    group = f' GROUP BY "{by}"' if by else ""
    return Query(f'SELECT {chosen} FROM "{measurement}" {where(*conditions)}{group} LIMIT 20000', alias)


def mean(field: str) -> str:
    """The mean of a field."""
    return f'MEAN("{field}")'


def low(field: str) -> str:
    """The lowest value of a field."""
    return f'MIN("{field}")'


def high(field: str) -> str:
    """The highest value of a field."""
    return f'MAX("{field}")'


def last(field: str) -> str:
    """The newest value of a field."""
    return f'LAST("{field}")'
