"""Listens for the doctor: over the broker to the node, and at the guard's own door, both at once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cellguard.connection import Where
from cellguard.doctor.patient import GuardWords, contactors_open
from cellguard.doctor.rig import SAMPLES
from cellguard.tolerant import Body, number, table
from cellguard.view import View
from shared.signals import INVERTER

if TYPE_CHECKING:
    from edge_agent.config import EdgeConfig
    from shared.broker import BrokerSettings

ANSWER_S = 5.0
ASK_EVERY_S = 0.1
CONNECT_S = 3.0
CREDENTIALS = (
    "the broker asks for credentials, and the link's own would push it out: give --mqtt and your own --cert or --user"
)
_CURRENT = [signal.name for signal in INVERTER].index("current")

Tell = Callable[[str], None]


class Heard(NamedTuple):
    """What came over the broker until `at` (s, monotonic): why it does not answer, why nobody listened, what was heard."""

    at: float
    trouble: str = ""
    deaf: str = ""
    view: View = View()


class Ears(NamedTuple):
    """Where to listen: the broker, whether as a client of it, how long, the guard's door and this Pi's settings if any."""

    where: Where
    subscribe: bool
    seconds: float
    door: Path | None
    config: EdgeConfig | None


def listen(ears: Ears, tell: Tell) -> tuple[Heard, GuardWords | None]:
    """Both at once; `tell` hears what takes longer than `seconds`."""
    with ThreadPoolExecutor(max_workers=1) as other:
        asked = other.submit(ask_guard, ears, tell) if ears.door is not None else None
        heard = _client(ears) if ears.subscribe else _visitor(ears)
        return heard, asked.result() if asked is not None else None


def _client(ears: Ears) -> Heard:
    """Follow the node's topics."""
    from cellguard.listener import Listener
    from cellguard.operator import NoAnswer, Operator, default_actor, subscriptions
    from shared.errors import Unavailable

    where = ears.where
    try:
        with Listener(where.broker, subscriptions(where.site, where.node)) as listener:
            operator = Operator(listener, where.site, where.node, default_actor())
            operator.watch(ears.seconds)
            return Heard(time.monotonic(), view=operator.view)
    except Unavailable as error:
        return Heard(time.monotonic(), str(error))
    except NoAnswer:
        return Heard(time.monotonic(), view=View())


def _visitor(ears: Ears) -> Heard:
    """Knock with what the link has: is anybody there, does each trust the other, does the password hold?"""
    from shared.errors import CellguardError

    broker = ears.where.broker
    try:
        if broker.username is not None:
            _log_in(broker)
        else:
            _shake_hands(broker)
    except CellguardError as error:
        return Heard(time.monotonic(), str(error), CREDENTIALS)
    return Heard(time.monotonic(), deaf=CREDENTIALS)


def _log_in(broker: BrokerSettings) -> None:
    """With the link's password and a client id of our own: both sessions live side by side."""
    from cellguard.listener import Listener

    with Listener(broker, ()):
        return


def _shake_hands(broker: BrokerSettings) -> None:
    """TLS alone, without a session: the certificate would end the link's. Raises Unavailable or ConfigError."""
    from shared import connection_reasons
    from shared.errors import Unavailable

    tls = broker.tls_context()
    try:
        with socket.create_connection((broker.host, broker.port), CONNECT_S) as plain:
            if tls is not None:
                tls.wrap_socket(plain, server_hostname=broker.host).close()
    except OSError as error:
        raise Unavailable(connection_reasons.of_error(error, broker.host, broker.port)) from error


def ask_guard(ears: Ears, tell: Tell) -> GuardWords:
    """The guard's status again and again: for `seconds`, or until there are enough currents at open contactors."""
    from edge_agent.local_client import ask
    from shared.errors import CellguardError

    assert ears.door is not None
    try:
        first = last = ask(ears.door, {"target": "status"}, ANSWER_S)
        began = time.monotonic()
        until = began + _listening_s(ears, first)
        if until > began + ears.seconds:
            tell(f"{SAMPLES} samples of the inverter's current: {until - began:.0f} s")
        polls: dict[float, float] = {}
        while time.monotonic() < until:
            time.sleep(ASK_EVERY_S)
            last = ask(ears.door, {"target": "status"}, ANSWER_S)
            _collect(last, polls)
            if len(polls) >= SAMPLES and time.monotonic() > began + ears.seconds:
                break
    except CellguardError as error:
        return GuardWords(trouble=str(error))
    return GuardWords("", first, last, time.monotonic() - began, tuple(polls.values()))


def _listening_s(ears: Ears, status: Body) -> float:
    """Long enough for the samples where they can be had at all."""
    inverter = ears.config.inverter if ears.config is not None else None
    if inverter is None or not contactors_open(status):
        return ears.seconds
    return max(ears.seconds, SAMPLES * inverter.poll_period_s * 1.2 + 1.0)


def _collect(status: Body, polls: dict[float, float]) -> None:
    """Add a poll that is new; a contactor that closes makes them all worthless."""
    if not contactors_open(status):
        polls.clear()
        return
    poll = table(table(table(status, "seen"), "inverter"), "poll")
    values = poll.get("values")
    if isinstance(values, list) and isinstance(current := values[_CURRENT], int | float):
        polls[number(poll, "readings")] = float(current)
