"""The options with which every command finds its broker and node."""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from shared.errors import ConfigError
from shared.mqtt import BrokerSettings

DEFAULT_MQTT = "127.0.0.1:1883"
"""Where the demo's broker listens."""

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False, path_type=Path)


class Where(NamedTuple):
    """The broker, and which node is meant if it was said."""

    broker: BrokerSettings
    site: str | None
    node: str | None


_OPTIONS = (
    click.option(
        "--mqtt",
        metavar="HOST:PORT",
        default=lambda: os.environ.get("CELLGUARD_MQTT", DEFAULT_MQTT),
        show_default=f"CELLGUARD_MQTT, else {DEFAULT_MQTT}",
        help="The broker.",
    ),
    click.option("--site", help="Which site; needed only when the broker knows several."),
    click.option("--node", help="Which node; needed only when the broker knows several."),
    click.option("--user", help="Name for the broker."),
    click.option("--password-file", type=_FILE, help="File with the password, one line."),
    click.option("--ca", type=_FILE, help="PEM file of the authority to trust; switches TLS on."),
    click.option("--cert", type=_FILE, help="PEM file of this client's certificate."),
    click.option("--key", type=_FILE, help="PEM file of this client's key."),
)


def broker_options(command: F) -> F:
    """Give a click command the broker's options; it receives them as one argument `where`."""

    @functools.wraps(command)
    def call(**options: Any) -> Any:  # noqa: ANN401 (click hands over whatever the options are)
        where = _where(**{name: options.pop(name) for name in _NAMES})
        return command(where=where, **options)

    wrapped: Any = call
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    result: F = wrapped
    return result


_NAMES = ("mqtt", "site", "node", "user", "password_file", "ca", "cert", "key")


def _where(mqtt: str, site: str | None, node: str | None, user: str | None, **files: Any) -> Where:  # noqa: ANN401 (paths)
    host, port = host_and_port(mqtt)
    client_id = f"cellguard-{os.getpid()}-{secrets.token_hex(3)}"
    return Where(BrokerSettings(host, port, client_id, username=user, **files), site, node)


def host_and_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `HOST` (port 1883) or `[IPv6]:PORT`; raises ConfigError saying so."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "1883"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError("--mqtt", text, "HOST:PORT, for example 192.168.137.1:1883")
    return host.strip("[]"), int(port)
