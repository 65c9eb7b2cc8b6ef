"""`cellguard watch`: the pack, live, in the terminal."""

from __future__ import annotations

import time

import click

from cellguard.connection import Where, broker_options
from cellguard.operator import Operator, default_actor, subscriptions

_FIRST_S = 1.5
_REFRESH_S = 0.5


@click.command(name="watch")
@click.option("--once", is_flag=True, help="Print the tables once and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object.")
@broker_options
def command(*, once: bool, as_json: bool, where: Where) -> None:
    """Live table of modules, inverter, outputs, safety state, schedule and alarms. Ctrl-C ends it."""
    import orjson

    from cellguard.listener import Listener
    from cellguard.screen import as_table, console, draw

    with Listener(where.broker, subscriptions(where.site, where.node)) as listener:
        operator = Operator(listener, where.site, where.node, default_actor())
        if not once and not as_json:
            _live(operator)
            return
        operator.watch(_FIRST_S)
        node = str(operator.node)
        if as_json:
            click.echo(orjson.dumps(as_table(operator.view, node)))
        else:
            console().print(draw(operator.view, node, time.monotonic()))


def _live(operator: Operator) -> None:
    from rich.live import Live

    from cellguard.screen import draw

    node = str(operator.node)
    with Live(draw(operator.view, node, time.monotonic()), auto_refresh=False, screen=True) as live:
        while True:
            operator.watch(_REFRESH_S)
            live.update(draw(operator.view, node, time.monotonic()), refresh=True)
