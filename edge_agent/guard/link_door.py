"""The door to link: a thread that owns the socket and the ring, so that the loop only leaves packets and goes on."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.guard.link_peer import Peer
from edge_agent.guard.orders import Orders, from_link
from edge_agent.guard.ring import Ring
from edge_agent.guard.safety.interface import Command
from edge_agent.guard.unix_socket import listen
from shared import ipc
from shared.errors import WireError

SOCKET_NAME = "guard.sock"
_ROWS_WAIT_S = 0.05
"""Rows wake nobody: they are taken at least this often, so that 500 rows/s cost 20 turns and not 500."""
_OUTBOX_LIMIT = 50_000

log = logging.getLogger(__name__)

Left = tuple[str, int, Any]
"""What the loop leaves: kind (`rows`, `event`, `state`, `answer`), mono_us, content."""


class LinkDoor:
    """Serves the newest link that connects. The loop calls `rows`, `event`, `state`, `answer` and reads the attributes.

    `broker` is link's word; `beats` counts its LINK_STATE packets, so that the loop can tell a link that fell silent.
    """

    def __init__(
        self, runtime_dir: Path, hello: Mapping[str, object], orders: Orders, ring: Ring | None = None
    ) -> None:
        self._hello = dict(hello)
        self._session = str(hello["session"])
        self._orders = orders
        self._ring = Ring() if ring is None else ring
        self._outbox: deque[Left] = deque()
        self._refused: deque[tuple[Command, str, str]] = deque()
        self._states: dict[str, bytes] = {}
        self._peer: Peer | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener = listen(runtime_dir / SOCKET_NAME, socket.SOCK_SEQPACKET)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="link-door", daemon=True)
        self._receivers: dict[bytes, Callable[[bytes], None]] = {
            ipc.LINK_HELLO: self._on_hello,
            ipc.RELEASE: self._on_release,
            ipc.COMMAND: self._on_command,
            ipc.LINK_STATE: self._on_link_state,
        }
        self._takers: dict[str, Callable[[int, Any], None]] = {
            "rows": self._take_rows,
            "event": self._take_event,
            "state": self._take_state,
            "answer": self._take_answer,
        }
        self._path = runtime_dir / SOCKET_NAME
        self.broker = False
        self.beats = 0
        self.link_drops: Mapping[str, object] = {}
        self.counts = {"connections": 0, "bad_packets": 0, "left_behind": 0, "errors": 0, "too_large": 0}

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def rows(self, rows: Sequence[ipc.Row]) -> None:
        """Leave sample rows. They reach link within 50 ms."""
        if rows:
            self._leave(("rows", 0, rows))

    def event(self, mono_us: int, body: Mapping[str, object]) -> None:
        """Leave an event."""
        self._leave(("event", mono_us, body))
        self._ring_bell()

    def state(self, name: str, body: Mapping[str, object]) -> None:
        """Leave a state; the last of each name is what a link that connects later gets."""
        self._leave(("state", 0, (name, body)))
        self._ring_bell()

    def answer(self, body: Mapping[str, object]) -> None:
        """Leave the answer to a command."""
        self._leave(("answer", 0, body))
        self._ring_bell()

    def fill(self) -> dict[str, object]:
        """How full the ring is, for `state/health`."""
        ring = self._ring
        return {"records": len(ring), "bytes": ring.bytes, "next": ring.next, "dropped": dict(ring.dropped)}

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send what can be sent at once, then close; the socket file is removed."""
        self._ending = True
        self._ring_bell()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._close()

    # --- below: the door's own thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            try:
                self._turn()
            except Exception:  # the thread's edge: the guard without a link is degraded, without a thread it is mute
                self.counts["errors"] += 1
                log.exception("link door: this connection is dropped")
                self._drop_peer("error in the guard")
        self._take_outbox()
        self._send()

    def _turn(self) -> None:
        for key, mask in self._selector.select(_ROWS_WAIT_S):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._bell:
                os.eventfd_read(self._bell)
            elif self._peer is not None and key.fileobj is self._peer.socket and mask & selectors.EVENT_READ:
                self._receive(self._peer)
        self._take_outbox()
        self._send()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        self._drop_peer("a newer link has connected")
        self.counts["connections"] += 1
        hello = {**self._hello, "first": self._ring.first, "next": self._ring.next}
        self._peer = Peer(connection, [ipc.pack_json(ipc.HELLO, hello), *self._states.values()])
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, peer: Peer) -> None:
        for packet in peer.receive():
            try:
                self._receivers.get(packet[:1], _unknown)(packet)
            except WireError as error:
                self.counts["bad_packets"] += 1
                log.warning("link sent something wrong: %s", error)
        if peer.closed:
            self._drop_peer("link has closed its end")

    def _on_hello(self, packet: bytes) -> None:
        have = ipc.parse_object(packet[1:]).get("have")
        number = have.get(self._session, 0) if isinstance(have, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise WireError("LINK_HELLO: have: expected {session: number}")
        assert self._peer is not None
        self._ring.reconnect(number)
        self._peer.welcomed = True

    def _on_release(self, packet: bytes) -> None:
        self._ring.release(ipc.unpack_release(packet))

    def _on_command(self, packet: bytes) -> None:
        body = ipc.parse_object(packet[1:])
        try:
            self._orders.give(from_link(body), self._refuse)
        except WireError as error:
            self.counts["bad_packets"] += 1
            log.warning("link sent a command that is none: %s", error)
            if isinstance(body.get("id"), str):
                self._outbox.append(("answer", 0, _rejected(body["id"], body.get("target"), "E_SYNTAX", str(error))))

    def _on_link_state(self, packet: bytes) -> None:
        body = ipc.parse_object(packet[1:])
        self.broker = body.get("broker") is True
        dropped = body.get("dropped")
        self.link_drops = dropped if isinstance(dropped, dict) else {}
        self.beats += 1

    def _refuse(self, command: Command, code: str, reason: str) -> None:
        """Any thread."""
        self.answer(_rejected(command.id, command.target, code, reason))

    def _take_outbox(self) -> None:
        for _ in range(len(self._outbox)):
            kind, mono_us, content = self._outbox.popleft()
            try:
                self._takers[kind](mono_us, content)
            except (TypeError, ValueError) as error:  # no JSON: this one is lost, the others are not
                self.counts["errors"] += 1
                log.warning("%s for link cannot be packed: %s", kind, error)

    def _take_rows(self, _mono_us: int, rows: Sequence[ipc.Row]) -> None:
        for row in rows:
            self._ring.add_row(row)

    def _take_event(self, mono_us: int, body: Mapping[str, object]) -> None:
        if not self._ring.add_event(mono_us, body):
            self.counts["too_large"] += 1

    def _take_state(self, _mono_us: int, state: tuple[str, Mapping[str, object]]) -> None:
        self._keep_state(state[0], ipc.pack_json(ipc.STATE, {"name": state[0], "body": state[1]}))

    def _take_answer(self, _mono_us: int, body: Mapping[str, object]) -> None:
        if self._peer is not None:
            self._peer.answers.append(ipc.pack_json(ipc.ANSWER, body))

    def _keep_state(self, name: str, packet: bytes) -> None:
        if len(packet) > ipc.MAX_PACKET:
            self.counts["too_large"] += 1
            return
        self._states[name] = packet
        if self._peer is not None:
            self._peer.states[name] = packet

    def _send(self) -> None:
        peer = self._peer
        if peer is None:
            return
        was_blocked = peer.blocked
        peer.send(self._ring)
        if peer.closed:
            self._drop_peer("link is gone")
        elif peer.blocked != was_blocked:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.blocked else 0)
            self._selector.modify(peer.socket, wanted)

    def _drop_peer(self, why: str) -> None:
        peer, self._peer = self._peer, None
        self.broker = False
        if peer is not None:
            log.info("link disconnected: %s", why)
            self._selector.unregister(peer.socket)
            peer.socket.close()

    def _leave(self, left: Left) -> None:
        if len(self._outbox) >= _OUTBOX_LIMIT:
            self.counts["left_behind"] += 1
        else:
            self._outbox.append(left)

    def _ring_bell(self) -> None:
        os.eventfd_write(self._bell, 1)

    def _close(self) -> None:
        self._drop_peer("the guard ends")
        self._selector.close()
        self._listener.close()
        os.close(self._bell)
        self._path.unlink(missing_ok=True)


def _unknown(packet: bytes) -> None:
    raise WireError(f"packet of unknown kind {packet[:1]!r}")


def _rejected(name: object, target: object, code: str, reason: str) -> dict[str, object]:
    return {"id": name, "target": target, "status": "rejected", "code": code, "reason": reason, "blocked_by": []}
