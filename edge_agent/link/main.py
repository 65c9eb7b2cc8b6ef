"""Wiring of link: names every part, starts the threads, and ends them cleanly on a signal."""

from __future__ import annotations

import importlib.metadata
import logging
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edge_agent.config import EdgeConfig
from edge_agent.link import clock as clocks
from edge_agent.link.clock import Clock
from edge_agent.link.commands import CommandDesk
from edge_agent.link.front import Front, Parts
from edge_agent.link.guard_socket import GuardSocket
from edge_agent.link.inbox import Inbox
from edge_agent.link.journal import RecordSettings
from edge_agent.link.mirror import Mirror
from edge_agent.link.reception import Reception
from edge_agent.link.recorder import Recorder
from edge_agent.link.status import Moment, offline
from shared import topics
from shared.errors import EXIT_DONE, EXIT_FAILED
from shared.mqtt import BrokerSettings, Mqtt

log = logging.getLogger(__name__)

SPOOL_FILE = "spool.sqlite"
GUARD_SOCKET = "guard.sock"
_ROOM_FOR_ANSWERS = 30
_STOP_S = 3.0
_MB = 1_000_000
_SWITCH_S = 0.001
"""So long a thread may hold the interpreter: the broker's line must be read while others work, or acknowledgements come late."""


def run(config: EdgeConfig, load: Callable[[], EdgeConfig] | None = None) -> int:
    """Run link until SIGTERM or SIGINT; returns the exit code. Raises ConfigError on an unreadable key or password.

    `load` reads the settings again once guard has taken others over: a trip's file must say which were in force.
    """
    session, root = secrets.token_hex(4), topics.node_root(config.node.site, config.node.name)
    collectors = _collectors(config)
    clock, inbox = Clock(clocks.read_kernel(), from_rtc=clocks.set_from_rtc()), Inbox(root, collectors)

    def last_words(why: str) -> bytes:
        return offline(session, Moment(0.0, clock.now_us(), clock.state, (why,)))

    mqtt = Mqtt(
        broker_settings(config),
        will=(f"{root}/status", last_words("the connection was lost")),
        subscriptions=[(f"{root}/cmd/#", 1), (f"{root}/receipt", 1), *((topic, 1) for topic in collectors)],
        on_message=inbox.message,
        on_state=inbox.broker,
    )
    recorder = Recorder(
        record_settings(config, load or (lambda: config)),
        clock,
        publish=lambda topic, payload: mqtt.publish(f"{root}/{topic}", payload),
        room=lambda: mqtt.bulk_room(_ROOM_FOR_ANSWERS),
        tell=inbox.report,
    )
    desk = CommandDesk(session, lambda: f"mqtt-{secrets.token_hex(6)}")
    parts = Parts(
        root=root,
        session=session,
        energise=config.commands.energise,
        clock=clock,
        guard=GuardSocket(config.node.runtime_dir / GUARD_SOCKET),
        inbox=inbox,
        recorder=recorder,
        mqtt=mqtt,
        desk=desk,
        reception=Reception(root, desk, clock, mqtt, recorder.put),
        mirror=Mirror(clock, version(), _retain(root, mqtt)),
    )
    return live(parts, last_words)


def _retain(root: str, mqtt: Mqtt) -> Callable[[str, bytes, int], None]:
    """What keeps a topic of the node at its value; what may be lost (QoS 0) waits while the link is slow."""
    return lambda topic, body, qos: mqtt.retain(f"{root}/{topic}", body, qos=qos, urgent=qos > 0)


def _collectors(config: EdgeConfig) -> dict[str, str]:
    """Topic of its status → name of each collector whose receipts are believed."""
    return {f"{topics.collector_root(config.node.site, name)}/status": name for name in config.mqtt.receipts_from}


def live(parts: Parts, last_words: Callable[[str], bytes]) -> int:
    """Start, loop, and end in order: record what is there, release it, say offline, leave the broker."""
    sys.setswitchinterval(_SWITCH_S)
    front = Front(parts)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: front.stop())
    parts.mqtt.start()
    parts.recorder.start()
    try:
        well = front.run()
    finally:
        parts.recorder.stop(_STOP_S)
        front.farewell()
        parts.mqtt.retain(f"{parts.root}/status", last_words("link has ended"))
        parts.mqtt.stop(_STOP_S)
        parts.inbox.close()
    return EXIT_DONE if well else EXIT_FAILED


def broker_settings(config: EdgeConfig) -> BrokerSettings:
    """The broker of `[mqtt]`; the client id is stable, so that a second link of the same node is noticed."""
    mqtt, tls = config.mqtt, config.mqtt.tls
    return BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        client_id=f"cellguard-{config.node.site}-{config.node.name}",
        username=mqtt.username,
        password_file=mqtt.password_file,
        ca=tls.ca if tls else None,
        cert=tls.cert if tls else None,
        key=tls.key if tls else None,
    )


def record_settings(config: EdgeConfig, load: Callable[[], EdgeConfig]) -> RecordSettings:
    """What the recorder needs of `[node]`, `[spool]`, `[record]` and `[mqtt]`."""
    return RecordSettings(
        path=config.node.state_dir / SPOOL_FILE,
        max_bytes=config.spool.max_mb * _MB,
        reserved_bytes=config.spool.reserved_mb * _MB,
        batch_s=config.record.batch_s,
        receipts_from=config.mqtt.receipts_from,
        boot=boot_id(),
        about=about(config),
        reread=lambda: about(load()),
    )


def about(config: EdgeConfig) -> dict[str, object]:
    """What the file of a trip says of this node: its name and every setting but those of the broker."""
    settings = config.model_dump(mode="json", by_alias=True, exclude={"mqtt"})
    return {"site": config.node.site, "node": config.node.name, "config": settings}


def boot_id() -> str:
    """First 8 hex digits of the kernel's boot id; zeros where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return "00000000"


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version("cellguard")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
