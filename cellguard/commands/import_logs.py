"""`cellguard import`: the lab's old CSV logs into the configured store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellguard.commands.export import progress

if TYPE_CHECKING:
    from datetime import tzinfo

    from collector.backfill import Filled
    from collector.old_logs import Findings

DEFAULT_NODE = "old-log"


def _zone(_ctx: click.Context, _param: click.Parameter, name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(
            f"given {name!r}; allowed: a time zone this computer knows, like Europe/Berlin or UTC"
        ) from error


@click.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER…")
@click.option("--config", required=True, type=click.Path(path_type=Path), metavar="FILE", help="collector.toml")
@click.option(
    "--zone", callback=_zone, default="", metavar="NAME", help="Of the files' times. Default: this computer's."
)
@click.option("--site", default="lab", show_default=True)
@click.option("--node", default=DEFAULT_NODE, show_default=True, help="Stored under this node; not a live node's name.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def command(*, files: tuple[Path, ...], config: Path, zone: tzinfo | None, site: str, node: str, as_json: bool) -> None:
    """Read old logs (date,time,BMU01_…,Ardu_…,modbus_…) into the store; of folders every .csv below.

    The same file again, also under another name, stores nothing twice; a log that has grown since is another file. Rows that
    cannot be read are named and counted, the rest is stored. Exit 1 when a row or value was not taken over.
    """
    from collector.backfill import backfill
    from collector.config import load_config
    from collector.old_logs import LogReader, Whose, log_files
    from collector.sinks import open_sink
    from collector.sinks.archive_reader import Selection

    settings = load_config(config, os.environ)
    reader = LogReader(log_files(files), Whose(site, node, zone))
    if zone is None:
        click.echo("note: times are read in this computer's zone; --zone names another", err=True)
    sink = open_sink(settings)
    try:
        with progress("import", reader.count) as advance:
            reader.on_row = advance
            filled = backfill(reader, Selection(), sink, None, lambda: None)
    finally:
        known = int(sink.counters().get("duplicates", 0))
        sink.close()
    _say(filled, reader.findings, known, as_json=as_json)
    found = reader.findings
    lost = filled.refused or filled.unreadable or found.bad_rows or found.bad_values or not found.rows
    sys.exit(1 if lost else 0)


def _say(filled: Filled, found: Findings, known: int, *, as_json: bool) -> None:
    import json

    counts = {
        "rows": found.rows, "messages": filled.messages, "known": known, "bad_rows": found.bad_rows,
        "bad_values": found.bad_values, "no_logs": found.no_logs, "refused": filled.refused + filled.unreadable,
    }  # fmt: skip
    if as_json:
        click.echo(
            json.dumps({**counts, "columns_left_out": sorted(found.columns), "named": found.words}, ensure_ascii=False)
        )
        return
    click.echo(f"read {found.rows} rows: stored {filled.messages - known} messages, {known} were there already")
    if found.columns:
        click.echo(
            f"note: columns without a signal of ours were left out: {', '.join(sorted(found.columns))}", err=True
        )
    click.echo("note: Ardu_Temp1 and Ardu_Temp2 are as the old program computed them, up to 16 °C off", err=True)
    for count, what in (
        (found.bad_rows, "rows could not be read"), (found.bad_values, "values are no numbers"), (found.no_logs, "files are no logs"),
        (counts["refused"], "messages were refused by the store"),
    ):  # fmt: skip
        if count:
            click.echo(f"{count} {what}", err=True)
    for words in (*found.words, *filled.reasons):
        click.echo(f"  {words}", err=True)
