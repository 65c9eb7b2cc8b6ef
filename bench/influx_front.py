"""InfluxDB 2's API in front of an InfluxDB 1.x engine: writes, with faults on order (status, delay, reset), and InfluxQL."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import socket
import struct
import sys
import threading
import urllib.parse
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

from bench.influxd import Influxd

_PRECISION = {"ns": "n", "us": "u", "ms": "ms", "s": "s"}
_REASONS = {401: "unauthorized", 404: "not found", 413: "request too large", 422: "unprocessable entity"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one write request instead of the usual.

    Attributes:
        status: the answer, nothing is stored; 0 stores as usual.
        headers: of that answer.
        delay_s: waits this long before doing anything, or until the front is closed.
        reset: stores, then drops the connection instead of answering.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    reset: bool = False


class Answer(NamedTuple):
    """Status and body of the engine, or of a fault."""

    status: int
    message: str


class Front:
    """A v2 write API on a free port. `faults` are used up one a request, from the left; `writes` and `queries` count requests."""

    token = "t0ken"  # noqa: S105 (no secret: both sides are ours)
    read_token = "r3ad"  # noqa: S105 (same)
    org = "lab"

    def __init__(self, engine: Influxd, *, max_body: int = 25_000_000) -> None:
        self.engine = engine
        self.max_body = max_body
        self.faults: deque[Fault] = deque()
        self.writes = 0
        self.queries = 0
        self.closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def open(self) -> None:
        """Listen; on the same port as before when it was open already."""
        self.closing.clear()
        front = self

        class Handler(_Handler):
            owner = front

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        self.closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Address(NamedTuple):
    """Where a front listens, and what it wants to hear."""

    port: int
    org: str = Front.org
    token: str = Front.token

    @property
    def url(self) -> str:
        """As a client is given it."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def front_process(engine: Influxd) -> Iterator[Address]:
    """A front in a process of its own, as every store is: it shares no interpreter with who is measured."""
    context = multiprocessing.get_context("fork")  # hands over the engine as it is
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(engine, its), daemon=True)
    process.start()
    its.close()
    try:
        yield Address(ours.recv())
    finally:
        process.kill()
        process.join()


def _serve(engine: Influxd, ready: Connection) -> None:
    with Front(engine) as front:
        ready.send(front.port)
        front.closing.wait()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that was killed while it asked."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as it came


class _Handler(BaseHTTPRequestHandler):
    owner: Front
    protocol_version = "HTTP/1.1"
    timeout = 60.0

    def do_POST(self) -> None:
        front = self.owner
        front.writes += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = front.faults.popleft() if front.faults else Fault()
        if front.closing.wait(fault.delay_s):
            self.close_connection = True
            return
        answer = Answer(fault.status, "injected") if fault.status else self._judge(body)
        if fault.reset:
            # a reset, not an orderly end: what was sent but not read is lost
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self._reply(answer, fault.headers)

    def do_GET(self) -> None:
        """InfluxQL, as InfluxDB 2 answers it: the token that may read, then the engine's own answer."""
        target = urllib.parse.urlsplit(self.path)
        if target.path != "/query" or self.headers.get("Authorization") != f"Token {self.owner.read_token}":
            self._reply(Answer(401, "unauthorized access"), {})
            return
        self.owner.queries += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.engine.port, timeout=30.0)
        try:
            connection.request("GET", self.path)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except OSError as error:
            self._reply(Answer(503, f"engine: {error}"), {})
            return
        finally:
            connection.close()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _judge(self, body: bytes) -> Answer:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if self.headers.get("Authorization") != f"Token {self.owner.token}":
            return Answer(401, "unauthorized access")
        if query.get("org") != self.owner.org:
            return Answer(404, f"organization name {query.get('org')!r} not found")
        if len(body) > self.owner.max_body:
            return Answer(413, "request too large")
        return self._forward(query, body)

    def _forward(self, query: dict[str, str], body: bytes) -> Answer:
        precision = _PRECISION[query.get("precision", "ns")]
        target = urllib.parse.urlencode({"db": query.get("bucket", ""), "precision": precision})
        encoding = {"Content-Encoding": self.headers["Content-Encoding"]} if "Content-Encoding" in self.headers else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.engine.port, timeout=30.0)
        try:
            connection.request("POST", f"/write?{target}", body, encoding)
            response = connection.getresponse()
            status, text = response.status, response.read().decode()
        except OSError as error:
            return Answer(503, f"engine: {error}")
        finally:
            connection.close()
        message = "" if status == 204 else str(json.loads(text).get("error", text))
        # as InfluxDB 2 has it: a conflict of types is 422, an absent bucket 404
        conflict = 422 if "field type conflict" in message else status
        return Answer(404 if "database not found" in message else conflict, message)

    def _reply(self, answer: Answer, headers: dict[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        body = b""
        if answer.status != 204:
            code = _REASONS.get(answer.status, "internal error")
            body = json.dumps({"code": code, "message": answer.message}).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # who asked is gone
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: tests read `writes`."""
