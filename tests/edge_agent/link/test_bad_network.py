"""Scenario 4 and a slow link: between link and a real broker lies a relay that swallows, cuts or slows."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chaos.wire import Wire
from tests.edge_agent.link.conftest import LinkProcess

RECONNECT_S, ALARM_S = 3.0, 1.0
UNDER_WAY_S, SLOW_ALARM_S, RIGHT_S = 15.0, 5.0, 10.0
"""The first alarm on a link that has just become slow waits behind what was under way by then; those after it do not."""


class Near(NamedTuple):
    """A broker as link sees it: through the wire."""

    host: str
    port: int


@pytest.fixture
def wire(broker: Any) -> Iterator[Wire]:
    one = Wire(broker.port)
    one.slow(0)
    yield one
    one.close()


@pytest.fixture
def link(tmp_path: Path, wire: Wire) -> Iterator[LinkProcess]:
    one = LinkProcess(tmp_path, Near("127.0.0.1", wire.port))
    one.start()
    yield one
    one.kill()


@pytest.fixture
def busy(guard: Any) -> Iterator[Callable[[], None]]:
    """guard makes 200 rows a second all the time, until what this yields is called."""
    ended = threading.Event()

    def make() -> None:
        while not ended.wait(0.05):
            for _ in range(10):
                guard.row(0, (float(guard.next), 2.0, 3.0))

    thread = threading.Thread(target=make)

    def end() -> None:
        ended.set()
        thread.join()

    thread.start()
    yield end
    end()


def alarms(collector: Any) -> set[str]:
    return {str(body["alarm"]) for body in collector.bodies() if body.get("kind") == "alarm"}


def settled(collector: Any, guard: Any) -> bool:
    books = collector.last("state/health").get("books", {})
    return books.get("spooled") == 0 and guard.released == guard.next - 1


@pytest.mark.parametrize("reset", [True, False], ids=["what was under way is lost", "what was under way comes late"])
@pytest.mark.usefixtures("link", "busy")
def test_a_half_open_network_loses_nothing_and_shows_alarms_at_once_when_it_is_whole(
    wait_until: Callable[..., object], guard: Any, collector: Any, wire: Wire, reset: bool
) -> None:
    wait_until(lambda: collector.units() > 100, 25, "records")
    wire.hole()
    wait_until(lambda: collector.last("status").get("state") == "offline", 10, "the will")
    given = {f"test.alarm-{number}" for number in range(3)}
    for name in given:
        guard.event("alarm", alarm=name, level="DANGER", state="active")
    signal.sigtimedwait([], 3.0)  # the rest of an hour
    collector.seen.clear()
    wire.open(reset=reset)
    healed = time.monotonic()
    wait_until(lambda: "status" in collector.seen, RECONNECT_S + 1.0, "the connection")
    connected = time.monotonic()
    wait_until(lambda: alarms(collector) >= given, ALARM_S + 1.0, "the alarms")
    assert time.monotonic() - connected <= ALARM_S
    assert connected - healed <= RECONNECT_S
    for name in given:
        guard.event("alarm", alarm=f"{name}-again", level="DANGER", state="active")
    wait_until(lambda: len(alarms(collector)) == 6, 3, "the alarms of after")
    assert json.loads(collector.seen["status"][0].payload)["state"] != "offline"


def overtaking(collector: Any, name: str) -> tuple[bool, bool]:
    """Whether telemetry that was recorded after an alarm came before it, and whether older telemetry came after it."""
    bodies = list(collector.stored.values())
    place = next(index for index, body in enumerate(bodies) if body.get("alarm") == name)
    before = [body["t0"] for body in bodies[:place] if body["lane"] == "tele"]
    after = [body["t0"] for body in bodies[place:] if body["lane"] == "tele"]
    given = bodies[place]["ts"]
    return max(before) > given, min(after) < given


@pytest.mark.usefixtures("link")
def test_on_a_slow_link_alarms_pass_the_telemetry_and_once_it_is_quick_again_all_is_right_and_nothing_missing(
    wait_until: Callable[..., object], guard: Any, collector: Any, wire: Wire, busy: Callable[[], None]
) -> None:
    wait_until(lambda: collector.units() > 100, 25, "records")
    wire.slow(2000)  # 16 kbit/s: less than is produced
    signal.sigtimedwait([], 4.0)
    given, took = [f"test.slow-{number}" for number in range(6)], []
    for name in given:
        began = time.monotonic()
        guard.event("alarm", alarm=name, level="DANGER", state="active")
        wait_until(lambda name=name: name in alarms(collector), UNDER_WAY_S, "the alarm")
        took.append(time.monotonic() - began)
    assert max(took[1:]) < SLOW_ALARM_S
    assert collector.last("state/health")["drops"].get("mqtt_disconnects", 0) == 0
    guard.state("state/safety", state="LATCHED")
    since, row = time.time_ns() // 1000, guard.next
    wire.slow(0)
    healed = time.monotonic()
    wait_until(lambda: collector.last("state/safety")["state"] == "LATCHED", RIGHT_S, "the state")
    wait_until(lambda: collector.last("state/module-01").get("a", 0) >= row, RIGHT_S, "the newest values")
    wait_until(lambda: collector.last("state/health")["ts"] > since, RIGHT_S, "the health")
    wait_until(
        lambda: (collector.last("status")["state"], collector.last("status")["why"]) == ("online", []),
        RIGHT_S,
        "online",
    )
    assert time.monotonic() - healed < RIGHT_S
    busy()
    wait_until(lambda: settled(collector, guard), 20, "everything")
    assert {overtaking(collector, name) for name in given[1:]} == {(False, True)}
    rows = [value for body in collector.stored.values() if body["lane"] == "tele" for value in body["v"]["a"]]
    assert len(rows) == len(set(rows)) == guard.next - 1 - len(given)


def test_whatever_the_network_did_the_books_balance(
    wait_until: Callable[..., object], guard: Any, collector: Any, link: LinkProcess, wire: Wire
) -> None:
    wait_until(lambda: guard.connections >= 1, 25, "link connecting to guard")
    for number in range(300):
        guard.row(0, (float(number), 2.0, 3.0))
        if number % 100 == 20:
            wire.hole()
        if number % 100 == 60:
            wire.cut()
        if number % 100 == 90:
            wire.open(reset=True)
        signal.sigtimedwait([], 0.02)
    wait_until(lambda: collector.units() > 300, 30, "every record")
    wait_until(lambda: settled(collector, guard), 10, "the receipts")
    assert link.end() == 0
    books = link.books()
    assert books["gaps"] == 0
    assert books["produced"] == collector.units()
