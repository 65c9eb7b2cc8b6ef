"""`cellguard import`: old logs come into the store once, in their zone, and what is wrong with them is said by file and line."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from click.testing import CliRunner, Result

from cellguard.commands.export import command as export
from cellguard.commands.import_logs import command as import_logs
from collector.old_logs import BLOCK_ROWS, LogReader, Whose
from collector.sinks.archive_reader import ArchiveReader, Selection
from shared.errors import CellguardError

HEADER = (
    "date,time,BMU01_CMA_Voltage,BMU01_Cell_12_Voltage,BMU01_Cell_13_Voltage,BMU02_CMA_Voltage,"
    "Ardu_Press,Ardu_Temp1,modbus_Power,modbus_Current,modbus_Voltage,pcan_isCellVolVio,warning"
)
FIRST = "02-05-2022,10:00:00,46.800000000000004,3.9000000000000004,2.2,46.71,80,25,-0.061,0.9021,374.4,False,True"
SECOND = "02-05-2022,10:00:06,46.81,3.91,2.2,46.72,81,25,0.05,0.42,374.5,False,False"
BERLIN = ZoneInfo("Europe/Berlin")
T0 = int(datetime(2022, 5, 2, 8, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "collector.toml"
    path.write_text('[store]\nkind = "archive"\n[archive]\npath = "store"\n')
    return path


def run(config: Path, *words: object, zone: str = "Europe/Berlin") -> Result:
    return CliRunner().invoke(import_logs, ["--config", str(config), "--zone", zone, *map(str, words)])


def counted(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def a_log(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join([header, *rows]) + "\r\n")
    return path


def stored(config: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for message in ArchiveReader(config.parent / "store").messages(Selection()):
        found.setdefault(message.source, []).append(orjson.loads(message.payload))
    return found


def times_of(path: Path, zone: ZoneInfo = BERLIN) -> list[int]:
    messages = LogReader([path], Whose("lab", "old-log", zone)).messages(Selection())
    bodies = [orjson.loads(one.payload) for one in messages if one.source == "module-01"]
    return [body["t0"] + offset for body in bodies for offset in body["t"]]


def test_a_log_becomes_the_measurements_and_fields_of_a_live_node(tmp_path: Path, config: Path) -> None:
    result = run(config, a_log(tmp_path / "log.csv", FIRST, SECOND))

    assert result.exit_code == 0, result.stderr
    assert "read 2 rows: stored 4 messages" in result.stdout
    assert "left out: pcan_isCellVolVio, warning" in result.stderr
    bodies = {source: (one[0]["t0"], one[0]["t"], one[0]["v"]) for source, one in stored(config).items()}
    assert bodies == {
        "module-01": (T0, [0, 6_000_000], {"CMA_Voltage": [46.8, 46.81], "Cell_12_Voltage": [3.9, 3.91]}),
        "module-02": (T0, [0, 6_000_000], {"CMA_Voltage": [46.71, 46.72]}),
        "arduino": (T0, [0, 6_000_000], {"press": [80.0, 81.0], "temp1": [25.0, 25.0]}),
        "inverter": (
            T0,
            [0, 6_000_000],
            {"power": [-0.061, 0.05], "current": [0.9021, 0.42], "battery_voltage": [374.4, 374.5]},
        ),
    }


def test_export_wide_shows_it_in_the_columns_it_came_in(tmp_path: Path, config: Path) -> None:
    run(config, a_log(tmp_path / "log.csv", FIRST))

    shown = CliRunner().invoke(export, ["--archive", str(tmp_path / "store"), "--wide"]).stdout.splitlines()

    names = [name for name in HEADER.split(",")[:-2] if "Cell_13" not in name]
    assert shown[0].split(",") == names
    assert shown[1].startswith("02-05-2022,08:00:00.000000,46.8,3.9,46.71,80.0,25.0,-0.061,")


def test_the_same_log_again_stores_nothing_twice_also_under_another_name(tmp_path: Path, config: Path) -> None:
    path = a_log(tmp_path / "log.csv", FIRST, SECOND)
    run(config, path)
    (tmp_path / "other").mkdir()
    path.rename(tmp_path / "other" / "again.CSV")

    result = run(config, "--json", tmp_path / "other")

    assert (counted(result)["messages"], counted(result)["known"]) == (4, 4)
    assert {source: len(bodies) for source, bodies in stored(config).items()} == dict.fromkeys(stored(config), 1)


def test_the_same_log_in_another_zone_is_refused_by_the_archive_and_said(tmp_path: Path, config: Path) -> None:
    path = a_log(tmp_path / "log.csv", FIRST)
    run(config, path)

    result = run(config, path, zone="UTC")

    assert result.exit_code == 1
    assert "4 messages were refused by the store" in result.stderr


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("02-05-2022,10:00:06,1", "3 columns, the header has 13"),
        (FIRST, "the same time as the row before"),
        (SECOND.replace("02-05-2022", "2022-05-02"), "'2022-05-02 10:00:06' is no date and time like"),
        (SECOND.replace("02-05-2022", "02-05-1922"), "lies before 1970"),
        (SECOND.replace("46.81", "nan"), "module-01.CMA_Voltage: 'nan' is no number; the rest of the row was taken"),
        (SECOND.replace("46.81", "off"), "module-01.CMA_Voltage: 'off' is no number; the rest of the row was taken"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line_and_the_rest_is_stored(
    row: str, words: str, tmp_path: Path, config: Path
) -> None:
    path = a_log(tmp_path / "log.csv", FIRST, row, SECOND.replace("10:00:06", "10:00:12"))

    result = run(config, "--json", path)

    said = counted(result)
    assert result.exit_code == 1
    assert (said["bad_rows"], said["bad_values"]) == ((0, 1) if "no number" in words else (1, 0))
    assert len(said["named"]) == 1
    assert said["named"][0].startswith(f"{path}:3: ")
    assert words in said["named"][0]
    assert said["rows"] + said["bad_rows"] == 3


def test_an_empty_cell_is_an_absent_value_and_no_fault(tmp_path: Path, config: Path) -> None:
    result = run(config, a_log(tmp_path / "log.csv", FIRST, SECOND.replace("46.81", "")))

    assert result.exit_code == 0
    assert stored(config)["module-01"][0]["v"]["CMA_Voltage"] == [46.8, None]


def test_a_file_that_is_no_log_is_named_and_one_without_any_row_is_a_failure(tmp_path: Path, config: Path) -> None:
    a_log(tmp_path / "logs" / "a.csv", FIRST)
    other = a_log(tmp_path / "logs" / "schedule.csv", "5,1", header="Interval [s],Current [A]")

    both, alone = run(config, tmp_path / "logs"), run(config, other)

    assert (both.exit_code, alone.exit_code) == (0, 1)
    assert f"{other}:1: no old log" in both.stderr
    assert "1 files are no logs" in alone.stderr


def test_the_hour_that_comes_twice_in_autumn_rises(tmp_path: Path) -> None:
    rows = [FIRST.replace("02-05-2022,10:00:00", f"30-10-2022,{time}") for time in ("02:59:54", "02:00:00", "02:30:00")]

    times = times_of(a_log(tmp_path / "log.csv", *rows))

    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [6_000_000, 1_800_000_000]


def test_a_clock_that_was_set_back_begins_a_new_message(tmp_path: Path, config: Path) -> None:
    run(config, a_log(tmp_path / "log.csv", SECOND, FIRST))

    assert sorted(body["t0"] - T0 for body in stored(config)["module-01"]) == [0, 6_000_000]


def test_only_a_block_of_rows_is_held(tmp_path: Path) -> None:
    rows = [FIRST.replace("10:00:00", f"10:{second // 60:02d}:{second % 60:02d}") for second in range(3000)]
    reader = LogReader([a_log(tmp_path / "log.csv", *rows)], Whose("lab", "old-log", BERLIN))

    first = next(reader.messages(Selection()))

    assert len(orjson.loads(first.payload)["t"]) == BLOCK_ROWS
    assert reader.findings.rows <= BLOCK_ROWS + 1
    assert reader.count() == 3001


def test_an_unknown_zone_or_file_is_one_sentence(tmp_path: Path, config: Path) -> None:
    zone = run(config, tmp_path, zone="Mars/Olympus")
    absent = run(config, tmp_path / "absent.csv")

    assert zone.exit_code == 2
    assert "given 'Mars/Olympus'; allowed: a time zone this computer knows" in zone.stderr
    assert isinstance(absent.exception, CellguardError)
    assert str(absent.exception) == f"{tmp_path / 'absent.csv'}: no such file or folder"


def test_without_a_zone_the_computers_own_is_taken_and_said(tmp_path: Path, config: Path) -> None:
    result = CliRunner().invoke(import_logs, ["--config", str(config), str(a_log(tmp_path / "log.csv", FIRST))])

    local = datetime(2022, 5, 2, 10).astimezone()
    assert "times are read in this computer's zone" in result.stderr
    assert stored(config)["module-01"][0]["t0"] == int(local.timestamp()) * 1_000_000
