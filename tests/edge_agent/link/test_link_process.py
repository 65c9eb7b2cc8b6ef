"""link as a process between a guard on the real socket, a real broker and a collector: what it promises, seen from outside."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.mqtt import BrokerSettings, Mqtt


def online(collector: Any) -> bool:
    return collector.last("status").get("state") in ("online", "degraded") and "hb" in collector.seen


def settled(collector: Any, produced: int) -> bool:
    books = collector.last("state/health").get("books", {})
    return bool(books) and books["spooled"] == 0 and books["produced"] >= produced


def test_rows_and_events_reach_the_collector_and_the_books_balance(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    link = new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard")
    for number in range(50):
        guard.row(0, (1.5, float(number), math.nan), ((2, "stale"),) if number == 3 else ())
        guard.row(1, (-35.0, math.nan))
    guard.event("alarm", alarm="module-01.stale", since_mono_us=time.monotonic_ns() // 1000)
    wait_until(lambda: collector.units() >= 101 + 1, 25, "everything stored")  # and link's own session event
    wait_until(lambda: guard.released == 101, 3, "the release")
    module = [body for body in collector.bodies() if "a" in body.get("v", {})]
    assert sorted(value for body in module for value in body["v"]["b"]) == [float(number) for number in range(50)]
    assert any(body["bad"]["c"][0][1] == "stale" for body in module if "bad" in body)
    assert all(0 <= abs(body["t0"] / 1e6 - time.time()) < 30 for body in module)
    inverter = [body for body in collector.bodies() if "current" in body.get("v", {})]
    assert all("power" not in body["v"] for body in inverter)
    alarm = next(body for body in collector.bodies() if body.get("alarm"))
    assert abs(alarm["since"] - alarm["ts"]) < 1_000_000
    wait_until(lambda: settled(collector, 102), 5, "the receipts")
    assert collector.last("state/health")["disk"].keys() == {"written_mb", "mb_per_hour"}
    assert link.end() == 0
    assert link.books() == {
        "produced": 102,
        "gaps": 0,
        "quarantined": 0,
        "spooled": 0,
        "released": 102,
        "unknown_gaps": 0,
    }
    wait_until(lambda: collector.last("status")["state"] == "offline", 2, "the last word")


def test_kill_nine_of_link_at_any_moment_loses_and_doubles_nothing(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    link = new_link()
    made = 0
    for turn in range(4):
        wait_until(lambda turn=turn: guard.connections >= turn + 1, 25, "link connecting")
        for number in range(40):
            guard.row(number % 2, (float(made), 1.0, 2.0) if number % 2 == 0 else (float(made), 1.0))
            made += 1
            if number % 10 == 5:
                guard.event("state", value=made)
                made += 1
            signal.sigtimedwait([], 0.004 * (turn + 1))
        link.kill()
        link.start()
    wait_until(lambda: guard.released == made, 10, "everything durable")
    wait_until(lambda: settled(collector, made + 5), 10, "everything receipted")
    values = [value for body in collector.bodies() for value in body.get("v", {}).get("a", [])]
    assert len(values) == len(set(values)) == 80
    assert link.end() == 0
    books = link.books()
    assert books["gaps"] == books["spooled"] == 0
    assert books["produced"] == books["released"] == collector.units() >= made


def test_a_guard_that_is_replaced_leaves_one_gap_of_unknown_size(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, new_guard: Any
) -> None:
    link = new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: guard.released == 1, 5, "the first release")
    guard.close()
    wait_until(lambda: "guard is not connected" in collector.last("status").get("why", []), 3, "being degraded")
    other = new_guard()
    wait_until(lambda: other.connections >= 1, 5, "link connecting to the new guard")
    other.row(1, (1.0, 2.0))
    other.lose(7)
    other.row(1, (3.0, 4.0))
    wait_until(lambda: other.released == 9, 5, "the release")
    gaps = lambda: [body for body in collector.bodies() if body.get("kind") == "gap"]  # noqa: E731 read again each time
    wait_until(lambda: len(gaps()) == 2, 5, "the gap records")
    assert [gap["to"] for gap in gaps() if gap["session"] == guard.session] == [None]
    assert [(gap["from"], gap["to"], gap["rows"]) for gap in gaps() if gap["session"] == other.session] == [(2, 8, 7)]
    wait_until(lambda: settled(collector, 13), 5, "the receipts")
    assert link.end() == 0
    books = link.books()
    assert (books["gaps"], books["unknown_gaps"], books["spooled"]) == (7, 1, 0)
    assert books["produced"] == books["released"] + books["gaps"]
    assert collector.units() == books["released"]


def test_a_broker_that_comes_back_empty_shows_the_truth_again_and_nothing_is_lost(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, broker: Any
) -> None:
    link = new_link()
    guard.state("alarm/module-01.stale", state="active", since_mono_us=1)
    wait_until(lambda: online(collector), 25, "online")
    broker.kill()
    for number in range(30):
        guard.row(0, (float(number), 2.0, 3.0))
    guard.event("alarm", alarm="x")
    collector.seen.clear()
    broker.start()
    began = time.monotonic()
    wait_until(lambda: collector.mqtt.connected, 5, "the collector")
    wanted = {"status", "info", "catalog", "state/safety", "state/health", "state/module-01", "alarm/module-01.stale"}
    wait_until(lambda: wanted <= set(collector.seen), 10, "the retained topics")
    wait_until(lambda: settled(collector, 32) and collector.units() >= 32, 10, "the backlog")
    assert time.monotonic() - began < 10
    assert link.end() == 0
    assert link.books()["gaps"] == 0
    assert link.books()["produced"] == collector.units()


def test_every_topic_of_the_contract_is_there_and_is_a_json_object(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    new_link()
    for name in ("state/outputs", "state/schedule", "alarm/module-01.stale"):
        guard.state(name, mono_us=time.monotonic_ns() // 1000, state="idle")
    wait_until(lambda: online(collector), 25, "online")
    guard.row(0, (1.0, math.nan, 3.0), ((1, "crc"),))
    wanted = {"status", "hb", "info", "catalog", "state/safety", "state/outputs", "state/schedule", "state/health"}
    wanted |= {"state/module-01", "tele/module-01", "event/session", "alarm/module-01.stale"}
    wait_until(lambda: wanted <= set(collector.seen), 8, f"all of {wanted}")
    for topic in wanted - {"hb"}:
        assert isinstance(collector.last(topic), dict), topic
    session, _, counter = collector.seen["hb"][-1].payload.decode().partition(":")
    assert session == collector.last("status")["session"]
    assert counter.isdigit()
    shown = collector.last("state/module-01")
    assert (shown["a"], shown["c"], shown["bad"]) == (1.0, 3.0, {"b": "crc"})
    assert abs(collector.last("state/outputs")["ts"] / 1e6 - time.time()) < 30
    wait_until(
        lambda: collector.last("state/module-01").get("bad") == {"a": "stale", "b": "crc", "c": "stale"}, 5, "stale"
    )


def test_a_command_gets_its_answers_and_a_retained_one_is_refused(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    link = new_link()
    wait_until(lambda: online(collector), 25, "online")
    collector.send("pump", {"id": "p1", "on": True, "actor": "alice"})
    wait_until(lambda: len(collector.acks("p1")) == 2, 3, "both answers")
    assert [ack["status"] for ack in collector.acks("p1")] == ["accepted", "done"]
    ack = collector.acks("p1")[1]
    assert (ack["target"], ack["readback"], ack["blocked_by"]) == ("pump", {"on": True}, [])
    assert ack["took_ms"] < 500
    assert guard.commands[-1] == {"id": "p1", "target": "pump", "class": "S", "actor": "alice", "body": {"on": True}}
    collector.send("fan", {"id": "kept", "on": False}, retain=True)
    wait_until(lambda: len(collector.acks("kept")) == 2, 3, "the live one's answers")
    before = len(guard.commands)
    link.kill()
    link.start()
    wait_until(lambda: len(collector.acks("kept")) == 3, 8, "the refusal")
    assert collector.acks("kept")[2]["code"] == "E_RETAINED"
    assert len(guard.commands) == before
    collector.send("fan", {"id": "kept", "on": False})
    wait_until(lambda: len(collector.acks("kept")) == 4, 3, "the refusal of a used id")
    assert collector.acks("kept")[3]["code"] == "E_DUPLICATE"
    assert collector.acks("kept")[3]["first"]["status"] == "accepted"


def test_a_flood_of_commands_leaves_health_heartbeat_and_everything_that_leads_towards_safe(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, broker: Any
) -> None:
    new_link()
    wait_until(lambda: online(collector), 25, "online")
    flood = Mqtt(BrokerSettings(broker.host, broker.port, "flood"))
    flood.start()
    wait_until(lambda: flood.connected, 5, "the flood connecting")
    sent, began = 0, time.monotonic()

    def flooding(until: Callable[[], bool]) -> bool:
        nonlocal sent
        sent += sum(flood.publish(f"{collector.root}/cmd/pump", b'{"on":true}', qos=0) for _ in range(50))
        return until()

    counters = lambda: collector.last("state/health").get("drops", {})  # noqa: E731 read again each time
    wait_until(lambda: flooding(lambda: counters().get("mqtt_received", 0) > 5000), 20, "the flood being received")
    collector.send("estop", {"id": "stop"})
    wait_until(lambda: flooding(lambda: len(collector.acks("stop")) == 2), 3, "both answers to the stop")
    seen = {topic: len(collector.seen[topic]) for topic in ("hb", "state/health")}
    wait_until(
        lambda: flooding(lambda: all(len(collector.seen[topic]) >= count + 2 for topic, count in seen.items())),
        6,
        "life",
    )
    to_guard = sum(command["target"] == "pump" for command in guard.commands)
    flood.stop(0.1)
    assert counters()["commands_joined"] + counters().get("commands_dropped", 0) > 3000
    assert to_guard <= 20 * (time.monotonic() - began) + 2


def test_energising_needs_a_heartbeat_and_a_silent_guard_is_said_to_be_silent(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    new_link()
    guard.reply = lambda _command: []
    wait_until(lambda: online(collector), 25, "online")
    collector.send("contactor", {"action": "close"})
    wait_until(lambda: "ack" in collector.seen, 3, "the refusal")
    refusal = collector.last("ack")
    assert (refusal["code"], refusal["status"]) == ("E_NOT_FRESH", "rejected")
    collector.send("contactor", {"id": "c1", "action": "close", "hb": refusal["hb"]})
    wait_until(lambda: len(guard.commands) == 1, 3, "guard getting it")
    wait_until(lambda: len(collector.acks("c1")) == 1, 4, "the answer")
    assert collector.acks("c1")[0]["code"] == "E_NO_ANSWER"
    wait_until(lambda: any(b.get("code") == "E_NOT_FRESH" for b in collector.bodies()), 3, "the event")


def test_without_guard_a_command_is_refused_and_the_rest_goes_on(
    wait_until: Any, collector: Any, new_link: Any
) -> None:
    new_link()
    wait_until(lambda: online(collector), 25, "online")
    collector.send("estop", b"{not json")
    wait_until(lambda: "ack" in collector.seen, 3, "the answer")
    assert collector.last("ack")["code"] == "E_NO_GUARD"
    assert "guard is not connected" in collector.last("status")["why"]


def test_a_spool_full_of_rubbish_is_set_aside_and_guard_s_records_are_kept(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, tmp_path: Path
) -> None:
    (tmp_path / "spool.sqlite").write_bytes(b"this is no database" * 500)
    new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: guard.released == 1, 5, "the release")
    assert (tmp_path / "spool.sqlite.corrupt-1").read_bytes().startswith(b"this is no database")
    wait_until(lambda: any(b.get("of") == "spool" for b in collector.bodies()), 5, "the record of it")


def test_packets_that_make_no_sense_are_counted_and_the_next_ones_are_taken(
    wait_until: Any, guard: Any, collector: Any, new_link: Any
) -> None:
    new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    wait_until(lambda: online(collector), 25, "online")
    for packet in (b"S{", b"?x", b"A[]", b'S{"name":"cmd/pump","body":{}}', b"R", b"E\x01"):
        guard.send_raw(packet)
    guard.row(0, (1.0, 2.0))  # one value too few: a gap of one
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: guard.released == 2, 5, "the release")
    drops = lambda: collector.last("state/health").get("drops", {})  # noqa: E731 read again each time
    wait_until(lambda: drops().get("packets_malformed") == 3 and drops().get("malformed") == 1, 5, "the counts")
    assert collector.last("state/health")["books"]["gaps"] == 1
    assert "cmd/pump" not in collector.seen


def test_an_oversized_command_costs_only_itself(wait_until: Any, guard: Any, collector: Any, new_link: Any) -> None:
    new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    wait_until(lambda: online(collector), 25, "online")
    collector.send("fan", b'{"on":true,"actor":"' + b"x" * 3000 + b'"}')
    wait_until(lambda: collector.last("ack").get("code") == "E_SIZE", 3, "the refusal")
    collector.send("fan", json.dumps({"id": "next", "on": True}).encode())
    wait_until(lambda: len(collector.acks("next")) == 2, 3, "the next one's answers")


def test_a_spool_that_cannot_be_opened_holds_nothing_up_and_nothing_is_lost_when_it_can(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, tmp_path: Path
) -> None:
    (tmp_path / "spool.sqlite").mkdir()  # no file can be opened there
    new_link()
    wait_until(
        lambda: any("spool" in why for why in collector.last("status").get("why", [])), 8, "the reason on status"
    )
    for number in range(10):
        guard.row(0, (float(number), 2.0, 3.0))
    collector.send("estop", b"")
    wait_until(lambda: collector.last("ack").get("status") == "done", 3, "a command in the meantime")
    assert guard.released == 0
    (tmp_path / "spool.sqlite").rmdir()
    wait_until(lambda: guard.released == 10, 8, "guard's records being taken after all")
    wait_until(lambda: not any("spool" in why for why in collector.last("status")["why"]), 5, "the reason being gone")
    assert collector.last("state/health")["books"]["gaps"] == 0


def test_alarms_pass_a_backlog_within_a_second_of_the_connection(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, broker: Any
) -> None:
    link = new_link()
    wait_until(lambda: online(collector), 25, "online")
    collector.receipting = False
    broker.kill()
    for number in range(400):
        guard.row(number % 2, (1.0, 2.0, 3.0) if number % 2 == 0 else (1.0, 2.0))
    number = guard.event("alarm", alarm="late")
    wait_until(lambda: guard.released >= number, 5, "being durable without a broker")
    said = len(collector.seen["status"])
    broker.start()
    wait_until(lambda: collector.mqtt.connected, 5, "the collector")
    wait_until(lambda: len(collector.seen["status"]) > said, 5, "link being back")
    began = time.monotonic()
    wait_until(lambda: any(body.get("alarm") == "late" for body in collector.bodies()), 5, "the alarm")
    assert time.monotonic() - began < 1.0
    assert link.end() == 0


def test_a_row_after_a_large_backlog_of_guard_is_durable_as_soon_as_any_other(
    wait_until: Any, guard: Any, new_link: Any
) -> None:
    for number in range(60_000):  # 30 commits that do not wait for their time
        guard.row(0, (float(number), 2.0, 3.0))
    new_link()
    wait_until(lambda: guard.released > 59_000, 40, "the backlog")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: guard.released == 60_001, 1.5, "the newest row being durable")


def test_mistake_18_link_starts_and_records_before_the_pc_is_there(
    wait_until: Any, guard: Any, collector: Any, new_link: Any, broker: Any
) -> None:
    broker.kill()
    new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard without a broker")
    guard.row(0, (1.0, 2.0, 3.0))
    wait_until(lambda: guard.released == 1, 5, "being durable without a broker")
    wait_until(lambda: guard.link_states and guard.link_states[-1]["broker"] is False, 3, "guard knowing of it")
    broker.start()
    wait_until(lambda: any(key[1] == "tele" for key in list(collector.stored)), 12, "the row")
    wait_until(lambda: guard.link_states[-1]["broker"] is True, 3, "guard knowing of that too")


def test_mistake_19_a_large_record_arrives_whole(wait_until: Any, guard: Any, collector: Any, new_link: Any) -> None:
    new_link()
    wait_until(lambda: guard.connections >= 1, 25, "link connecting")
    text = '{"nested":"}{"}' * 3000
    guard.event("state", text=text)
    wait_until(lambda: any(body.get("text") == text for body in collector.bodies()), 5, "the event")
    assert guard.connections == 1


def test_a_second_program_with_our_client_id_is_an_alarm(
    wait_until: Any, guard: Any, collector: Any, broker: Any, new_link: Any
) -> None:
    new_link()
    wait_until(lambda: online(collector), 25, "online")
    assert collector.last("alarm/link.client_taken_over")["state"] == "cleared"
    twin = Mqtt(BrokerSettings(broker.host, broker.port, "cellguard-lab-rig-1"))
    twin.start()
    try:
        wait_until(lambda: collector.last("alarm/link.client_taken_over")["state"] == "active", 15, "the alarm")
    finally:
        twin.stop(0.5)
    wait_until(lambda: "another program" in str(collector.last("status").get("why")), 25, "the status")
    assert guard.connections == 1
