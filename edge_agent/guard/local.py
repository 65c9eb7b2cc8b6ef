"""The local door: a Unix socket for people on the Pi itself, one JSON object per line, without link, broker or network."""

from __future__ import annotations

import json
import logging
import os
import pwd
import secrets
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.guard.orders import Orders, from_local
from edge_agent.guard.safety.interface import Command
from edge_agent.guard.unix_socket import listen
from shared.errors import WireError
from shared.ipc import parse_object

SOCKET_NAME = "local.sock"
MAX_LINE_BYTES = 4096
_MAX_CLIENTS = 16
_MAX_WAITING = 256
LINES_PER_S = 50
"""Who sends more within a second is a program gone wild: it is disconnected, so that the loop keeps the interpreter."""
_WAIT_S = 1.0
_FINAL = frozenset({"rejected", "done", "failed", "expired"})

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Client:
    """One person's connection."""

    connection: socket.socket
    actor: str
    received: bytes = b""
    to_send: bytes = b""
    ids: set[str] = field(default_factory=set)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=LINES_PER_S))

    def too_fast(self, now: float) -> bool:
        """Count one line; whether it is one too many."""
        fast = len(self.recent) == LINES_PER_S and now - self.recent[0] < 1.0
        self.recent.append(now)
        return fast


class LocalDoor:
    """Serves `local.sock`. A line is `{"target": …, …body}`; each answer is a line with its `id`, accepted and then final.

    The loop calls `answer` for every answer; those to commands of this door are passed on.
    """

    def __init__(self, runtime_dir: Path, orders: Orders) -> None:
        self._orders = orders
        self._path = runtime_dir / SOCKET_NAME
        self._listener = listen(self._path, socket.SOCK_STREAM)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._clients: dict[int, _Client] = {}
        self._waiting: dict[str, _Client] = {}
        self._outbox: deque[Mapping[str, object]] = deque()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="local-door", daemon=True)
        self.counts = {"connections": 0, "bad_lines": 0, "too_fast": 0, "errors": 0}

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def answer(self, body: Mapping[str, object]) -> None:
        """Pass an answer on when its command came through this door. Any thread; returns at once."""
        if body.get("id") in self._waiting:
            self._outbox.append(body)
            os.eventfd_write(self._bell, 1)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send what can be sent at once, then close; the socket file is removed."""
        self._ending = True
        os.eventfd_write(self._bell, 1)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._close()

    # --- below: the door's own thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            try:
                self._turn()
            except Exception:  # the thread's edge: the door must stay open for the next person
                self.counts["errors"] += 1
                log.exception("local door: all its connections are dropped")
                self._drop_all()
        self._deliver()

    def _turn(self) -> None:
        for key, mask in self._selector.select(_WAIT_S):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._bell:
                os.eventfd_read(self._bell)
            else:
                client = self._clients.get(key.fd)
                if client is not None and mask & selectors.EVENT_READ:
                    self._receive(client)
                if client is not None and mask & selectors.EVENT_WRITE:
                    self._send(client)
        self._deliver()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= _MAX_CLIENTS:
            connection.close()
            return
        connection.settimeout(0.0)
        self.counts["connections"] += 1
        self._clients[connection.fileno()] = _Client(connection, _actor(connection))
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, client: _Client) -> None:
        try:
            chunk = client.connection.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        *lines, client.received = (client.received + chunk).split(b"\n")
        if len(client.received) > MAX_LINE_BYTES:
            lines, client.received = [*lines, client.received], b""
        for line in filter(bytes.strip, lines):
            if client.too_fast(time.monotonic()) and b'"estop"' not in line:
                self._too_fast(client)
                return
            self._line(client, line)

    def _too_fast(self, client: _Client) -> None:
        self.counts["too_fast"] += 1
        self._say(client, _rejected("", None, "E_RATE", f"more than {LINES_PER_S} lines in a second: disconnected"))
        self._drop(client)

    def _line(self, client: _Client, line: bytes) -> None:
        identifier = f"local-{secrets.token_hex(4)}"
        target: object = None
        try:
            body = _object(line, len(client.ids))
            target = body.get("target")
            command = from_local(body, identifier, client.actor)
        except WireError as error:
            self.counts["bad_lines"] += 1
            self._say(client, _rejected(identifier, target, "E_SYNTAX", str(error)))
            return
        client.ids.add(identifier)
        self._waiting[identifier] = client
        self._orders.give(command, self._refuse)

    def _refuse(self, command: Command, code: str, reason: str) -> None:
        """Any thread."""
        self.answer(_rejected(command.id, command.target, code, reason))

    def _deliver(self) -> None:
        for _ in range(len(self._outbox)):
            body = self._outbox.popleft()
            identifier = str(body.get("id"))
            client = self._waiting.get(identifier)
            if client is None:
                continue
            if body.get("status") in _FINAL:
                del self._waiting[identifier]
                client.ids.discard(identifier)
            self._say(client, body)

    def _say(self, client: _Client, body: Mapping[str, object]) -> None:
        client.to_send += json.dumps(body, ensure_ascii=False, default=str).encode() + b"\n"
        self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.to_send) if client.to_send else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        client.to_send = client.to_send[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.to_send else 0)
        self._selector.modify(client.connection, wanted)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is None:
            return
        for identifier in client.ids:
            self._waiting.pop(identifier, None)
        self._selector.unregister(client.connection)
        client.connection.close()

    def _drop_all(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)

    def _close(self) -> None:
        self._drop_all()
        self._selector.close()
        self._listener.close()
        os.close(self._bell)
        self._path.unlink(missing_ok=True)


def _actor(connection: socket.socket) -> str:
    """`local:NAME` of the user at the other end, as the kernel knows it."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        return f"local:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"local:{uid}"


def _object(line: bytes, unanswered: int) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES or unanswered >= _MAX_WAITING:
        raise WireError(f"at most {MAX_LINE_BYTES} bytes a line and {_MAX_WAITING} unanswered commands")
    return parse_object(line)


def _rejected(identifier: str, target: object, code: str, reason: str) -> dict[str, object]:
    return {"id": identifier, "target": target, "status": "rejected", "code": code, "reason": reason, "blocked_by": []}
