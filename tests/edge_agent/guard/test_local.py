"""The local door: lines in, answers out, and nobody who holds it up."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from edge_agent.guard.inbox import Inbox
from edge_agent.guard.local import LINES_PER_S, MAX_LINE_BYTES, SOCKET_NAME, LocalDoor
from edge_agent.guard.orders import Orders
from edge_agent.guard.safety.interface import Command
from edge_agent.local_client import NoAnswer, ask, judged
from shared.errors import CellguardError, Refused, Unavailable

Soon = Callable[[Callable[[], object]], None]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def door(runtime_dir: Path, inbox: Inbox, tmp_path: Path) -> Iterator[LocalDoor]:
    made = LocalDoor(runtime_dir, Orders(inbox, tmp_path, lambda: pytest.fail("not asked")))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def client(door: LocalDoor, runtime_dir: Path) -> Iterator[BinaryIO]:
    del door  # it only has to be open
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5.0)
        connection.connect(str(runtime_dir / SOCKET_NAME))
        with connection.makefile("rwb") as lines:
            yield lines


def say(client: BinaryIO, text: str | bytes) -> None:
    client.write((text.encode() if isinstance(text, str) else text) + b"\n")
    client.flush()


def next_command(inbox: Inbox) -> Command:
    for _ in range(10):
        inbox.collect(1.0)
        if found := inbox.commands():
            return found[0]
    pytest.fail("no command came")


@pytest.mark.parametrize(
    ("line", "klass"),
    [
        ({"target": "estop"}, "S"),
        ({"target": "contactor", "action": "open"}, "S"),
        ({"target": "contactor", "action": "close"}, "E"),
        ({"target": "arm", "hours": 2.0}, "E"),
        ({"target": "commission"}, "E"),
        ({"target": "service", "on": True}, "E"),
        ({"target": "safety", "action": "reset_latch", "latch": "x"}, "E"),
        ({"target": "status"}, "A"),
    ],
)
def test_each_command_reaches_the_core_marked_as_local(
    client: BinaryIO, inbox: Inbox, line: dict[str, Any], klass: str
) -> None:
    say(client, json.dumps(line))
    command = next_command(inbox)
    assert {"target": command.target, **command.body} == line
    assert (command.klass, command.local) == (klass, True)
    assert command.actor.startswith("local:")


def test_accepted_and_done_come_to_the_one_who_asked(client: BinaryIO, door: LocalDoor, inbox: Inbox) -> None:
    say(client, '{"target":"estop"}')
    name = next_command(inbox).id
    door.answer({"id": "of-someone-else", "target": "pump", "status": "done"})
    door.answer({"id": name, "target": "estop", "status": "accepted"})
    door.answer({"id": name, "target": "estop", "status": "done"})
    assert [json.loads(client.readline())["status"] for _ in range(2)] == ["accepted", "done"]


@pytest.mark.parametrize(
    "line",
    [
        "estop",
        "[1]",
        "{}",
        '{"target":"warp"}',
        '{"target":"safety","action":"reset_latch"}',
        '{"target":5}',
        b"\xff\xfe",
        "[" * 3000,
    ],
)
def test_a_wrong_line_is_answered_with_what_is_wrong_and_the_next_one_works(
    client: BinaryIO, inbox: Inbox, line: Any
) -> None:
    say(client, line)
    answer = json.loads(client.readline())
    assert (answer["status"], answer["code"]) == ("rejected", "E_SYNTAX")
    assert answer["reason"]
    say(client, '{"target":"estop"}')
    assert next_command(inbox).target == "estop"


def test_an_endless_line_is_refused(client: BinaryIO) -> None:
    say(client, b"x" * (MAX_LINE_BYTES + 1))
    assert "4096" in json.loads(client.readline())["reason"]


def test_two_commands_in_one_write_are_two_commands(client: BinaryIO, inbox: Inbox, soon: Soon) -> None:
    say(client, '{"target":"estop"}\n{"target":"status"}')
    found = []
    soon(lambda: found.extend(inbox.commands()) or len(found) == 2)
    assert [command.target for command in found] == ["estop", "status"]


def test_who_sends_too_fast_is_told_so_and_disconnected_but_an_emergency_stop_is_taken(
    client: BinaryIO, door: LocalDoor, inbox: Inbox, soon: Soon
) -> None:
    say(client, b"\n".join([b'{"target":"pump","on":true}'] * LINES_PER_S + [b'{"target":"estop"}']))
    found: list[Command] = []
    soon(lambda: found.extend(inbox.commands()) or len(found) == LINES_PER_S + 1)
    assert [command.target for command in found].count("estop") == 1
    say(client, b'{"target":"pump","on":true}')
    assert json.loads(client.readline())["code"] == "E_RATE"
    assert client.readline() == b""
    assert door.counts["too_fast"] == 1


def test_who_leaves_before_the_answer_disturbs_nobody(
    door: LocalDoor, runtime_dir: Path, inbox: Inbox, client: BinaryIO
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hasty:
        hasty.connect(str(runtime_dir / SOCKET_NAME))
        hasty.sendall(b'{"target":"estop"}\n')
        name = next_command(inbox).id
    door.answer({"id": name, "target": "estop", "status": "done"})
    say(client, '{"target":"status"}')
    name = next_command(inbox).id
    door.answer({"id": name, "target": "status", "status": "done"})
    assert json.loads(client.readline())["id"] == name


def test_the_client_says_that_no_guard_is_there(runtime_dir: Path) -> None:
    with pytest.raises(Unavailable, match="is it running"):
        ask(runtime_dir / SOCKET_NAME, {"target": "estop"}, 1.0)


@pytest.mark.usefixtures("door")
def test_the_client_says_that_no_answer_came(runtime_dir: Path) -> None:
    with pytest.raises(NoAnswer, match="no answer"):
        ask(runtime_dir / SOCKET_NAME, {"target": "estop"}, 0.1)


@pytest.mark.usefixtures("door")
def test_a_refusal_is_told_with_code_reason_and_what_blocks_it(runtime_dir: Path) -> None:
    answer = ask(runtime_dir / SOCKET_NAME, {"target": "warp"}, 5.0)
    with pytest.raises(Refused, match=r"E_SYNTAX.*allowed"):
        judged(answer)
    with pytest.raises(CellguardError, match=r"blocked by module-01\.stale"):
        judged({"status": "failed", "target": "contactor", "blocked_by": ["module-01.stale"]})
