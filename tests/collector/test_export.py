"""`cellguard export` on a real archive and on a real spool."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from cellguard.commands.export import command
from collector.ingest import Record, ingest
from collector.sinks.archive import ArchiveSink
from edge_agent.link.spool import Commit, Entry, Spool
from shared.errors import ConfigError

T0 = 1_795_345_556_000_000


def telemetry(
    seq: int,
    source: str,
    t0: int,
    columns: dict[str, list[float | None]],
    *,
    t: Sequence[int] = (0,),
    node: str = "rig-1",
) -> Record:
    body = {"spool": "a1b2c3d4", "lane": "tele", "seq": seq, "t0": t0, "t": list(t), "v": columns}
    return ingest(f"cellguard/v1/lab/{node}/tele/{source}", orjson.dumps(body))


def gap(seq: int, ts: int) -> Record:
    body = {"of": "tele", "from": 3, "to": 4, "rows": 9, "t_from": T0 - 6_000_000, "t_to": T0 - 4_000_000}
    body |= {"reason": "spool full", "spool": "a1b2c3d4", "lane": "event", "seq": seq, "ts": ts, "kind": "gap"}
    return ingest("cellguard/v1/lab/rig-1/event/gap", orjson.dumps(body))


RECORDS = [
    telemetry(1, "module-02", T0, {"CMA_Voltage": [47.26, 47.0], "SOH": [100, 100]}, t=[0, 200_000]),
    telemetry(2, "module-01", T0, {"CMA_Voltage": [47.33, None], "Cell_10_Voltage": [3.92, 3.930000000000001]}, t=[0, 200_000]),
    telemetry(3, "arduino", T0 - 50_000, {"press": [89.0, 51.0, 84.5], "temp1": [21.5, 40.0, 21.25]}, t=[0, 100_000, 200_000]),
    telemetry(4, "inverter", T0 + 150_000, {"power": [-15.72], "current": [-41.3], "battery_voltage": [377.75], "mode": [2.0]}),
    telemetry(5, "module-01", T0 + 5_000_000, {"CMA_Voltage": [47.35]}),
    gap(1, T0 + 1_000_000),
]  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with closing(ArchiveSink(tmp_path / "archive")) as sink:
        sink.write(RECORDS)
    return tmp_path / "archive"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool.sqlite"
    with closing(Spool(path)) as opened:
        entries = (
            Entry(one.identity.lane, one.identity.seq, one.source, one.rows, one.t_min, one.t_max, one.payload)
            for one in RECORDS
        )
        opened.commit(Commit(tuple(entries)))
    return path


def export(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_is_every_value_as_it_was_sent_in_the_order_of_time(archive: Path) -> None:
    result = export("--archive", archive)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:4] == ["time,source,signal,value", f"{T0 - 50_000},arduino,press,89.0", f"{T0 - 50_000},arduino,temp1,21.5",
                         f"{T0},module-02,CMA_Voltage,47.26"]  # fmt: skip
    assert f"{T0 + 200_000},module-01,Cell_10_Voltage,3.930000000000001" in lines
    assert f"{T0},module-02,SOH,100" in lines
    times = [int(line.split(",")[0]) for line in lines[1:]]
    assert times == sorted(times)
    assert len(lines) == 1 + 4 + 3 + 6 + 4 + 1
    assert result.stderr == (
        "note: 1 gap records: samples are missing there\n"
        "  gap: tele 3..4 (9 rows), 2026-11-22 11:05:50Z to 2026-11-22 11:05:52Z: spool full\n"
    )


def test_a_spool_exports_the_same_as_the_archive(archive: Path, spool: Path) -> None:
    assert export("--spool", spool).stdout == export("--archive", archive).stdout
    assert export("--spool", spool, "--wide").stdout == export("--archive", archive, "--wide").stdout


def test_source_and_time_select_rows_not_messages(archive: Path) -> None:
    only = rows_of(export("--archive", archive, "--source", "module-01").stdout)
    assert {row["source"] for row in only} == {"module-01"}
    some = rows_of(export("--archive", archive, "--from", T0 + 1, "--to", "2026-11-22T11:05:58").stdout)
    assert {int(row["time"]) for row in some} == {T0 + 50_000, T0 + 150_000, T0 + 200_000}


def test_wide_is_one_line_a_sync_with_the_labs_columns(archive: Path) -> None:
    text = export("--archive", archive, "--wide").stdout
    assert text.splitlines()[0] == (
        "date,time,BMU01_CMA_Voltage,BMU01_Cell_10_Voltage,BMU02_CMA_Voltage,BMU02_SOH,"
        "Ardu_Press,Ardu_Temp1,modbus_Power,modbus_Current,modbus_Voltage,modbus_mode"
    )
    first, second, third = rows_of(text)
    assert (first["date"], first["time"]) == ("22-11-2026", "11:05:56.000000")
    assert (first["BMU01_CMA_Voltage"], first["BMU02_CMA_Voltage"], first["Ardu_Press"]) == ("47.33", "47.26", "89.0")
    assert first["modbus_Power"] == ""
    assert (second["BMU01_CMA_Voltage"], second["Ardu_Press"], second["modbus_Power"]) == ("", "84.5", "-15.72")
    assert third["time"] == "11:06:01.000000"
    assert (third["BMU01_CMA_Voltage"], third["Ardu_Press"], third["modbus_Power"]) == ("47.35", "", "")


def test_wide_without_modules_is_one_line_a_time(archive: Path) -> None:
    rows = rows_of(export("--archive", archive, "--wide", "--source", "arduino").stdout)
    assert [row["Ardu_Temp1"] for row in rows] == ["21.5", "40.0", "21.25"]


def test_line_protocol_has_telemetry_and_gaps_in_the_order_of_time(archive: Path) -> None:
    lines = export("--archive", archive, "--format", "line").stdout.splitlines()
    assert f"module,module=02,node=rig-1,site=lab CMA_Voltage=47,SOH=100 {T0 + 200_000}000" in lines
    assert [line.split(",")[0] for line in lines[-3:]] == ["event", "gap", "module"]


def test_output_goes_to_a_file(archive: Path, tmp_path: Path) -> None:
    result = export("--archive", archive, "--output", tmp_path / "out.csv")
    assert result.stdout == ""
    assert (tmp_path / "out.csv").read_bytes().startswith(b"time,source,signal,value\n")


def test_two_nodes_are_not_mixed(archive: Path) -> None:
    with closing(ArchiveSink(archive)) as sink:
        sink.write([telemetry(9, "inverter", T0, {"power": [1.0]}, node="rig-2")])
    refused = export("--archive", archive)
    assert refused.exit_code == 2
    assert "choose one with --node: rig-1, rig-2" in refused.stderr
    assert len(rows_of(export("--archive", archive, "--node", "rig-2").stdout)) == 1
    assert "stored are rig-1, rig-2" in export("--archive", archive, "--node", "rig-3").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give one of --archive DIR and --spool FILE"),
        (("--archive", "a", "--spool", "b"), "give one of"),
        (("--archive", ".", "--from", "yesterday"), "ISO 8601"),
        (("--archive", ".", "--wide", "--format", "line"), "--wide is a form of --format csv"),
        (("--archive", ".", "--format", "xlsx"), "'xlsx' is not one of"),
    ],
)
def test_wrong_options_are_explained(arguments: tuple[str, ...], words: str) -> None:
    result = export(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_an_archive_that_is_not_there_or_no_archive_is_named(tmp_path: Path) -> None:
    absent = export("--archive", tmp_path)
    assert isinstance(absent.exception, ConfigError)
    assert "archive.sqlite" in str(absent.exception)
    (tmp_path / "archive.sqlite").write_bytes(b"x" * 5000)
    assert "cannot be read: file is not a database" in str(export("--archive", tmp_path).exception)


def test_export_reads_beside_a_running_collector(archive: Path) -> None:
    with closing(ArchiveSink(archive)) as sink:
        sink.write([telemetry(20, "inverter", T0 + 9_000_000, {"power": [1.0]})])
        assert f"{T0 + 9_000_000},inverter,power,1.0" in export("--archive", archive).stdout
        sink.write([telemetry(21, "inverter", T0 + 9_100_000, {"power": [2.0]})])
    assert f"{T0 + 9_100_000},inverter,power,2.0" in export("--archive", archive).stdout


def test_more_messages_than_a_page_come_in_order_and_complete(tmp_path: Path) -> None:
    records = [
        telemetry(seq, f"module-{seq % 15 + 1:02d}", T0 + (seq * 7919 % 900) * 1_000_000, {"SOH": [1, 2, 3]}, t=[0, 300_000, 900_000])
        for seq in range(1, 901)
    ]  # fmt: skip
    with closing(ArchiveSink(tmp_path)) as sink:
        sink.write(records)
    rows = rows_of(export("--archive", tmp_path).stdout)
    times = [int(row["time"]) for row in rows]
    assert len(rows) == 2700
    assert times == sorted(times)
