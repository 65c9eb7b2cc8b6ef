"""The guard's wiring: one plain function names every concrete class, starts the threads, and ends them in order."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from edge_agent.config import EdgeConfig, fingerprint
from edge_agent.guard import durable, footing
from edge_agent.guard.board_permit import BoardPermit
from edge_agent.guard.catalog import catalog, schemas
from edge_agent.guard.core_settings import Bus, core_settings, not_fail_safe, read_bus
from edge_agent.guard.estop_input import EstopInput
from edge_agent.guard.health import About
from edge_agent.guard.inbox import Inbox
from edge_agent.guard.link_door import LinkDoor
from edge_agent.guard.local import LocalDoor
from edge_agent.guard.loop import Loop, Parts
from edge_agent.guard.notify import Notifier
from edge_agent.guard.orders import Orders
from edge_agent.guard.reload import reloader
from edge_agent.guard.rigging import Rigging, rig
from edge_agent.guard.rows import Rows, Schema
from edge_agent.guard.safety.core import Core
from edge_agent.guard.sync_pace import check_pace
from shared.errors import ConfigError, Unavailable
from shared.ipc import HELLO, MAX_PACKET, pack_json

LOCK_NAME = "guard.lock"

log = logging.getLogger(__name__)


def run(config: EdgeConfig, load: Callable[[], EdgeConfig] | None = None) -> int:
    """Guard the rig until SIGTERM or SIGINT; returns the exit code. `load` reads the settings again for `config reload`.

    Raises:
        ConfigError: a file of the configuration is absent or wrong, limits contradict each other, a folder is not writable, or this
            machine does not sustain the SYNC period.
        Unavailable: another guard runs with the same runtime_dir.
    """
    bus = read_bus(config)
    settings = core_settings(config, bus)
    with ExitStack() as stack:
        stack.enter_context(_alone(config.node.runtime_dir))
        record, trouble = durable.load(config.node.state_dir)
        if trouble:
            log.critical("%s", trouble)
        priority = footing.take_priority()
        check_pace(bus, settings)
        parts = _parts(config, bus, load or (lambda: config), stack)
        loop = Loop(Core(settings, record, time.monotonic()), parts)
        _on_signals(loop)
        parts.footing = {"priority": priority, "memory": footing.settle_memory()}
        parts.notifier.ready()
        log.info("guard runs: %d modules in the DBC, profile %s", len(bus.groups), settings.profile)
        return loop.run()


def _parts(config: EdgeConfig, bus: Bus, load: Callable[[], EdgeConfig], stack: ExitStack) -> Parts:
    """Everything around the core, started; what was started is stopped by the stack, last things first."""
    rigging, inbox = rig(config, bus), Inbox()
    orders = Orders(inbox, config.schedule.folder, reloader(config, bus, load))
    rows = schemas(list(bus.groups), bus.parts, config.pack.cells, rigging.fitted)
    about = About(_fixed_info(config, bus), [device.source for device in rigging.devices])
    notifier = Notifier()
    stack.callback(notifier.close)
    link = LinkDoor(config.node.runtime_dir, _hello(config, bus, rows, about), orders)
    stack.callback(link.stop)
    local = LocalDoor(config.node.runtime_dir, orders)
    stack.callback(local.stop)
    writer = durable.Writer(config.node.state_dir, inbox.wake)
    stack.callback(writer.stop)
    for thread in (link, local, writer):
        thread.start()
    runners = rigging.start(inbox)
    stack.callback(rigging.stop)
    return Parts(
        inbox=inbox,
        link=link,
        local=local,
        writer=writer,
        rows=Rows(rows),
        about=about,
        notifier=notifier,
        outputs=rigging.outputs,
        inverter=rigging.inverter,
        permit=_permit(config, rigging),
        estop=EstopInput() if config.gpio is not None and config.gpio.estop_in is not None else None,
        counters={runner.device.source: runner.counters for runner in runners},
    )


def _permit(config: EdgeConfig, rigging: Rigging) -> BoardPermit | None:
    if rigging.permit_board is None:
        return None
    return BoardPermit(
        rigging.permit_board,
        inverter=rigging.inverter is not None,
        noise_a=config.signals.current_noise_a,
        wait_s=config.safety.wait_s,
        now=time.monotonic(),
    )


def _hello(config: EdgeConfig, bus: Bus, rows: list[Schema], about: About) -> dict[str, object]:
    hello = {
        "session": secrets.token_hex(4),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8],
        "pid": os.getpid(),
        "sources": [{"name": schema.source, "signals": list(schema.signals)} for schema in rows],
        "catalog": catalog(bus.groups[min(bus.groups)], config.pack.cells),
        "info": about.body(),
    }
    size = len(pack_json(HELLO, hello))
    if size > MAX_PACKET - 1024:
        raise ConfigError("[can] dbc", f"{size} bytes of signal names and units", f"at most {MAX_PACKET - 1024}")
    return hello


def _fixed_info(config: EdgeConfig, bus: Bus) -> dict[str, object]:
    return {
        "version": version("cellguard"),
        "config": fingerprint(config),
        "dbc": bus.sha,
        "dbc_fallback": list(bus.fallback),
        "not_fail_safe": not_fail_safe(config),
    }


@contextmanager
def _alone(runtime_dir: Path) -> Iterator[None]:
    """Hold the lock that lets one guard run; the kernel gives it back however this process ends."""
    try:
        runtime_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(runtime_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(
            "[node] runtime_dir", str(runtime_dir), f"a writable folder ({error.strerror or error})"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Unavailable(f"{runtime_dir / LOCK_NAME}: another guard runs here; stop it first") from error
    finally:
        os.close(handle)


def _on_signals(loop: Loop) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: loop.stop(signal.Signals(got).name))
