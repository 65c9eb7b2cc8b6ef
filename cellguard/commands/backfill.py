"""`cellguard backfill`: a time range from a node's spool or an archive into the configured store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellguard.commands.export import progress, time_option

if TYPE_CHECKING:
    from collector.backfill import Filled


@click.command(name="backfill")
@click.option("--config", required=True, type=click.Path(path_type=Path), metavar="FILE", help="collector.toml")
@click.option("--spool", type=click.Path(path_type=Path), metavar="FILE", help="A node's spool file.")
@click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="Instead: an archive folder.")
@click.option("--site", default="lab", show_default=True, help="With --spool: the node's site.")
@click.option("--node", default="", help="With --spool: the node's name, needed. With --archive: only this node.")
@click.option("--source", default="", help="Only module-01 …, inverter or arduino, and events.")
@time_option("--from", "since", "0", "First time, Unix µs or ISO 8601 (UTC).")
@time_option("--to", "until", str(2**62), "End, this time not included.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def command(  # noqa: PLR0913 (one argument an option)
    *,
    config: Path,
    spool: Path | None,
    archive: Path | None,
    site: str,
    node: str,
    source: str,
    since: int,
    until: int,
    as_json: bool,
) -> None:
    """Store again what a store has missed. What is stored already stays once; messages are written whole.

    A collector with [store] kind = "archive" should not be running on the same folder when much is filled in.
    """
    if (archive is None) == (spool is None):
        raise click.UsageError("give one of --archive DIR and --spool FILE")
    if spool is not None and not node:
        raise click.UsageError("a spool file does not know its node: give --node NAME, and --site unless it is lab")
    from collector.backfill import Place, backfill
    from collector.config import load_config
    from collector.sinks import open_sink
    from collector.sinks.archive_reader import ArchiveReader, Selection, SpoolReader

    settings = load_config(config, os.environ)
    reader = SpoolReader(spool) if spool is not None else ArchiveReader(archive or Path())
    selection = Selection(source, node if archive is not None else "", since, until)
    total = reader.count(selection)
    sink = open_sink(settings)
    try:
        with progress("backfill", lambda: total) as advance:
            filled = backfill(reader, selection, sink, Place(site, node) if spool is not None else None, advance)
    finally:
        sink.close()
    _say(filled, as_json=as_json)
    sys.exit(1 if filled.refused or filled.unreadable else 0)


def _say(filled: Filled, *, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(filled._asdict()))
        return
    click.echo(f"stored {filled.messages} messages with {filled.rows} rows and events")
    for count, what in ((filled.refused, "refused by the store"), (filled.unreadable, "unreadable")):
        if count:
            click.echo(f"{count} {what}", err=True)
    for reason in filled.reasons:
        click.echo(f"  {reason}", err=True)
