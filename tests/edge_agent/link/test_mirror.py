"""What guard says of itself as retained topics, also when it falls silent or is replaced."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from edge_agent.link.clock import Clock, Reading
from edge_agent.link.jobs import Snapshot
from edge_agent.link.mirror import Mirror, sources_of
from edge_agent.link.status import Moment, Status, offline, reasons
from shared import ipc
from shared.errors import WireError

SOURCES = {"module-01": ("a", "b"), "inverter": ("current",)}


class Topics:
    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any], int]] = []
        self.clock = Clock(Reading(0, 1_000_000_000, synced=True))
        self.mirror = Mirror(
            self.clock, "1.2.3", lambda topic, body, qos: self.published.append((topic, json.loads(body), qos))
        )

    def hello(self, session: str = "s1", now: float = 0.0) -> None:
        self.mirror.hello({"session": session, "info": {"modules": [1]}, "catalog": {"module": {}}}, SOURCES, now)

    def state(self, name: str, **body: object) -> None:
        self.mirror.state(ipc.pack_json(ipc.STATE, {"name": name, "body": body}))

    def row(self, number: int, values: tuple[float, ...], now: float, bad: tuple[tuple[int, str], ...] = ()) -> None:
        self.mirror.row(ipc.pack_row(ipc.Row(number, int(now * 1e6), 0, values, bad)), now)

    def last(self, name: str) -> dict[str, Any]:
        return [body for topic, body, _ in self.published if topic == name][-1]


@pytest.fixture
def topics() -> Topics:
    return Topics()


def test_stamps_become_unix_time_and_info_names_the_version(topics: Topics) -> None:
    topics.hello()
    topics.state("alarm/module-01.stale", state="active", mono_us=5, since_mono_us=3)
    assert topics.last("alarm/module-01.stale") == {"state": "active", "ts": 1_000_000_005, "since": 1_000_000_003}
    assert topics.last("info")["version"] == "1.2.3"
    assert topics.last("info")["modules"] == [1]
    assert topics.last("catalog") == {"module": {}}


def test_only_the_newest_row_is_shown_and_a_silent_source_becomes_stale_once(topics: Topics) -> None:
    topics.hello()
    topics.row(1, (1.0, 2.0), 1.0)
    topics.row(2, (3.0, math.nan), 1.1, ((1, "crc"),))
    topics.mirror.publish_rows(1.2)
    assert topics.last("state/module-01") == {"ts": 1_001_100_000, "a": 3.0, "bad": {"b": "crc"}}
    topics.mirror.publish_rows(3.7)
    topics.mirror.publish_rows(9.9)
    shown = [body for topic, body, _ in topics.published if topic == "state/module-01"]
    assert len(shown) == 2
    assert shown[1] == {"ts": 1_001_100_000, "bad": {"a": "stale", "b": "crc"}}


def test_alarms_of_a_guard_that_is_gone_are_cleared_unless_its_successor_repeats_them(topics: Topics) -> None:
    topics.hello("s1")
    topics.state("alarm/a", state="active")
    topics.state("alarm/b", state="latched")
    topics.hello("s2", now=10.0)
    topics.state("alarm/b", state="active")
    topics.mirror.publish_rows(12.0)
    assert topics.last("alarm/a")["state"] == "active"
    topics.mirror.publish_rows(15.1)
    assert topics.last("alarm/a")["state"] == "cleared"
    assert topics.last("alarm/b")["state"] == "active"


def test_once_the_clock_is_set_everything_that_the_broker_keeps_is_dated_by_it(topics: Topics) -> None:
    topics.hello()
    topics.state("alarm/a", state="active", mono_us=5, since_mono_us=3)
    topics.state("state/outputs", mono_us=7)
    assert topics.clock.sample(Reading(1_000_000, 5_001_000_000, synced=True)) == 4_000_000_000
    topics.mirror.say_again()
    assert topics.last("alarm/a") == {"state": "active", "ts": 5_000_000_005, "since": 5_000_000_003}
    assert topics.last("state/outputs")["ts"] == 5_000_000_007
    assert topics.last("info")["ts"] >= 5_000_000_000
    assert topics.clock.sample(Reading(2_000_000, 5_002_000_100, synced=True)) == 0


@pytest.mark.parametrize("name", ["cmd/pump", "state/../x", "alarm/a/b", "", "tele/module-01", "status"])
def test_guard_cannot_name_a_topic_that_is_not_its_own(topics: Topics, name: str) -> None:
    with pytest.raises(WireError, match="unknown name"):
        topics.state(name, x=1)


@pytest.mark.parametrize(
    "sources",
    [None, [1], [{"name": "a b", "signals": []}], [{"name": "m", "signals": ["a", "a"]}], [{"name": "m"}],
     [{"name": "m", "signals": []}, {"name": "m", "signals": []}]],
)  # fmt: skip
def test_a_hello_with_sources_that_cannot_be_is_refused(sources: object) -> None:
    with pytest.raises(WireError, match="HELLO"):
        sources_of({"sources": sources})


# ---- status -----------------------------------------------------------------------------------------------------------

GOOD = Snapshot({}, 0, 0, 0.0, {}, "")


def test_status_says_why_it_is_degraded_and_since_when() -> None:
    status = Status("9f3c21aa")
    payload = status.due(Moment(0.0, 100, "synced", ("guard is not connected",)))
    assert payload is not None
    assert json.loads(payload) == {
        "state": "degraded", "session": "9f3c21aa", "ts": 100, "since": 100, "clock": "synced",
        "why": ["guard is not connected"],
    }  # fmt: skip
    assert status.due(Moment(1.0, 101, "synced", ("guard is not connected",))) is None
    other = status.due(Moment(2.0, 102, "synced", ("arduino absent",)))
    assert json.loads(other or b"")["since"] == 100
    fine = status.due(Moment(3.0, 103, "synced", ()))
    assert (json.loads(fine or b"")["state"], json.loads(fine or b"")["since"]) == ("online", 103)
    assert status.due(Moment(12.9, 104, "synced", ())) is None
    assert status.due(Moment(13.0, 105, "synced", ())) is not None
    status.moved(1_000)
    again = json.loads(status.due(Moment(13.1, 1_106, "synced", ())) or b"")
    assert (again["since"], again["ts"]) == (1_103, 1_106)
    assert json.loads(offline("9f3c21aa", Moment(0.0, 7, "synced", ("x",))))["state"] == "offline"


def test_the_reasons_name_guard_spool_and_receipts() -> None:
    assert reasons(None, ("ignored",), GOOD) == ("guard is not connected",)
    assert reasons(2.6, ("ignored",), GOOD) == ("guard is silent",)
    assert reasons(0.1, ("arduino absent",), GOOD) == ("arduino absent",)
    bad = GOOD._replace(trouble="the spool cannot be written: full", oldest_s=11.0)
    assert reasons(0.1, (), bad) == ("the spool cannot be written: full", "no receipts for more than 10 s")
