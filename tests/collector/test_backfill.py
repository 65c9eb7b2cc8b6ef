"""`cellguard backfill` and `cellguard quarantine` on real files: what a store missed is stored again, once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from cellguard.commands.backfill import command as backfill
from cellguard.commands.quarantine import command as quarantine
from collector.ingest import Record, ingest
from collector.sinks.archive import ArchiveSink
from collector.sinks.archive_reader import ArchiveReader, Selection, count_rows
from collector.sinks.ports import SetAside
from edge_agent.link.spool import RELEASED, Commit, Entry, Spool
from shared.errors import ConfigError

T0 = 1_795_345_556_000_000


def telemetry(seq: int, source: str = "module-01", t0: int = T0, **more: object) -> Record:
    body = {
        "spool": "a1b2c3d4",
        "lane": "tele",
        "seq": seq,
        "t0": t0,
        "t": [0, 200_000],
        "v": {"CMA_Voltage": [47.3, 47.4]},
    }
    return ingest(f"cellguard/v1/lab/rig-1/tele/{source}", orjson.dumps(body | more))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "collector.toml"
    path.write_text('[store]\nkind = "archive"\n[archive]\npath = "store"\n')
    return path


def run(command: object, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]  # a command


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Five messages, ten seconds apart; the first two were stored and receipted, and are still there."""
    path = tmp_path / "spool.sqlite"
    with closing(Spool(path)) as one:
        for seq in range(1, 6):
            at = T0 + seq * 10_000_000
            body = {
                "spool": one.id,
                "lane": "tele",
                "seq": seq,
                "t0": at,
                "t": [0, 200_000],
                "v": {"power": [1.5, seq]},
            }
            entry = Entry("tele", seq, "inverter", 2, at, at + 200_000, orjson.dumps(body))
            one.commit(Commit((entry,), "s", 2 * seq))
        one.settle("tele", [1, 2], RELEASED)
    return path


def test_a_range_of_a_spool_is_stored_under_the_name_of_its_node(config: Path, spool: Path) -> None:
    done = run(backfill, "--config", config, "--spool", spool, "--node", "rig-7", "--from", str(T0 + 15_000_000),
               "--to", str(T0 + 45_000_000), "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"messages": 3, "rows": 6, "unreadable": 0, "refused": 0, "reasons": []}
    stored = list(ArchiveReader(config.parent / "store").messages(Selection()))
    assert [(one.node, one.seq, one.source) for one in stored] == [("rig-7", seq, "inverter") for seq in (2, 3, 4)]


def test_filling_twice_stores_once(config: Path, spool: Path) -> None:
    for _ in range(2):
        assert run(backfill, "--config", config, "--spool", spool, "--node", "rig-7").exit_code == 0
    assert count_rows(config.parent / "store") == {"tele_rows": 10, "events": 0}


def test_an_archive_fills_another_store_and_what_is_broken_in_it_is_named(config: Path, tmp_path: Path) -> None:
    with closing(ArchiveSink(tmp_path / "old")) as sink:
        sink.write([telemetry(1), telemetry(2, t0=T0 + 1_000_000)])
    with closing(sqlite3.connect(tmp_path / "old" / "archive.sqlite")) as db, db:
        db.execute("UPDATE message SET payload = x'00' WHERE seq = 2")
    done = run(backfill, "--config", config, "--archive", tmp_path / "old")
    assert done.exit_code == 1
    assert "stored 1 messages with 2 rows" in done.output
    assert "1 unreadable" in done.output
    assert "tele 2: not JSON" in done.output


def test_a_spool_needs_the_name_of_its_node(config: Path, spool: Path) -> None:
    done = run(backfill, "--config", config, "--spool", spool)
    assert done.exit_code == 2
    assert "--node" in done.output


@pytest.fixture
def aside(config: Path) -> Path:
    """A store that has set aside one message that is broken and one that it would take today."""
    good = telemetry(7)
    bad = telemetry(8)
    with closing(ArchiveSink(config.parent / "store")) as sink:
        sink.set_aside(
            [
                SetAside(good.identity, "422: field type conflict", good.payload, good.source),
                SetAside(bad.identity, "not JSON", b"\xff{", bad.source),
            ]
        )
    return config


def test_what_is_set_aside_is_listed_with_its_reason(aside: Path) -> None:
    done = run(quarantine, "list", "--config", aside, "--json")
    assert done.exit_code == 0, done.output
    listed = [json.loads(line) for line in done.output.splitlines()]
    assert [(one["seq"], one["reason"]) for one in listed] == [(7, "422: field type conflict"), (8, "not JSON")]
    assert listed[0]["topic"] == "cellguard/v1/lab/rig-1/tele/module-01"


def test_what_is_set_aside_is_exported_byte_by_byte(aside: Path, tmp_path: Path) -> None:
    assert run(quarantine, "export", "--config", aside, "--output", tmp_path / "out").exit_code == 0
    payloads = [bytes.fromhex(json.loads(line)["payload"]) for line in (tmp_path / "out").read_text().splitlines()]
    assert payloads == [telemetry(7).payload, b"\xff{"]


def test_a_retry_stores_what_can_be_stored_now_and_keeps_the_rest(aside: Path) -> None:
    done = run(quarantine, "retry", "--config", aside)
    assert done.exit_code == 1
    assert "stored 1, still set aside 1" in done.output
    assert count_rows(aside.parent / "store") == {"tele_rows": 2, "events": 0}
    assert "tele/module-01  a1b2c3d4/8  not JSON" in run(quarantine, "list", "--config", aside).output


def test_a_quarantine_without_a_folder_is_a_setting_to_correct(config: Path, tmp_path: Path) -> None:
    done = run(quarantine, "list", "--config", config)
    assert isinstance(done.exception, ConfigError)
    token = tmp_path / "influx.toml"
    token.write_text(
        '[store]\nkind = "influx"\n[influx]\nurl = "http://h:1"\norg = "o"\nbucket = "b"\ntoken_file = "t"\n'
    )
    assert "[archive] path" in str(run(quarantine, "list", "--config", token).exception)
