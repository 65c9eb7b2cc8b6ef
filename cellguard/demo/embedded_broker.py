"""A broker from pip for machines without mosquitto: `python -m cellguard.demo.embedded_broker PORT`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys


def settings(port: int) -> dict[str, object]:
    """This computer only, nobody is asked for a name, nothing is kept on disk."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    from amqtt.broker import Broker

    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    broker = Broker(settings(port))
    await broker.start()
    await ending.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))
