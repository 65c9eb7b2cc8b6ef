"""The control socket: clients of tests and trainers, one request a line, one answer a line; nobody can stall the rig."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from simulator.control_door import Door
from simulator.sockets import bind_unix

LONGEST_REQUEST = 65_536
MOST_CLIENTS = 32
MOST_UNSENT = 128 << 20


class ControlClient:
    """One connection; it closes itself when the other side does or misbehaves."""

    def __init__(self, connection: socket.socket, door: Door) -> None:
        connection.settimeout(0)
        self._socket = connection
        self._door = door
        self._in = bytearray()
        self._out = bytearray()
        self._ending = False
        self.closed = False

    @property
    def fd(self) -> int:
        """The socket's number."""
        return -1 if self.closed else self._socket.fileno()

    @property
    def writing(self) -> bool:
        """Whether answers wait for the other side to read."""
        return bool(self._out)

    def serve(self, _now: float) -> None:
        """The socket is ready: send what waits, read what came."""
        if self._out:
            self.flush()
        if not self.closed:
            self.receive()

    def receive(self) -> None:
        """Read and answer what is complete."""
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        while not self._ending and b"\n" in self._in:
            line, _, rest = bytes(self._in).partition(b"\n")
            self._in = bytearray(rest)
            self._out += self._door.answer(line) if line.strip() else b""
        if len(self._in) > LONGEST_REQUEST:
            self._refuse(f"a request is at most {LONGEST_REQUEST} bytes")
        self.flush()

    def flush(self) -> None:
        """Send what waits; a client that does not read is cut off."""
        try:
            while self._out:
                del self._out[: self._socket.send(self._out[: 1 << 18])]
        except BlockingIOError:
            if len(self._out) > MOST_UNSENT:
                self.close()
            return
        except OSError:
            self.close()
            return
        if self._ending:
            self.close()

    def close(self) -> None:
        """Drop the connection."""
        if not self.closed:
            self.closed = True
            self._socket.close()

    def _refuse(self, text: str) -> None:
        self._out += json.dumps({"error": text}).encode() + b"\n"
        self._in.clear()
        self._ending = True


class ControlServer:
    """Accepts clients at a path."""

    def __init__(self, path: Path, door: Door) -> None:
        self._path = path
        self._door = door
        self._socket = bind_unix(path, socket.SOCK_STREAM)
        self._socket.listen(16)
        self.clients: list[ControlClient] = []
        self.turned_away = 0

    @property
    def fd(self) -> int:
        """The listening socket's number."""
        return self._socket.fileno()

    def accept(self) -> None:
        """Take a waiting client; above the limit it is turned away and counted."""
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        self.forget_closed()
        if len(self.clients) >= MOST_CLIENTS:
            self.turned_away += 1
            connection.close()
            return
        self.clients.append(ControlClient(connection, self._door))

    def forget_closed(self) -> None:
        """Drop clients that have gone."""
        self.clients = [client for client in self.clients if not client.closed]

    def close(self) -> None:
        """Close everything and remove the path."""
        for client in self.clients:
            client.close()
        self.clients = []
        self._socket.close()
        self._path.unlink(missing_ok=True)
