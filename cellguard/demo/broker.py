"""Which broker the demo starts, and how: mosquitto where it is installed, else the one from pip."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
from pathlib import Path

from shared.errors import ConfigError, Unavailable

_TEMPLATE = Path(__file__).with_name("mosquitto.conf")
_TEMPLATE_PORT = "listener 1883 127.0.0.1"


def choose_port(asked: int | None, usual: int = 1883) -> int:
    """The port asked for, else the usual one, else a free one; raises ConfigError when the one asked for is taken."""
    if asked is not None:
        if not _is_free(asked):
            raise ConfigError("--mqtt-port", f"{asked}, which is in use on 127.0.0.1", "a free port")
        return asked
    return usual if _is_free(usual) else _any_free()


def find_mosquitto() -> str | None:
    """Where mosquitto is installed, also where only root has it on PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def broker_command(port: int, data: Path, program: str | None) -> list[str]:
    """The command line of a broker on 127.0.0.1:`port`: `program` (mosquitto), or the one from pip when it is None.

    Raises Unavailable when there is neither.
    """
    if program is None:
        return _embedded(port)
    settings = data / "mosquitto.conf"
    text = _TEMPLATE.read_text(encoding="utf-8").replace(_TEMPLATE_PORT, f"listener {port} 127.0.0.1")
    settings.write_text(text, encoding="utf-8")
    return [program, "-c", str(settings)]


def _embedded(port: int) -> list[str]:
    if importlib.util.find_spec("amqtt") is None:
        raise Unavailable(
            "no broker on this computer: install mosquitto (apt install mosquitto) or amqtt (pip install amqtt)"
        )
    return [sys.executable, "-P", "-m", "cellguard.demo.embedded_broker", str(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
