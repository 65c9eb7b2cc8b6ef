"""`cellguard alarms`: what is wrong now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cellguard.connection import Where, broker_options
from cellguard.tolerant import printable

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
    from rich.table import Table
    from rich.text import Text

    from cellguard.screen import console

    table = Table(*COLUMNS, box=None, pad_edge=False)
    table.columns[COLUMNS.index("alarm")].no_wrap = True
    for alarm in found:
        table.add_row(*(Text(_shown(column, alarm.get(column))) for column in COLUMNS))
    console().print(table)


def _shown(column: str, value: object) -> str:
    from cellguard.screen import clock

    if value is None:
        return "-"
    return clock(value, "%Y-%m-%d %H:%M:%S") if column == "since" else printable(str(value))
