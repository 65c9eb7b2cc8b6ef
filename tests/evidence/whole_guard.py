"""A guard with everything it keeps in memory, in virtual time: the production loop, rows, ring and doors; a link that takes all of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_agent.config import EdgeConfig
from edge_agent.guard import loop as loop_module
from edge_agent.guard.catalog import schemas
from edge_agent.guard.durable import Writer
from edge_agent.guard.health import About
from edge_agent.guard.inbox import Inbox
from edge_agent.guard.link_door import SOCKET_NAME, LinkDoor
from edge_agent.guard.local import LocalDoor
from edge_agent.guard.loop import Loop, Parts
from edge_agent.guard.notify import Notifier
from edge_agent.guard.orders import Orders
from edge_agent.guard.reload import reloader
from edge_agent.guard.rows import Rows
from edge_agent.guard.safety.interface import Durable, Settings
from shared import ipc
from tests.evidence.agent import Agent
from tests.evidence.lab import bus_of
from tests.evidence.wires import Clock
from tests.evidence.world import World

SESSION = "0f0f0f0f"
_RELEASED_EACH = 20


class Door(LinkDoor):
    """The production door; the world sees what passes."""

    passed: list[dict[str, Any]]

    @property
    def is_idle(self) -> bool:
        """Whether link has what was left here, and has let nearly all of it be forgotten."""
        return not self._outbox and len(self._ring) < _RELEASED_EACH

    def event(self, mono_us: int, body: Mapping[str, object]) -> None:
        self.passed.append(dict(body))
        super().event(mono_us, body)


class Link:
    """Takes every record as the real one does and lets guard forget them. Numbers must have no `holes`."""

    def __init__(self, runtime_dir: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(runtime_dir / SOCKET_NAME))
        self._thread = threading.Thread(target=self._work, name="link-stand-in", daemon=True)
        self.records = self.holes = 0
        self._last = 0
        self._thread.start()

    def _work(self) -> None:
        self._socket.send(ipc.pack_json(ipc.LINK_HELLO, {"have": {}}))
        with contextlib.suppress(BrokenPipeError):  # `close` hangs up at any moment
            while packet := self._socket.recv(ipc.MAX_PACKET):
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        if packet[:1] in (ipc.ROW, ipc.EVENT):
            self._record(ipc.number_of(packet))
        else:
            self._socket.send(ipc.pack_json(ipc.LINK_STATE, {"broker": True, "dropped": {}}))

    def _record(self, number: int) -> None:
        self.records += 1
        self.holes += number - self._last - 1
        self._last = number
        if number % _RELEASED_EACH == 0:
            self._socket.send(ipc.pack_release(number))

    def close(self) -> None:
        """Hang up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
        self._socket.close()


class WholeAgent(Agent):
    """Its turns are the production loop's: what `edge guard` keeps, this one keeps; only the drivers' threads are virtual."""

    def __init__(self, world: WholeWorld, settings: Settings, config: EdgeConfig, record: Durable) -> None:
        super().__init__(world, settings, config, record)
        stack, folder, bus = world.stack, world.folder, bus_of(config)
        self.waiting = Inbox()
        orders = Orders(self.waiting, folder, reloader(config, bus, lambda: config))
        rows = schemas(list(bus.groups), bus.parts, settings.cells, ["inverter", "arduino"])
        sources = [{"name": schema.source, "signals": list(schema.signals)} for schema in rows]
        self.door = Door(folder, {"session": SESSION, "sources": sources}, orders)
        self.door.passed = self.events
        local, writer = LocalDoor(folder, orders), Writer(folder, self.waiting.wake)
        for thread in (self.door, local, writer):
            thread.start()
            stack.callback(thread.stop)
        self.link = Link(folder)
        stack.callback(self.link.close)
        parts = Parts(
            inbox=self.waiting, link=self.door, local=local, writer=writer, rows=Rows(rows), notifier=Notifier({}),
            about=About({"version": "virtual"}, ["can", "inverter", "arduino"]), outputs=[self.board],
            inverter=self.inverter, permit=self._permit,
        )  # fmt: skip
        self.loop = Loop(self.core, parts)

    def _turn(self, now: float) -> None:
        arrivals, self.inbox = self.inbox, []
        commands, self.commands = self.commands, []
        self.turns += 1
        self._turned_at = now
        self.waiting.put(arrivals)
        self.waiting.wake()
        for command in commands:
            assert self.waiting.command(command)
        self.loop._turn(())
        self.door.passed = self.events
        self.board.due = min(self.board.due, now)


class WholeWorld(World):
    """A world whose agent is whole; its sockets and files are in `folder` until `stack` is closed."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int, profile: str) -> None:
        self.folder, self.stack = folder, stack
        was: Any = loop_module.time
        stack.callback(setattr, loop_module, "time", was)
        super().__init__(seed, profile)

    def start(self) -> None:
        """The agent starts; its loop reads this world's clock."""
        clock: Any = Clock(self)
        loop_module.time = clock
        self.lives += 1
        self.agent = WholeAgent(self, self.settings, self.config, self.disk)
