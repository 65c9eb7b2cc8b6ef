"""Speaks to the guard's local door: one command, its answers until the last one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson

from shared.errors import EXIT_NO_ANSWER, CellguardError, Refused, Unavailable
from shared.ipc import parse_object

FINAL = frozenset({"rejected", "done", "failed", "expired"})
_MOST_BYTES = 4_000_000


class NoAnswer(CellguardError):
    """The guard took the command and did not answer in time."""

    exit_code = EXIT_NO_ANSWER


def ask(
    path: Path,
    command: Mapping[str, object],
    timeout_s: float,
    heard: Callable[[dict[str, object]], None] = lambda _: None,
) -> dict[str, object]:
    """Send one command; returns its last answer, and calls `heard` with each one before it.

    Raises:
        Unavailable: no guard listens there.
        NoAnswer: none came within `timeout_s`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(orjson.dumps(command) + b"\n")
            for answer in _answers(connection):
                if answer.get("status") in FINAL:
                    return answer
                heard(answer)
        except TimeoutError as error:
            raise NoAnswer(f"{path}: no answer within {timeout_s:g} s") from error
        except OSError as error:
            raise Unavailable(f"{path}: no guard to talk to ({error.strerror or error}); is it running?") from error
    raise Unavailable(f"{path}: the guard has closed the connection")


def judged(answer: Mapping[str, object]) -> dict[str, object]:
    """The answer when it is `done`; raises Refused or CellguardError saying why not."""
    status = answer.get("status")
    blocked = answer.get("blocked_by")
    because = f" (blocked by {', '.join(str(one) for one in blocked)})" if isinstance(blocked, list) and blocked else ""
    text = f"{answer.get('target')}: {status} {answer.get('code') or ''}: {answer.get('reason') or 'no reason given'}{because}"
    if status == "rejected":
        raise Refused(text)
    if status != "done":
        raise CellguardError(text)
    return dict(answer)


def _answers(connection: socket.socket) -> Iterator[dict[str, object]]:
    received = b""
    while chunk := connection.recv(65536):
        *lines, received = (received + chunk).split(b"\n")
        for line in lines:
            yield parse_object(line)
        if len(received) > _MOST_BYTES:
            return
