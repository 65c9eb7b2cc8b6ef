"""The demo's own operator against a stand-in node that behaves like a guard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cellguard.demo.attendant import Attendant, Meant
from shared.mqtt import BrokerSettings


class Guardlike:
    """Turns commands into states as the guard would."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.targets: list[str] = []
        self.become("BOOT")
        node.judge = self.obey

    def become(self, state: str, schedule: str = "idle") -> None:
        self.state = state
        self.node.keep("state/safety", {"state": state, "latches": ["module-03.stale"] if state == "LATCHED" else []})
        self.node.keep("state/schedule", {"state": schedule})

    def store(self) -> None:
        self.node.say("receipt", {"collector": "pc-1", "lane": "tele", "ranges": [[1, 5]]})

    def obey(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        word = str(command["action"])
        self.targets.append(word)
        if word in {"start", "resume"} and self.state == "READY":
            self.become("RUN", "running")
        elif word == "close" and self.state == "STANDBY":
            self.become("READY")
        elif word == "open":
            self.become("STANDBY")
        else:
            return [{"status": "rejected", "code": "E_BUSY"}]
        return [{"status": "accepted"}, {"status": "done"}]


@pytest.fixture
def guard(node: Any) -> Guardlike:
    return Guardlike(node)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def attendant(guard: Guardlike, broker: Any, said: list[str]) -> Iterator[Attendant]:
    assert guard.state == "BOOT"
    meant = Meant(BrokerSettings(broker.host, broker.port, "attendant"), "lab", "rig-1", "demo.csv")
    one = Attendant(meant, said.append)
    one.start()
    yield one
    one.leave(10.0)


def test_it_is_ready_at_the_first_receipt_and_asks_for_nothing_before(
    guard: Guardlike, attendant: Attendant, wait_until: Any
) -> None:
    guard.become("STANDBY")
    wait_until(lambda: attendant.view.state("safety").get("state") == "STANDBY", 10.0, "the attendant to see STANDBY")
    assert not attendant.stored.is_set()
    assert guard.targets == []

    wait_until(lambda: guard.store() or attendant.stored.is_set(), 5.0, "the first receipt")


def test_it_connects_then_starts_the_schedule_and_opens_when_it_leaves(
    guard: Guardlike, attendant: Attendant, wait_until: Any
) -> None:
    guard.become("STANDBY")
    wait_until(lambda: guard.store() or guard.state == "RUN", 15.0, "RUN")

    assert attendant.leave(10.0)
    assert guard.targets == ["close", "start", "open"]


def test_once_it_has_run_the_pack_belongs_to_the_person(
    guard: Guardlike, attendant: Attendant, wait_until: Any
) -> None:
    guard.become("RUN", "running")
    wait_until(lambda: guard.store() or attendant._has_run, 10.0, "the attendant to see RUN")

    guard.become("STANDBY")
    before = guard.node.counter
    wait_until(lambda: guard.node.counter > before + 15, 10.0, "two of its turns")
    assert guard.targets == []


def test_a_person_who_opens_as_soon_as_it_runs_is_not_overruled(
    guard: Guardlike, attendant: Attendant, wait_until: Any
) -> None:
    guard.become("RUN", "running")
    wait_until(lambda: attendant._has_run, 5.0, "the attendant to see RUN before it is its turn")
    guard.become("STANDBY")
    wait_until(lambda: guard.store() or attendant.stored.is_set(), 5.0, "the first receipt")
    before = guard.node.counter
    wait_until(lambda: guard.node.counter > before + 15, 10.0, "its turns")
    assert guard.targets == []


def test_after_a_hold_that_passed_it_resumes(guard: Guardlike, attendant: Attendant, wait_until: Any) -> None:
    guard.become("RUN", "running")
    wait_until(lambda: guard.store() or attendant._has_run, 10.0, "the attendant to see RUN")

    guard.become("HOLD", "paused")
    wait_until(lambda: attendant._was_held, 10.0, "the attendant to see HOLD")
    guard.become("READY", "paused")

    wait_until(lambda: guard.state == "RUN", 10.0, "RUN again")
    assert guard.targets == ["resume"]


def test_a_schedule_that_a_person_paused_stays_paused(guard: Guardlike, attendant: Attendant, wait_until: Any) -> None:
    guard.become("RUN", "running")
    wait_until(lambda: guard.store() or attendant._has_run, 10.0, "the attendant to see RUN")

    guard.become("READY", "paused")
    before = guard.node.counter
    wait_until(lambda: guard.node.counter > before + 15, 10.0, "its turns")
    assert guard.targets == []


def test_a_latch_is_never_reset_and_is_said_once(
    guard: Guardlike, attendant: Attendant, said: list[str], wait_until: Any
) -> None:
    guard.become("LATCHED")
    wait_until(lambda: guard.store() or said, 10.0, "a word about the latch")
    before = guard.node.counter
    wait_until(lambda: guard.node.counter > before + 15, 10.0, "two of its turns")

    assert len(said) == 1
    assert "module-03.stale" in said[0]
    assert guard.targets == []
    assert attendant.leave(10.0)


def test_it_comes_back_after_the_broker_was_lost(
    guard: Guardlike, attendant: Attendant, broker: Any, wait_until: Any
) -> None:
    guard.become("STANDBY")
    wait_until(lambda: guard.store() or attendant.stored.is_set(), 10.0, "the first receipt")
    broker.kill()
    broker.start()

    wait_until(lambda: guard.state == "RUN", 20.0, "RUN after the broker came back")
    assert guard.targets[-2:] == ["close", "start"]
