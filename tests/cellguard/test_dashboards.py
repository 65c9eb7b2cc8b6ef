"""The dashboards that are checked in, against the catalog, the rules and what Grafana needs to read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cellguard.dashboards.files import FILES, FOLDER, rendered
from cellguard.dashboards.layout import GRID_WIDTH
from cellguard.dashboards.panel import DATASOURCE
from edge_agent.guard.safety.rules import DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / FOLDER
Json = dict[str, Any]


def documents() -> list[Json]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STORED.glob("*.json"))]


def panels(kind: str = "") -> list[Any]:
    return [
        pytest.param(panel, id=f"{document['title']}: {panel['title']}")
        for document in documents()
        for panel in document["panels"]
        if (panel["type"] == kind if kind else panel["type"] != "row")
    ]


def test_the_files_are_as_the_catalog_and_the_rules_have_them() -> None:
    assert {path.name for path in STORED.glob("*.json")} == set(FILES)
    stale = [name for name, text in rendered().items() if (STORED / name).read_text(encoding="utf-8") != text]
    assert not stale, f"{stale} differ: cellguard dashboards render"


def test_render_writes_what_differs_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cellguard", "dashboards", "render", "--out", str(tmp_path / "new")]
    first = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=True)
    assert "pack.json" in first.stdout
    (tmp_path / "new" / "pack.json").write_text("{}")
    second = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=True)
    assert second.stdout.strip().endswith("pack.json changed")
    assert (tmp_path / "new" / "pack.json").read_text() == rendered()["pack.json"]


def test_a_folder_that_cannot_be_written_ends_with_78_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "cellguard", "dashboards", "render", "--out", str(tmp_path / "file" / "under")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert ended.returncode == 78
    assert "a folder that can be written" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("document", documents(), ids=lambda one: one["title"])
def test_identities_are_unique_and_panels_do_not_overlap(document: Json) -> None:
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= GRID_WIDTH
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_dashboard_has_an_identity_of_its_own() -> None:
    assert len({document["uid"] for document in documents()}) == len(FILES)


@pytest.mark.parametrize("panel", panels("timeseries"))
def test_stale_data_breaks_every_line(panel: Json) -> None:
    assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False
    measured = [target["query"] for target in panel["targets"] if "CUMULATIVE_SUM" not in target["query"]]
    assert all("fill(null)" in query for query in measured)


@pytest.mark.parametrize("panel", panels("state-timeline"))
def test_a_state_that_is_not_told_again_breaks_off(panel: Json) -> None:
    """An alarm is told once and holds; what the guard tells every 10 s does not outlive it."""
    breaks_ms = panel["fieldConfig"]["defaults"]["custom"]["insertNulls"]
    assert breaks_ms is False if "alarm" in panel["targets"][0]["query"] else 10_000 < breaks_ms <= 60_000


def test_a_tile_that_says_what_is_now_shows_nothing_old() -> None:
    tiles = [one.values[0] for one in panels("stat")]
    old = [panel["title"] for panel in tiles if panel.get("timeFrom") != "1m"]
    assert sorted(old) == ["Charge in the time shown", "Energy in the time shown"]


@pytest.mark.parametrize("panel", panels())
def test_every_query_asks_for_the_chosen_time_and_has_a_unit(panel: Json) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert "$timeFilter" in target["query"]
        assert "${site:regex}" in target["query"]
        unknown = set(re.findall(r"\$\{?(\w+)", target["query"])) - {
            "site",
            "node",
            "module",
            "timeFilter",
            "__interval",
        }
        assert not unknown


def test_grafana_is_told_where_everything_is() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    read = {path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*/*.yaml")}
    (source,) = read["datasources"]["datasources"]
    assert (source["type"], source["uid"]) == (DATASOURCE["type"], DATASOURCE["uid"])
    assert "$" in source["url"]
    assert "$__file{" in source["secureJsonData"]["httpHeaderValue1"]
    for group in read["alerting"]["groups"]:
        for rule in group["rules"]:
            assert [data["refId"] for data in rule["data"]][-1] == rule["condition"]
            assert {data["datasourceUid"] for data in rule["data"]} == {DATASOURCE["uid"], "__expr__"}
            assert rule["noDataState"] == rule["execErrState"] == "Alerting"


def test_the_limits_shown_are_those_of_the_rules() -> None:
    cells = next(
        panel for document in documents() for panel in document["panels"] if panel["title"] == "Cells of the pack"
    )
    rule = DEFAULTS["cell_voltage"]
    steps = [(step["value"], step["color"]) for step in cells["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert steps == [
        (None, "red"),
        (rule.danger[0], "orange"),
        (rule.warning[0], "green"),
        (rule.warning[1], "orange"),
        (rule.danger[1], "red"),
    ]
    assert cells["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
