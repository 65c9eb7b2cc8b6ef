"""`cellguard export`: what is stored, as CSV, as a table like the lab's, or as line protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.sinks.archive_reader import ArchiveReader, Selection, SpoolReader


def _time(_ctx: click.Context, _param: click.Parameter, text: str) -> int:
    """Unix µs from Unix µs or ISO 8601."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        allowed = "Unix µs like 1795345556123456, or ISO 8601 like 2026-11-22T09:05:56 (UTC when it names no zone)"
        raise click.BadParameter(f"given {text!r}; allowed: {allowed}") from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def time_option(flag: str, name: str, default: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that takes a time; the command gets Unix µs."""
    return click.option(flag, name, callback=_time, default=default, show_default=False, metavar="TIME", help=text)


class _Job(NamedTuple):
    """What to write, and from where."""

    reader: ArchiveReader | SpoolReader
    selection: Selection
    form: Literal["csv", "wide", "line"]
    local_time: bool


@click.command(name="export")
@click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="The collector's archive folder.")
@click.option("--spool", type=click.Path(path_type=Path), metavar="FILE", help="Instead: a node's spool file.")
@click.option("--source", default="", help="Only module-01 …, inverter or arduino.")
@click.option("--node", default="", help="Only this node; needed when the archive holds several.")
@time_option("--from", "since", "0", "First time, Unix µs or ISO 8601 (UTC).")
@time_option("--to", "until", str(2**62), "End, this time not included.")
@click.option("--format", "fmt", type=click.Choice(("csv", "line")), default="csv", show_default=True)
@click.option("--wide", is_flag=True, help="One line a time, one column a signal, as in the lab's files.")
@click.option("--local-time", is_flag=True, help="With --wide: dates and times of this computer's zone, not UTC.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of stdout.")
def command(  # noqa: PLR0913 (one argument an option)
    *,
    archive: Path | None,
    spool: Path | None,
    source: str,
    node: str,
    since: int,
    until: int,
    fmt: Literal["csv", "line"],
    wide: bool,
    local_time: bool,
    output: Path | None,
) -> None:
    """Write stored data, oldest first: `time,source,signal,value` with the time in Unix µs, or with --wide one line a time.

    With --wide a line is one SYNC of the modules; it carries the inverter's and the Arduino's latest values of the second
    before. Numbers are written as they were sent. Safe beside a running collector or agent.
    """
    if (archive is None) == (spool is None):
        raise click.UsageError("give one of --archive DIR and --spool FILE")
    if wide and fmt == "line":
        raise click.UsageError("--wide is a form of --format csv")
    from collector.sinks.archive_reader import ArchiveReader, Selection, SpoolReader

    reader = ArchiveReader(archive) if archive is not None else SpoolReader(spool or Path())
    _one_node(reader, node)
    job = _Job(reader, Selection(source, node, since, until), "wide" if wide else fmt, local_time)
    with opened(output) as stream:
        _write(job, stream)


def _one_node(reader: ArchiveReader | SpoolReader, node: str) -> None:
    """Rows of CSV have no column for the node: two rigs must not be mixed."""
    nodes = reader.nodes()
    if node and node not in nodes:
        raise click.UsageError(f"--node {node}: stored are {', '.join(nodes) or 'none yet'}")
    if not node and len(nodes) > 1:
        raise click.UsageError(f"several nodes are stored, choose one with --node: {', '.join(nodes)}")


def _write(job: _Job, stream: TextIO) -> None:
    from collector.export import Tally, as_csv, as_line_protocol, as_wide, columns_of, rows_in_time

    passes = 2 if job.form == "wide" else 1
    with progress("export", lambda: job.reader.count(job.selection) * passes) as advance:
        tally = Tally(advance)
        if job.form == "line":
            texts = as_line_protocol(rows_in_time(job.reader, job.selection, tally, as_lines=True))
        elif job.form == "csv":
            texts = as_csv(rows_in_time(job.reader, job.selection, tally))
        else:
            columns = columns_of(rows_in_time(job.reader, job.selection, Tally(advance)))
            zone = datetime.now().astimezone().tzinfo if job.local_time else UTC
            texts = as_wide(rows_in_time(job.reader, job.selection, tally), columns, zone or UTC)
        stream.writelines(texts)
    for count, what in (
        (tally.gaps, "gap records: samples are missing there"),
        (tally.unreadable, "unreadable messages"),
    ):
        if count:
            click.echo(f"note: {count} {what}", err=True)
    for note in tally.gap_notes:
        click.echo(f"  gap: {note}", err=True)


@contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """The file to write to, or stdout."""
    from shared.errors import CellguardError

    if output is None:
        yield sys.stdout
        return
    try:
        stream = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CellguardError(f"{output} cannot be written: {error.strerror or error}") from error
    with stream:
        yield stream


@contextmanager
def progress(what: str, count: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """A bar on the terminal's stderr, nothing elsewhere; `count` is only asked when there is one."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=count())
        yield lambda: bar.advance(task)
