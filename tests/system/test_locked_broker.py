"""The whole system over the locked broker, all by certificate; insiders with other rights move no output and forge no point.

Judged by the simulator's truth, the store and the answers, never by the agent's word alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.influx_front import Front
from bench.influxd import PROGRAM, Influxd
from cellguard import toml
from cellguard.demo.plan import NODE, SITE
from tests.broker.locked import HOST, Client, now
from tests.conftest import wait_for
from tests.system.locked_site import NAME, NEIGHBOUR, ROOT, Site, Watcher

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

FORGED = 4242.42
TAKEOVERS, FLOOD = 15, 20_000
TEMPTING = {
    "pump": {"on": True}, "fan": {"on": True}, "relay1": {"on": True}, "relay2": {"on": True}, "relay3": {"on": True},
    "contactor": {"action": "close"}, "inverter": {"mode": "current", "setpoint": -20.0},
    "schedule": {"action": "start", "file": "demo.csv"}, "estop": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        made.start()
        watcher = Watcher(made)
        wait_for(lambda: watcher.bodies("receipt"), 30.0, "the first receipt")
        wait_for(lambda: watcher.bodies("status")[-1]["state"] == "online", 30.0, lambda: str(watcher.bodies("status")))
        wait_for(lambda: watcher.bodies("state/safety")[-1]["state"] == "STANDBY", 30.0, "STANDBY")
        watcher.client.leave()
        yield made
    finally:
        made.close()


@pytest.fixture
def watcher(site: Site) -> Iterator[Watcher]:
    made = Watcher(site)
    wait_for(made.heartbeat, 10.0, "a heartbeat")
    yield made
    made.client.leave()


def test_an_operator_commands_and_everything_is_stored_over_tls(site: Site) -> None:
    done = site.send("pump", "on")

    assert done.returncode == 0, done.stderr
    assert site.simulator(get=["pump"])["get"]["pump"] == 1
    wait_for(lambda: len(site.times()) > 5, 10.0, "stored rows")


def test_a_second_collector_stores_into_a_real_engine_over_tls(site: Site, tmp_path: Path) -> None:
    """With the token that can only write and the one that can only read, as docker compose gives them."""
    if PROGRAM is None:
        pytest.skip("influxd is not installed (apt install influxdb)")
    with Influxd(tmp_path) as engine, Front(engine) as front:
        engine.create("rig")
        tokens = {"token_file": front.token, "read_token_file": front.read_token}
        for name, token in tokens.items():
            (tmp_path / name).write_text(token)
        settings = tmp_path / "collector.toml"
        influx = {"url": front.url, "org": front.org, "bucket": "rig", **{name: name for name in tokens}}
        mqtt = {"host": HOST, "port": site.broker.machines, "tls": site.tls("pc-2")}
        tables = {"collector": {"name": "pc-2"}, "mqtt": mqtt, "store": {"kind": "influx"}, "influx": influx}
        settings.write_text(toml.dumps(tables))
        site.run("second", "collector", "run", "--config", str(settings))
        try:
            wait_for(lambda: engine.query("SELECT * FROM module LIMIT 1", "rig"), 20.0, "a point of a module")
        finally:
            site.processes["second"].terminate()
            site.processes["second"].wait(10.0)


def viewer(site: Site, will: tuple[str, bytes, bool] | None = None) -> Client:
    return site.person("bob", will=will)


def neighbour(site: Site, will: tuple[str, bytes, bool] | None = None) -> Client:
    return site.machine(NEIGHBOUR, will=will)


def other_collector(site: Site, will: tuple[str, bytes, bool] | None = None) -> Client:
    return site.machine("pc-2", will=will)


INSIDERS = (viewer, neighbour, other_collector)


@pytest.mark.parametrize("insider", INSIDERS, ids=lambda who: who.__name__)
def test_an_insider_without_the_operators_role_moves_no_output(
    insider: Callable[..., Client], site: Site, watcher: Watcher
) -> None:
    """Plain, retained, by a last will, and with a heartbeat that a collector can hear."""
    since, commands = (
        time.monotonic(),
        {
            f"{ROOT}/cmd/{target}": json.dumps({"id": f"forged-{target}", "hb": watcher.heartbeat(), **body}).encode()
            for target, body in TEMPTING.items()
        },
    )
    client = insider(site)
    for topic, command in commands.items():
        for retain in (False, True):
            client.publish([topic], command, retain=retain)
    client.leave()
    for topic, command in commands.items():
        insider(site, will=(topic, command, True)).cut()
    mark = watcher.ask("schedule", {"id": f"mark-{insider.__name__}", "action": "stop"})

    assert mark["status"] == "done"
    assert watcher.moved(since) == set()
    assert not [ack for ack in watcher.bodies("ack") if str(ack["id"]).startswith("forged")]


def test_old_commands_are_answered_and_not_acted_on(site: Site, watcher: Watcher) -> None:
    """A close that worked is recorded, and played back: as it was, under a new id, after a restart of link, retained."""
    recorded = {"id": "close-1", "actor": "alice", "action": "close", "hb": watcher.heartbeat()}
    closed = watcher.ask("contactor", recorded)
    assert closed["status"] == "done", closed
    assert watcher.ask("contactor", {"id": "open-1", "action": "open"})["status"] == "done"
    wait_for(lambda: not site.simulator(get=["circuit.closed"])["get"]["circuit.closed"], 10.0, "an open circuit")
    time_of_beat = time.monotonic()
    wait_for(lambda: time.monotonic() - time_of_beat > 3.0, 5.0, "the heartbeat to be old")
    since = time.monotonic()

    def replay(body: dict[str, Any]) -> str:
        return str(watcher.ask("contactor", body)["code"])

    assert replay(recorded) == "E_DUPLICATE"
    assert replay({**recorded, "id": "close-2"}) == "E_NOT_FRESH"
    watcher.client.publish([f"{ROOT}/cmd/contactor"], json.dumps({**recorded, "id": "kept"}).encode(), retain=True)
    assert watcher.answer("kept")["code"] == "E_NOT_FRESH"
    before = watcher.answered()
    site.again("link", "edge", "link", "--config", str(site.folders.edge_toml))
    assert watcher.answer("kept", before)["code"] == "E_RETAINED"
    watcher.client.publish([f"{ROOT}/cmd/contactor"], b"", retain=True)
    assert replay({**recorded, "id": "close-3"}) == "E_NOT_FRESH"
    assert replay(recorded) == "E_DUPLICATE"

    assert watcher.moved(since) == set()


def test_an_operators_last_will_closes_nothing_hours_later(site: Site, watcher: Watcher) -> None:
    """Even somebody who may command cannot leave a command behind: nothing echoes a heartbeat that is not there yet."""
    since, topic = time.monotonic(), f"{ROOT}/cmd/contactor"
    command = {"id": "last-will", "action": "close", "hb": "00000000:1"}
    site.person("alice", will=(topic, json.dumps(command).encode(), True)).cut()

    assert watcher.answer("last-will")["code"] == "E_NOT_FRESH"
    assert watcher.moved(since) == set()
    watcher.client.publish([topic], b"", retain=True)


def test_a_burst_of_old_commands_is_answered_one_by_one(watcher: Watcher) -> None:
    since, names = time.monotonic(), [f"burst-{number}" for number in range(100)]
    for name in names:
        command = {"id": name, "action": "close", "hb": "00000000:1"}
        watcher.client.fire(f"{ROOT}/cmd/contactor", json.dumps(command).encode())
        if name.endswith("9"):  # as fast as a person with a script, not faster than link may answer
            watcher.answer(name)

    codes = {watcher.answer(name)["code"] for name in names}
    assert codes <= {"E_NOT_FRESH", "E_RATE"}
    assert watcher.moved(since) == set()


def test_a_flood_from_a_viewer_delays_no_command(site: Site, watcher: Watcher) -> None:
    """Many messages on a command topic, as fast as the broker takes them; the broker drops each."""
    since, flood = time.monotonic(), site.person("bob")
    for number in range(FLOOD):
        flood.fire(f"{ROOT}/cmd/pump", b'{"on":true,"id":"f%d"}' % number)
    sent_s = time.monotonic() - since
    answer = watcher.ask("schedule", {"id": "during-the-flood", "action": "stop"})

    assert FLOOD / sent_s > 5_000
    assert answer["status"] == "done"
    assert answer["took_ms"] < 2_000
    assert watcher.moved(since) == set()
    flood.leave()


def test_a_loop_of_takeovers_moves_nothing_and_loses_nothing(site: Site, watcher: Watcher) -> None:
    since, began_us = time.monotonic(), time.time_ns() // 1000
    taken = 0
    while taken < TAKEOVERS:
        thief = site.person("bob", client_id=NAME)
        thief.grab([f"{ROOT}/cmd/#", "#"])
        taken += thief.up
        thief.fire(f"{ROOT}/tele/module-01", b'{"forged":1}')
        thief.leave()
    over_us = time.time_ns() // 1000
    wait_for(lambda: site.times()[-1] > over_us + 2_000_000, 30.0, "records from after the attack")
    wait_for(lambda: max(holes(site, began_us)) < 450_000, 20.0, "every record of the attack's time")

    assert watcher.moved(since) == set()
    assert watcher.ask("schedule", {"id": "after-the-takeovers", "action": "stop"})["status"] == "done"


def holes(site: Site, since_us: int) -> list[int]:
    """Distances in µs between the rows stored since then."""
    times = [time_us for time_us in site.times() if time_us > since_us - 1_000_000]
    return [later - earlier for earlier, later in pairwise(times)]


def test_no_forged_point_gets_into_the_store(site: Site) -> None:
    """A neighbour with a certificate of its own writes what it likes: into others' trees, and with tags of others in its own."""
    body = {"spool": "a1b2c3d4", "lane": "tele", "seq": 1, "boot": "00000000", "clock": "synced",
            "t0": time.time_ns() // 1000, "t": [0], "v": {"CMA_Voltage": [FORGED]}}  # fmt: skip
    own = f"cellguard/v1/{NEIGHBOUR}"
    sources = [
        "module-01",
        f"module-01,node={NODE}",
        "module-01 CMA_Voltage=1",
        f"x/../../{NODE}/tele/module-01",
    ]
    for insider in INSIDERS:
        client = insider(site)
        client.publish([f"{ROOT}/tele/module-01", f"{ROOT}/event/alarm"], json.dumps(body).encode())
        client.leave()
    client = neighbour(site)
    for number, source in enumerate(sources, start=2):
        client.publish(
            [f"{own}/tele/{source}"], json.dumps({**body, "seq": number, "node": NODE, "site": SITE}).encode()
        )
    event = {
        "spool": "a1b2c3d4",
        "lane": "event",
        "seq": 1,
        "ts": 1,
        "kind": f"alarm,node={NODE}",
        "alarm": f"a,node={NODE}",
    }
    client.publish([f"{own}/event/alarm"], json.dumps(event).encode())
    client.publish([f"{own}/tele/module-02"], json.dumps({**body, "seq": 9}).encode())
    client.leave()
    wait_for(lambda: str(FORGED) in site.stored("line", "rig-9"), 10.0, "the neighbour's own point")

    lines = [line.split(" ")[0].split(",") for line in site.stored("line", "rig-9").splitlines()]
    assert {tag for line in lines for tag in line if tag.startswith("node=")} == {"node=rig-9"}
    assert str(FORGED) not in site.stored("line")


def test_a_collector_that_comes_back_soon_has_everything(site: Site) -> None:
    """The agent may not read the collector's status here: the first receipt after a silence tells it."""
    began_us = time.time_ns() // 1000
    site.processes["collector"].kill()
    site.processes["collector"].wait()
    stopped = time.monotonic()
    wait_for(lambda: time.monotonic() - stopped > 8.0, 10.0, "records to pile up")
    site.run("collector", "collector", "run", "--config", str(site.folders.collector_toml))
    back = time.monotonic()
    wait_for(lambda: max(holes(site, began_us), default=10**9) < 450_000 and site.times()[-1] > began_us + 9_000_000,
             20.0, "no hole in what is stored")  # fmt: skip

    assert time.monotonic() - back < 10.0


def test_a_certificate_that_was_revoked_is_said_in_links_log_and_nothing_is_lost(site: Site) -> None:
    """Last, as it takes the agent's certificate away and gives it a new one."""
    began_us = time.time_ns() // 1000
    log = site.folders.logs / "link.log"
    site.broker.office.revoke(NAME, now())
    site.broker.stop()
    site.broker.start()
    wait_for(
        lambda: "our certificate (tls.cert) has been revoked" in log.read_text(), 15.0, lambda: log.read_text()[-600:]
    )
    tries = log.read_text().count("has been revoked")
    site.broker.office.issue("agent", NAME, now(), 10)
    site.broker.reload()
    site.again("link", "edge", "link", "--config", str(site.folders.edge_toml))
    over_us = time.time_ns() // 1000
    wait_for(lambda: site.times()[-1] > over_us + 1_000_000, 30.0, "fresh records in the store")
    wait_for(lambda: max(holes(site, began_us)) < 450_000, 20.0, "every record of the time without a broker")

    assert tries == 1
