"""`cellguard send`: one command to one node, its answers as they come."""

from __future__ import annotations

import sys

import click

from cellguard.connection import Where, broker_options
from cellguard.verbs import forms, parse_order
from shared.errors import EXIT_DONE, EXIT_FAILED, EXIT_NO_ANSWER, EXIT_REFUSED

_EXITS = {"done": EXIT_DONE, "rejected": EXIT_REFUSED, "failed": EXIT_FAILED, "expired": EXIT_NO_ANSWER}


@click.command(
    name="send",
    help="Send a command and wait for its answers.\n\n\b\n" + "\n".join(forms()),
    context_settings={"ignore_unknown_options": True},  # a charging setpoint starts with a minus
    epilog="Exit codes: 0 done, 3 refused, 4 no answer, 69 the broker cannot be reached.",
)
@click.argument("words", nargs=-1, required=True, metavar="TARGET [ACTION…]")
@click.option("--actor", help="Who is recorded as the sender. Default: your user name.")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="S", help="How long to wait for the last answer.")
@click.option("--json", "as_json", is_flag=True, help="Each answer as a line of JSON.")
@broker_options
def command(*, words: tuple[str, ...], actor: str | None, timeout: float | None, as_json: bool, where: Where) -> None:
    """Send a command and wait for its answers (the words: `cellguard.verbs.VERBS`)."""
    from cellguard.listener import Listener
    from cellguard.operator import Answer, Operator, default_actor, subscriptions

    order = parse_order(words)

    def tell(answer: Answer) -> None:
        import orjson

        click.echo(orjson.dumps(answer.body) if as_json else f"{' '.join(words)}: {answer.sentence()}")

    with Listener(where.broker, subscriptions(where.site, where.node)) as listener:
        operator = Operator(listener, where.site, where.node, actor or default_actor())
        answer = operator.ask(order.target, order.body, timeout_s=timeout or order.timeout_s, tell=tell)
    sys.exit(_EXITS.get(answer.status, EXIT_FAILED))
