"""Every question of every dashboard, asked of a real engine that a running demo has stored into: none may come back empty."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from bench.influx_front import Front
from bench.influxd import PROGRAM, Influxd
from cellguard.dashboards.files import FOLDER
from cellguard.dashboards.panel import SILENT_MS
from collector.minutes import Series
from collector.sinks.influx import InfluxSettings
from collector.sinks.influx_points import InfluxPoints
from collector.states import state_line
from tests.conftest import wait_for
from tests.system.conftest import RunningDemo

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "rig"
MODULES = 2
HAS_NO_VALUE_HERE = {("Gaps", "to"), ("Gaps", "rows")}
"""The demo's one gap is of unknown size: what a killed guard had not sent."""
Json = dict[str, Any]


class Asked(NamedTuple):
    """One statement of one dashboard. `columns` are the labels that must have a value somewhere."""

    where: str
    text: str
    step: str = "1s"


def documents() -> list[Json]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / FOLDER).glob("*.json"))]


def questions() -> list[Any]:
    """Every query of every panel, variable, annotation and alert rule."""
    asked = []
    for document in documents():
        title = document["title"]
        asked += [
            Asked(f"{title}: variable {variable['name']}", variable["query"]["query"])
            for variable in document["templating"]["list"]
        ]
        asked += [
            Asked(f"{title}: annotation {one['name']}", one["target"]["query"])
            for one in document["annotations"]["list"]
        ]
        asked += [
            Asked(f"{title}: {panel['title']} {target['refId']}", target["query"], panel["interval"])
            for panel in document["panels"]
            for target in panel.get("targets", [])
        ]
    for path in (ROOT / "deploy/grafana/provisioning/alerting").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            asked += [
                Asked(f"alert {rule['title']}", data["model"]["query"])
                for rule in group["rules"]
                for data in rule["data"]
                if data["datasourceUid"] == "cellguard"
            ]
    return [pytest.param(one, id=one.where) for one in asked]


