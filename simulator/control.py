"""The control socket: JSON requests of tests and trainers, one a line, one answer a line; bad input costs itself only."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import Refused
from simulator.names import Names
from simulator.rig import Rig
from simulator.sockets import bind_unix
from simulator.trace import Trace

LONGEST_REQUEST = 65_536
MOST_CLIENTS = 32
MOST_UNSENT = 128 << 20

Answer = dict[str, Any]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


class Door:
    """Requests as objects, answers as objects."""

    def __init__(self, rig: Rig, names: Names, trace: Trace) -> None:
        self._rig = rig
        self._names = names
        self._trace = trace
        self._verbs: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "set": self._set,
            "release": self._release,
            "get": self._get,
            "fault": self._fault,
            "heal": self._heal,
            "truth": self._truth,
            "trace": self._traced,
            "names": self._list,
            "faults": self._list_faults,
        }

    def answer(self, line: bytes) -> bytes:
        """The answer to one line, with its line feed; never raises."""
        try:
            reply = self._answer(line)
        except Refused as refused:
            reply = {"error": str(refused)}
        return json.dumps(reply).encode() + b"\n"

    def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as problem:
            raise Refused(f"not one JSON object on a line: {problem}") from None
        if not isinstance(request, dict):
            raise Refused(f"a request is a JSON object, not {type(request).__name__}")
        verbs = [verb for verb in self._verbs if verb in request]
        if len(verbs) != 1:
            raise Refused(f"a request has exactly one of {', '.join(self._verbs)}")
        return self._verbs[verbs[0]](request)

    def _set(self, request: dict[str, Any]) -> Answer:
        values = request["set"]
        if not isinstance(values, dict):
            raise Refused('set takes an object {"NAME": VALUE}')
        self._only(request, {"set"})
        self._names.set(values)
        return {"ok": True}

    def _release(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"release"})
        self._names.release(self._strings(request, "release"))
        return {"ok": True}

    def _get(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"get"})
        return {"get": self._names.read(self._strings(request, "get"))}

    def _fault(self, request: dict[str, Any]) -> Answer:
        self._rig.faults.inject(self._string(request, "fault"), _without(request, "fault"))
        return {"ok": True}

    def _heal(self, request: dict[str, Any]) -> Answer:
        self._rig.faults.heal(self._string(request, "heal"), _without(request, "heal"))
        return {"ok": True}

    def _truth(self, request: dict[str, Any]) -> Answer:
        return {"truth": self._rig.truth.since(self._since(request, "truth"))}

    def _traced(self, request: dict[str, Any]) -> Answer:
        """`{"trace":"serial"}` or `{"trace":"can"}`."""
        kinds = {"serial": self._trace.since, "can": self._trace.frames_since}
        kind = request["trace"]
        if not isinstance(kind, str) or kind not in kinds:
            raise Refused(f"trace takes {' or '.join(kinds)}, not {kind!r:.60}")
        return {"trace": kinds[kind](self._since(request, "trace"))}

    def _list(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"names"})
        return {"names": self._names.listed()}

    def _list_faults(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"faults"})
        faults = self._rig.faults
        return {
            "faults": {
                name: {"fields": list(spec.fields), "active": faults.active(name)}
                for name, spec in faults.table.items()
            }
        }

    def _since(self, request: dict[str, Any], verb: str) -> float:
        self._only(request, {verb, "since"})
        since = request.get("since", 0.0)
        if isinstance(since, bool) or not isinstance(since, int | float) or not math.isfinite(since):
            raise Refused(f"since takes CLOCK_MONOTONIC seconds, not {since!r:.60}")
        return since

    def _only(self, request: dict[str, Any], allowed: set[str]) -> None:
        extra = set(request) - allowed
        if extra:
            raise Refused(f"unknown key {min(extra)!r:.60}; allowed: {', '.join(sorted(allowed))}")

    def _string(self, request: dict[str, Any], verb: str) -> str:
        value = request[verb]
        if not isinstance(value, str):
            raise Refused(f"{verb} takes the name of a fault, not {value!r:.60}")
        return value

    def _strings(self, request: dict[str, Any], verb: str) -> list[str]:
        value = request[verb]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Refused(f'{verb} takes a list of names ["NAME"], not {value!r:.60}')
        return value


def _without(request: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != key}


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
