"""`cellguard tail`: what is published, as it comes, a line each."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime

import click

from cellguard.connection import Where, broker_options
from cellguard.listener import Listener
from cellguard.tolerant import printable
from shared.errors import EXIT_NO_ANSWER
from shared.mqtt import Message

_LONGEST = 160


@click.command(name="tail")
@click.argument("topics", nargs=-1, metavar="[TOPIC…]")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("--seconds", type=click.FloatRange(min=0.1), metavar="S", help="End after S seconds.")
@click.option("--kept/--no-kept", default=True, show_default=True, help="Also what the broker had kept from before.")
@click.option("--json", "as_json", is_flag=True, help='Lines {"topic":…,"retain":…,"payload":…}.')
@broker_options
def command(
    *,
    topics: tuple[str, ...],
    count: int | None,
    seconds: float | None,
    kept: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Follow what nodes publish. TOPIC is below the node: `state/inverter`, `alarm/#`, `tele/+`; default: everything.

    Ends with 0 after --count or --seconds, with 4 when --seconds passed without a message.
    """
    root = f"cellguard/v1/{where.site or '+'}/{where.node or '+'}"
    shown = 0
    with Listener(where.broker, [f"{root}/{topic}" for topic in topics] or [f"{root}/#"]) as listener:
        for message in _messages(listener, seconds):
            if message.retain and not kept:
                continue
            click.echo(_as_json(message) if as_json else _as_line(message))
            shown += 1
            if shown == count:
                break
    sys.exit(0 if shown else EXIT_NO_ANSWER)


def _messages(listener: Listener, seconds: float | None) -> Iterator[Message]:
    deadline = time.monotonic() + seconds if seconds else float("inf")
    while (left := deadline - time.monotonic()) > 0:
        message = listener.next(min(left, 1.0))
        if message is not None:
            yield message


def _as_json(message: Message) -> str:
    import orjson

    try:
        payload = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        payload = message.payload.decode("utf-8", "replace")
    return orjson.dumps({"topic": message.topic, "retain": message.retain, "payload": payload}).decode()


def _as_line(message: Message) -> str:
    text = message.payload.decode("utf-8", "replace")
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    kept = " (kept)" if message.retain else ""
    place = message.topic.removeprefix("cellguard/v1/")
    return f"{datetime.now().astimezone():%H:%M:%S.%f} {place}{kept} {printable(shown)}"
