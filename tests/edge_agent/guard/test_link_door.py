"""The door to link over a real SEQPACKET socket: nothing lost, nothing waited for."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.guard.inbox import COMMANDS_A_TURN, Inbox
from edge_agent.guard.link_door import SOCKET_NAME, LinkDoor
from edge_agent.guard.orders import Orders
from edge_agent.guard.ring import Ring
from edge_agent.guard.safety.interface import Command
from shared import ipc
from shared.errors import ConfigError, Unavailable

SESSION = "00c0ffee"
Connect = Callable[[], Any]
Connector = Callable[[Path], Any]
Soon = Callable[[Callable[[], object]], None]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def door(runtime_dir: Path, inbox: Inbox, tmp_path: Path) -> Iterator[LinkDoor]:
    made = LinkDoor(
        runtime_dir, {"session": SESSION, "pid": 1}, Orders(inbox, tmp_path, lambda: pytest.fail("not asked"))
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def connect(door: LinkDoor, runtime_dir: Path, link_peer: Connector) -> Connect:
    del door  # it only has to be open
    return lambda: link_peer(runtime_dir / SOCKET_NAME)


def row(mono_us: int, width: int = 57) -> ipc.Row:
    return ipc.Row(0, mono_us, 0, (1.5,) * width, ())


def command(target: str, body: dict[str, Any], name: str = "a1") -> bytes:
    return ipc.pack_json(ipc.COMMAND, {"id": name, "target": target, "class": "S", "actor": "alice", "body": body})


def test_hello_comes_first_then_every_state_then_the_records(door: LinkDoor, connect: Connect) -> None:
    door.state("state/safety", {"state": "STANDBY"})
    door.state("alarm/x", {"state": "cleared"})
    door.rows([row(1)])
    door.event(2, {"kind": "state"})
    peer = connect()
    peer.greet()
    kinds = [packet[:1] for packet in peer.until(lambda packet: packet[:1] == ipc.EVENT)]
    assert kinds == [ipc.HELLO, ipc.STATE, ipc.STATE, ipc.ROW, ipc.EVENT]


def test_hello_tells_which_numbers_are_held(door: LinkDoor, connect: Connect, soon: Soon) -> None:
    door.rows([row(1), row(2)])
    soon(lambda: door.fill()["records"] == 2)
    hello = connect().json(ipc.HELLO)
    assert (hello["first"], hello["next"], hello["session"]) == (1, 3, SESSION)


def test_no_record_is_sent_before_link_has_said_what_it_has(door: LinkDoor, connect: Connect) -> None:
    door.rows([row(1), row(2), row(3)])
    peer = connect()
    peer.json(ipc.HELLO)
    door.state("state/safety", {"state": "RUN"})
    assert peer.receive()[:1] == ipc.STATE
    peer.greet({SESSION: 2})
    assert peer.records(3) == [3]


def test_what_was_not_released_is_sent_again_after_a_reconnect(door: LinkDoor, connect: Connect, soon: Soon) -> None:
    door.rows([row(mono_us) for mono_us in range(10)])
    first = connect()
    first.greet()
    assert first.records(10) == list(range(1, 11))
    first.send(ipc.pack_release(4))
    soon(lambda: door.fill()["records"] == 6)
    first.close()
    second = connect()
    second.greet({SESSION: 4, "deadbeef": 99})
    assert second.records(10) == [5, 6, 7, 8, 9, 10]


def test_what_was_released_is_forgotten(door: LinkDoor, connect: Connect, soon: Soon) -> None:
    door.rows([row(1), row(2)])
    peer = connect()
    peer.greet()
    peer.records(2)
    peer.send(ipc.pack_release(2))
    soon(lambda: door.fill()["records"] == 0)
    assert door.fill()["next"] == 3


def test_the_newest_link_wins(door: LinkDoor, connect: Connect) -> None:
    old = connect()
    old.json(ipc.HELLO)
    new = connect()
    new.json(ipc.HELLO)
    assert old.receive() == b"", "the older connection is closed"
    new.greet()
    door.rows([row(1)])
    assert new.records(1) == [1]


def test_a_link_that_does_not_read_holds_up_nobody_and_loses_nothing(
    door: LinkDoor, connect: Connect, soon: Soon
) -> None:
    slow = connect()
    slow.greet()
    started = time.monotonic()
    for mono_us in range(3000):
        door.rows([row(mono_us)])
    assert time.monotonic() - started < 1.0, "leaving packets does not wait for the link"
    soon(lambda: door.fill()["next"] == 3001)
    assert slow.records(3000) == list(range(1, 3001))


def test_states_that_change_while_link_does_not_read_arrive_as_their_last_value(
    door: LinkDoor, connect: Connect, soon: Soon
) -> None:
    peer = connect()
    peer.greet()
    door.rows([row(mono_us) for mono_us in range(2000)])
    soon(lambda: door.fill()["next"] == 2001)
    for count in range(500):
        door.state("state/safety", {"n": count})
    seen = peer.until(lambda packet: packet[:1] == ipc.STATE and b'"n":499' in packet)
    assert seen[-1][:1] == ipc.STATE


def test_a_full_ring_says_what_it_dropped(
    runtime_dir: Path, inbox: Inbox, tmp_path: Path, link_peer: Connector, soon: Soon
) -> None:
    small = LinkDoor(
        runtime_dir,
        {"session": SESSION},
        Orders(inbox, tmp_path, lambda: pytest.fail("not asked")),
        Ring(cap_bytes=50_000),
    )
    small.start()
    small.rows([row(mono_us) for mono_us in range(1000)])
    soon(lambda: small.fill()["next"] == 1001)
    peer = link_peer(runtime_dir / SOCKET_NAME)
    peer.greet()
    packets = peer.until(lambda packet: packet[:1] == ipc.EVENT)
    gap = ipc.unpack_event(packets[-1]).body
    assert gap["from"] == 1
    assert gap["to"] == 1000 - sum(packet[:1] == ipc.ROW for packet in packets)
    small.stop()


def test_a_command_reaches_the_loop_with_its_class_and_wakes_it(inbox: Inbox, connect: Connect) -> None:
    peer = connect()
    peer.greet()
    peer.send(command("pump", {"on": True}))
    inbox.collect(5.0)
    (found,) = inbox.commands()
    assert (found.id, found.target, found.klass, found.actor, found.body) == ("a1", "pump", "S", "alice", {"on": True})
    assert not found.local


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"id": "a1", "target": "pump", "actor": "x", "body": {"on": "yes"}}, "on"),
        ({"id": "a1", "target": "warp", "actor": "x", "body": {}}, "target"),
        ({"id": "a1", "target": "pump", "actor": "x"}, "body"),
        ({"id": "a1", "target": "pump", "actor": 5, "body": {"on": True}}, "actor"),
    ],
)
def test_a_command_that_is_none_is_refused_with_what_is_wrong(
    connect: Connect, inbox: Inbox, body: dict[str, Any], named: str
) -> None:
    peer = connect()
    peer.greet()
    peer.send(ipc.pack_json(ipc.COMMAND, body))
    answer = peer.json(ipc.ANSWER)
    assert (answer["status"], answer["code"]) == ("rejected", "E_SYNTAX")
    assert named in answer["reason"]
    assert inbox.commands() == []


def test_too_many_waiting_commands_are_refused_but_those_towards_safe_are_not(connect: Connect, inbox: Inbox) -> None:
    peer = connect()
    peer.greet()
    for number in range(200):
        peer.send(command("pump", {"on": False}, f"a{number}"))
    peer.send(command("estop", {}, "stop"))
    answer = peer.json(ipc.ANSWER)
    assert (answer["code"], answer["id"]) == ("E_RATE", "a128")
    for number in range(129, 200):
        assert peer.json(ipc.ANSWER)["id"] == f"a{number}"
    inbox.collect(5.0)
    taken = inbox.commands()
    assert taken[0].target == "estop"
    assert [one.id for one in taken[1:]] == [f"a{number}" for number in range(COMMANDS_A_TURN)]
    assert inbox.commands()[0].id == f"a{COMMANDS_A_TURN}"


def test_commands_left_for_the_next_turn_wake_the_loop(inbox: Inbox) -> None:
    for number in range(COMMANDS_A_TURN + 1):
        assert inbox.command(Command(f"p{number}", "pump", "S", "alice", {"on": True}))
    inbox.collect(1.0)
    inbox.commands()
    began = time.monotonic()
    inbox.collect(5.0)
    assert time.monotonic() - began < 1.0
    assert [one.id for one in inbox.commands()] == [f"p{COMMANDS_A_TURN}"]


def test_garbage_from_link_is_counted_and_the_connection_lives_on(door: LinkDoor, connect: Connect, soon: Soon) -> None:
    peer = connect()
    for packet in (b"?", b"C{", b"K12", b"h[]", b'h{"have":{"00c0ffee":-1}}', b"\xff" * 1000):
        peer.send(packet)
    soon(lambda: door.counts["bad_packets"] == 6)
    peer.greet()
    door.rows([row(1)])
    assert peer.records(1) == [1]


def test_link_says_whether_it_has_the_broker_and_is_not_believed_once_it_is_gone(
    door: LinkDoor, connect: Connect, soon: Soon
) -> None:
    peer = connect()
    peer.send(ipc.pack_json(ipc.LINK_STATE, {"broker": True, "dropped": {}}))
    soon(lambda: door.broker)
    assert door.beats == 1
    peer.close()
    soon(lambda: not door.broker)


def test_what_cannot_be_packed_is_lost_alone(door: LinkDoor, connect: Connect) -> None:
    peer = connect()
    peer.greet()
    door.event(1, {"kind": "alarm", "value": object()})
    door.event(2, {"kind": "alarm", "text": "x" * ipc.MAX_PACKET})
    door.event(3, {"kind": "state"})
    assert peer.records(1) == [1]
    assert (door.counts["errors"], door.counts["too_large"]) == (1, 1)


def test_owner_and_group_may_connect_and_a_stale_socket_is_replaced(
    runtime_dir: Path, inbox: Inbox, tmp_path: Path
) -> None:
    path = runtime_dir / SOCKET_NAME
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(path))
    stale.close()
    door = LinkDoor(runtime_dir, {"session": SESSION}, Orders(inbox, tmp_path, lambda: pytest.fail("not asked")))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    door.stop()
    assert not path.exists()


@pytest.mark.usefixtures("door")
def test_a_second_guard_does_not_take_the_socket_of_a_living_one(
    runtime_dir: Path, inbox: Inbox, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="another guard"):
        LinkDoor(runtime_dir, {"session": SESSION}, Orders(inbox, tmp_path, lambda: pytest.fail("not asked")))


def test_a_path_too_long_for_a_socket_is_a_configuration_error(tmp_path: Path, inbox: Inbox) -> None:
    with pytest.raises(ConfigError, match="runtime_dir"):
        LinkDoor(
            tmp_path / ("x" * 100), {"session": SESSION}, Orders(inbox, tmp_path, lambda: pytest.fail("not asked"))
        )