class Store:
    """The engine with what the demo has left in it, asked as Grafana asks."""

    def __init__(self, points: InfluxPoints, begun_s: float) -> None:
        self._points = points
        self._begun_ms = int(begun_s * 1000)

    def ask(self, asked: Asked, module: str = "") -> list[Series]:
        """The answer, every macro and variable filled in."""
        chosen = module or f"({'|'.join(f'{number:02d}' for number in range(1, MODULES + 1))})"
        filled = {
            "$timeFilter": f"time >= {self._begun_ms - 3_600_000}ms and time <= {int(time.time() * 1000)}ms",
            "$__interval": asked.step,
            "${site:regex}": "lab",
            "${node:regex}": "demo",
            "${module:regex}": chosen,
        }
        text = asked.text
        for macro, value in filled.items():
            text = text.replace(macro, value)
        assert "$" not in re.sub(r"\$/", "", text), f"{asked.where}: {text}"
        return self._points.query(text)

    def has(self, statement: str) -> bool:
        """Whether anything is found."""
        return bool(self._points.query(statement))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A short run with all that can happen in it: a schedule, commands, a refusal, a trip, a killed guard."""
    if PROGRAM is None:
        pytest.skip("influxd is not installed (apt install influxdb)")
    begun_s = time.time()
    folder = tmp_path_factory.mktemp("dashboards")
    (folder / "influxd").mkdir()
    (folder / "demo").mkdir()
    with Influxd(folder / "influxd") as engine, Front(engine) as front:
        engine.create(BUCKET)
        points = InfluxPoints(InfluxSettings(front.url, front.org, BUCKET, front.token), front.read_token)
        found = Store(points, begun_s)
        demo = RunningDemo(folder / "demo", "--modules", str(MODULES))
        collector = _collect(folder, demo.port, front)
        try:
            _live(demo, found)
            demo.process.send_signal(signal.SIGINT)
            demo.books()
            power = {"ts": int(time.time() * 1e6), "state": "running", "setpoint": 5.0, "unit": "kW"}
            points.write([state_line("cellguard/v1/lab/demo/state/schedule", json.dumps(power).encode())])
            for measurement in ("module_1m", "inverter_1m"):
                wait_for(lambda name=measurement: found.has(f'SELECT * FROM "{name}" LIMIT 1'), 40.0, measurement)  # noqa: S608 (our own names)
            yield found
        finally:
            demo.close()
            collector.terminate()
            collector.wait(20.0)
            points.close()


def _collect(folder: Path, port: int, front: Front) -> subprocess.Popen[bytes]:
    """A second collector beside the demo's own: this one stores into the engine."""
    for name, token in (("token", front.token), ("read-token", front.read_token)):
        (folder / name).write_text(token)
    (folder / "collector.toml").write_text(
        f'[collector]\nname = "pc-2"\nhealth_s = 1.0\n[mqtt]\nport = {port}\n[store]\nkind = "influx"\n'
        f'[influx]\nurl = "{front.url}"\norg = "{front.org}"\nbucket = "{BUCKET}"\n'
        'token_file = "token"\nread_token_file = "read-token"\n'
    )
    command = [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(folder / "collector.toml")]
    with (folder / "collector.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _live(demo: RunningDemo, store: Store) -> None:
    wait_for(demo.flows, 25.0, "20 A through a closed circuit")
    wait_for(lambda: store.has('SELECT * FROM "schedule" WHERE "state" = \'running\' LIMIT 1'), 15.0, "the schedule")
    for way in ("current > 20", "current < -20"):
        text = f"SELECT current FROM inverter WHERE {way} LIMIT 1"  # noqa: S608 (our own names)
        wait_for(lambda text=text: store.has(text), 40.0, way)
    wait_for(lambda: demo.latest("state/schedule").get("step", 0) >= 3, 45.0, "the schedule's third step")
    wait_for(lambda: demo.publish("cmd/fan", {"id": "fan-1", "actor": "judge", "on": True}), 5.0, "room to send")
    wait_for(lambda: demo.publish("cmd/relay1", {"id": "relay-1", "actor": "judge", "on": True}), 5.0, "room to send")
    for status in ("done", "rejected"):
        text = f"SELECT * FROM event WHERE actor = 'judge' AND status = '{status}' LIMIT 1"  # noqa: S608 (our own names)
        wait_for(lambda text=text: store.has(text), 10.0, f"a command that is {status}")
    demo.simulator(set={"module.1.temperature_c": 55})
    wait_for(lambda: demo.latest("state/safety").get("state") == "LATCHED", 10.0, "LATCHED")
    wait_for(lambda: store.has('SELECT * FROM "event" WHERE "to_state" = \'LATCHED\' LIMIT 1'), 10.0, "the trip")
    os.kill(demo.pids()["guard"], signal.SIGKILL)
    wait_for(lambda: store.has('SELECT * FROM "gap" LIMIT 1'), 20.0, "the gap of the killed guard")
    os.kill(demo.pids()["link"], signal.SIGKILL)
    wait_for(lambda: store.has('SELECT * FROM "event" WHERE "kind" = \'session\' LIMIT 1'), 20.0, "its new session")


@pytest.mark.parametrize("asked", questions())
def test_no_question_of_a_dashboard_comes_back_empty(store: Store, asked: Asked) -> None:
    answer = store.ask(asked)
    assert answer, f"{asked.where} is empty: {asked.text}"
    panel = asked.where.split(": ")[-1][:-2]
    for name in {column for one in answer for column in one.columns} - {"time"}:
        values = [row[one.columns.index(name)] for one in answer if name in one.columns for row in one.rows]
        if (panel, name) not in HAS_NO_VALUE_HERE:
            assert any(value is not None for value in values), f"{asked.where}: no value of {name}: {asked.text}"


@pytest.mark.parametrize("module", [f"{number:02d}" for number in range(1, MODULES + 1)])
@pytest.mark.parametrize("asked", [one for one in questions() if one.id.startswith("Modules: ")])
def test_the_repeated_row_finds_each_module_alone(store: Store, asked: Asked, module: str) -> None:
    if "${module:regex}" in asked.text:
        assert store.ask(asked, module), f"{asked.where} is empty for module {module}"


def test_the_variables_offer_what_there_is(store: Store) -> None:
    offered = {
        variable["name"]: {row[1] for one in store.ask(Asked("", variable["query"]["query"])) for row in one.rows}
        for document in documents()
        for variable in document["templating"]["list"]
    }
    assert offered == {"site": {"lab"}, "node": {"demo"}, "module": {"01", "02"}}


def test_the_charge_shown_is_the_charge_that_flowed(store: Store) -> None:
    """Against the raw rows, summed up here: each current held until the next row, at most for a second."""
    (raw,) = store.ask(Asked("", 'SELECT "current" FROM "inverter" WHERE $timeFilter'))
    flowed = {"discharged": 0.0, "charged": 0.0}
    for (time_ns, current), (next_ns, _) in pairwise(raw.rows):
        held_s = min(next_ns - time_ns, 10**9) / 1e9
        flowed["discharged" if current > 0 else "charged"] += abs(current) * held_s / 3600
    for asked in (one.values[0] for one in questions() if one.id in {"Test run: Charge A", "Test run: Charge B"}):
        (series,) = store.ask(asked)
        name = series.columns[1]
        assert flowed[name] > 0.1
        # where the data begin or end inside one, a sample counts for the whole of its 10 s
        assert series.rows[-1][1] == pytest.approx(flowed[name], abs=35 * 10 / 3600)


@pytest.mark.parametrize("measurement", ["safety", "outputs", "schedule", "health"])
def test_a_state_is_told_again_before_its_line_breaks_off(store: Store, measurement: str) -> None:
    (told,) = store.ask(Asked("", f'SELECT * FROM "{measurement}" WHERE $timeFilter AND "node" = \'demo\''))  # noqa: S608 (our own names)
    gaps_ns = [later[0] - sooner[0] for sooner, later in pairwise(told.rows)]
    assert len(gaps_ns) > 3
    assert max(gaps_ns) < SILENT_MS * 1_000_000 / 2


def test_a_silent_node_keeps_a_row_of_zeros_for_the_alert(store: Store) -> None:
    """The demo has ended: asked again later, its last minute counts nothing and the rule can fire."""
    alert = next(one.values[0] for one in questions() if one.id == "alert A node is silent")
    later = alert.text.replace("time > now() - 24h", "time > now() - 24h AND time < now() + 3m")
    (series,) = store.ask(Asked("", later))
    assert series.tags == {"node": "demo", "site": "lab"}
    assert series.rows[-1][1] == 0
