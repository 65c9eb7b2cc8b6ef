"""`cellguard send` against a real broker and a stand-in node."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.mqtt import BrokerSettings, Mqtt


@pytest.fixture
def send(cellguard: Any, mqtt: list[str]) -> Any:
    return lambda *arguments: cellguard("send", *mqtt, *arguments)


def answers(done: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def test_an_obeyed_command_prints_its_answers_and_ends_with_0(node: Any, send: Any) -> None:
    done = send("pump", "on", "--actor", "alice")

    assert done.returncode == 0, done.stderr
    assert "accepted" in done.stdout
    assert "done · read back on=on · 41 ms" in done.stdout
    (target, command), *_ = node.commands
    assert (target, command["on"], command["actor"]) == ("pump", True, "alice")
    assert "hb" not in command


def test_json_prints_each_answer_as_it_came(node: Any, send: Any) -> None:
    done = send("fan", "off", "--json")

    assert [answer["status"] for answer in answers(done)] == ["accepted", "done"]
    assert node.commands[0][1]["on"] is False


def test_an_energising_command_carries_a_heartbeat_just_heard(node: Any, send: Any) -> None:
    done = send("inverter", "current", "-20.5")

    assert done.returncode == 0, done.stderr
    command = node.commands[0][1]
    session, _, counter = command["hb"].partition(":")
    assert (command["mode"], command["setpoint"]) == ("current", -20.5)
    assert session == "9f3c21aa"
    assert node.counter - int(counter) < 30


def test_a_refused_command_says_code_and_reason_and_ends_with_3(node: Any, send: Any) -> None:
    refusal = {
        "status": "rejected",
        "code": "E_THERMAL",
        "reason": "module 3 is hot",
        "blocked_by": ["module-03.temperature_high"],
    }
    node.judge = lambda _command: [refusal]

    done = send("pump", "off")

    assert done.returncode == 3
    assert "E_THERMAL" in done.stdout
    assert "module 3 is hot" in done.stdout
    assert "module-03.temperature_high" in done.stdout


def test_a_heartbeat_found_too_old_is_renewed_once_with_the_one_in_the_answer(node: Any, send: Any) -> None:
    def first_no_then_yes(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["hb"] != "9f3c21aa:77777":
            return [{"status": "rejected", "code": "E_NOT_FRESH", "hb": "9f3c21aa:77777"}]
        return [{"status": "accepted"}, {"status": "done"}]

    node.judge = first_no_then_yes

    done = send("contactor", "close", "--json")

    assert done.returncode == 0, done.stderr
    assert [answer["status"] for answer in answers(done)] == ["rejected", "accepted", "done"]
    assert len({command["id"] for _, command in node.commands}) == 2


def test_a_failed_command_ends_with_1(node: Any, send: Any) -> None:
    node.judge = lambda _command: [{"status": "accepted"}, {"status": "failed", "reason": "read back off"}]

    done = send("pump", "on")

    assert done.returncode == 1
    assert "read back off" in done.stdout


def test_no_answer_ends_with_4_and_says_the_node_s_status(node: Any, send: Any) -> None:
    node.judge = lambda _command: []

    done = send("estop", "--timeout", "0.5")

    assert done.returncode == 4
    assert "no answer from lab/rig-1 within 0.5 s (its status: online)" in done.stderr
    assert node.commands[0][0] == "estop"


def test_accepted_without_a_result_says_so(node: Any, send: Any) -> None:
    node.judge = lambda _command: [{"status": "accepted"}]

    done = send("pump", "on", "--timeout", "0.5")

    assert done.returncode == 4
    assert "accepted, but no answer" in done.stderr


def test_an_energising_command_is_not_sent_without_a_heartbeat(node: Any, send: Any) -> None:
    node.fall_silent()
    done = send("relay1", "on", "--timeout", "1")

    assert done.returncode == 4
    assert "no heartbeat" in done.stderr
    assert node.commands == []


@pytest.mark.usefixtures("node")
def test_two_nodes_must_be_told_apart(send: Any, broker: Any, wait_until: Any) -> None:
    other = Mqtt(BrokerSettings(broker.host, broker.port, "other"))
    other.start()
    wait_until(lambda: other.connected, 5.0, "the other node to connect")
    other.retain("cellguard/v1/lab/rig-2/status", b'{"state":"online"}')
    other.drain(2.0)

    done = send("pump", "on")
    chosen = send("pump", "on", "--node", "rig-1")
    other.stop()

    assert done.returncode == 2
    assert "lab/rig-1, lab/rig-2" in done.stderr
    assert chosen.returncode == 0


def test_a_broker_without_any_node_is_no_answer(send: Any) -> None:
    done = send("pump", "on")

    assert done.returncode == 4
    assert "no node has ever been online" in done.stderr
