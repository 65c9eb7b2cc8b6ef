"""`config`, `schedule` and the TOML that cellguard writes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellguard import toml

PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
TABLES = st.recursive(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), PLAIN | st.lists(PLAIN)),
    lambda inner: st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), PLAIN | inner),
    max_leaves=10,
)


@given(TABLES)
def test_written_settings_read_back_as_they_were(table: dict[str, object]) -> None:
    assert tomllib.loads(toml.dumps(table)) == table


def test_none_is_left_out() -> None:
    assert toml.dumps({"a": {"b": None, "c": 1}}) == "[a]\nc = 1\n"


def test_what_settings_cannot_hold_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="object has no place"):
        toml.dumps({"a": object()})


@pytest.mark.parametrize(("kind", "section"), [("edge", "inverter"), ("collector", "archive")])
def test_schema_is_the_json_schema_of_the_settings(kind: str, section: str, cellguard: Any) -> None:
    done = cellguard("config", "schema", kind)

    assert section in orjson.loads(done.stdout)["properties"]


def test_show_prints_defaults_file_and_overlay_as_toml_that_loads_again(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "edge.toml").write_text('[pack]\nseries = 4\n[mqtt]\nhost = "pc"\n')
    (tmp_path / "more.toml").write_text("[pack]\ncells = 10\n")

    done = cellguard(
        "config", "show", "--config", str(tmp_path / "edge.toml"), "--overlay", str(tmp_path / "more.toml")
    )

    assert done.returncode == 0, done.stderr
    shown = tomllib.loads(done.stdout)
    assert shown["pack"] == {"series": 4, "cells": 10}
    assert (shown["mqtt"]["host"], shown["safety"]["hold_s"]) == ("pc", 10.0)
    (tmp_path / "again.toml").write_text(done.stdout)
    again = tomllib.loads(cellguard("config", "show", "--config", str(tmp_path / "again.toml")).stdout)
    assert {**again, "schedule": {}} == {**shown, "schedule": {}}


def test_show_knows_a_collector_s_file_by_its_section(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "c.toml").write_text('[collector]\nname = "pc-7"\n[archive]\npath = "here"\n')

    done = cellguard("config", "show", "--config", str(tmp_path / "c.toml"), "--json")

    assert orjson.loads(done.stdout)["collector"]["name"] == "pc-7"
    assert orjson.loads(done.stdout)["archive"]["path"] == str(tmp_path / "here")


def test_show_names_every_wrong_key_and_ends_with_78(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "edge.toml").write_text('[pack]\nseries = 99\n[inverter]\nport = "x"\nmax_charge = 3\n')

    done = cellguard("config", "show", "--config", str(tmp_path / "edge.toml"))

    assert done.returncode == 78
    assert "[pack] series: given 99" in done.stderr
    assert "[inverter] max_charge" in done.stderr
    assert "did you mean max_charge_a?" in done.stderr


POWER = "\ufeffInterval [s],Power [kW]\r\n3600,-10\r\n1800,5\r\n"


def test_a_schedule_in_kw_with_bom_is_summed_up(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "power.csv").write_text(POWER, encoding="utf-8", newline="")

    done = cellguard("schedule", "check", str(tmp_path / "power.csv"), "--json", "--pack-voltage", "400")

    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout) == {
        "unit": "kW",
        "steps": 2,
        "duration_s": 5400.0,
        "end_conditions": 0,
        "discharged_ah": 6.25,
        "charged_ah": 25.0,
        "discharged_kwh": 2.5,
        "charged_kwh": 10.0,
        "largest": 10.0,
    }
    said, *rows = cellguard("schedule", "check", str(tmp_path / "power.csv")).stdout.splitlines()
    assert "2 steps in kW, 1:30:00" in said
    assert [rows[number][:10].strip() for number in (0, 3, 6)] == ["10 kW", "0", "-10 kW"]
    assert rows[-1].count("█") == 40
    assert max(row.count("█") for row in rows[:3]) == 20

    fast = tmp_path / "fast.csv"
    fast.write_text("Interval [s],Current [A]\n" + "20,35\n20,-35\n" * 2160)
    _, *rows = cellguard("schedule", "check", str(fast)).stdout.splitlines()
    assert [row.count("█") for row in rows] == [60, 60, 60, 0, 60, 60, 60]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("Interval [s],Current [A]\n10,five\n", [], "line 2"),
        ("Interval [s],Current [A]\n10,120\n", ["--max-current", "100"], "at most ±100 A"),
        ("Interval [s],Power [kW]\n10,-31\n", ["--max-power", "30"], "at most ±30 kW"),
        (
            "Interval [s],Current [A],End\n10,5,\n10,5,any.x<2\n",
            [],
            "line 3: given any.x<2; allowed: no end, or one condition: SOURCE.SIGNAL<=NUMBER or SOURCE.SIGNAL>=NUMBER",
        ),
        ("", [], "empty.csv"),
    ],
)
def test_a_wrong_schedule_ends_with_78_and_its_place(
    tmp_path: Path, text: str, options: list[str], said: str, cellguard: Any
) -> None:
    (tmp_path / "empty.csv").write_text(text)

    done = cellguard("schedule", "check", str(tmp_path / "empty.csv"), *options)

    assert done.returncode == 78
    assert said in done.stderr


def test_durations_are_called_the_most_where_steps_may_end_early(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "ends.csv").write_text("Interval [s],Current [A],End\n60,5,any.Min_Cell_Voltage<=2.95\n60,0,\n")

    done = cellguard("schedule", "check", str(tmp_path / "ends.csv"))

    assert done.returncode == 0
    assert "0:02:00 (h:mm:ss) at most, for 1 of them may end early" in done.stdout


def test_a_schedule_that_is_not_utf_8_names_the_line(tmp_path: Path, cellguard: Any) -> None:
    (tmp_path / "old.csv").write_bytes(b"Interval [s],Current [A]\n10,5\n10,\xb05\n")

    done = cellguard("schedule", "check", str(tmp_path / "old.csv"))

    assert done.returncode == 78
    assert "line 3: given byte 0xb0; allowed: UTF-8" in done.stderr
