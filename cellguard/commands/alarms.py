"""`cellguard alarms`: what is wrong now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from cellguard.connection import Where, broker_options

COLUMNS = ("level", "alarm", "state", "value", "limit", "unit", "since", "acked")


@click.command(name="alarms")
@click.option("--all", "everything", is_flag=True, help="Also those that were cleared.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@broker_options
def command(*, everything: bool, as_json: bool, where: Where) -> None:
    """List alarms that are active or latched, the worst first. The exit is 0 with and without alarms."""
    import orjson

    from cellguard.listener import Listener
    from cellguard.operator import Operator, default_actor, subscriptions

    with Listener(where.broker, subscriptions(where.site, where.node)) as listener:
        operator = Operator(listener, where.site, where.node, default_actor())
    found = list(operator.view.alarms.values()) if everything else operator.view.current_alarms()
    if as_json:
        for alarm in found:
            click.echo(orjson.dumps(alarm))
    elif found:
        _print_table(found)
    else:
        click.echo(f"{operator.node}: no alarms")


def _print_table(found: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for alarm in found:
        table.add_row(*(Text(shown(column, alarm.get(column))) for column in COLUMNS))
    Console().print(table)


def shown(column: str, value: object) -> str:
    """One cell of the table; a time (µs) as local date and time."""
    if value is None:
        return "-"
    if column == "since" and isinstance(value, int):
        return f"{datetime.fromtimestamp(value / 1e6).astimezone():%Y-%m-%d %H:%M:%S}"
    return str(value)
