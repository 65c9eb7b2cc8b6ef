"""`cellguard quarantine list|export|retry`: what a collector could not store and has set aside."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collector.config import CollectorConfig
    from collector.sinks.quarantine import Kept, Quarantine

_config = click.option(
    "--config", required=True, type=click.Path(path_type=Path), metavar="FILE", help="collector.toml"
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON line a message.")


@click.group(name="quarantine")
def command() -> None:
    """Messages the store refused: each costs only itself, and is kept here with its reason."""


@command.command("list")
@_config
@_json
def list_(config: Path, as_json: bool) -> None:
    """Show what is set aside, oldest first."""
    _, quarantine = _opened(config)
    count = 0
    for kept in quarantine.messages():
        count += 1
        click.echo(json.dumps(_told(kept)) if as_json else _line(kept))
    if not as_json:
        click.echo(f"{count} set aside", err=True)


@command.command("export")
@_config
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of stdout.")
def export(config: Path, output: Path | None) -> None:
    """Write the messages as they came, one JSON line each: `topic`, `reason`, `since`, and `payload` as hex."""
    from cellguard.commands.export import opened

    _, quarantine = _opened(config)
    with opened(output) as stream:
        for kept in quarantine.messages():
            stream.write(json.dumps({**_told(kept), "payload": kept.payload.hex()}) + "\n")


@command.command("retry")
@_config
@_json
def retry(config: Path, as_json: bool) -> None:
    """Try to store each once more, after what was wrong with the store has been put right. Exit 1 when some still cannot be."""
    from collector.backfill import retry as try_again
    from collector.sinks import open_sink

    settings, quarantine = _opened(config)
    sink = open_sink(settings)
    stored = refused = 0
    try:
        for kept, reason in try_again(quarantine, sink):
            stored, refused = stored + (not reason), refused + bool(reason)
            if as_json:
                click.echo(json.dumps({**_told(kept), "stored": not reason, "reason": reason}))
            elif reason:
                click.echo(f"still refused: {kept.topic} {kept.identity.seq}: {reason}", err=True)
    finally:
        sink.close()
    if not as_json:
        click.echo(f"stored {stored}, still set aside {refused}")
    sys.exit(1 if refused else 0)


def _opened(path: Path) -> tuple[CollectorConfig, Quarantine]:
    from collector.config import load_config
    from collector.sinks.quarantine import Quarantine
    from shared.errors import ConfigError

    settings = load_config(path, os.environ)
    if settings.archive is None:
        allowed = "[archive] path = …, the folder where what the store refuses is kept"
        raise ConfigError(f"{path}: [archive]", "", allowed)
    return settings, Quarantine(settings.archive.path)


def _told(kept: Kept) -> dict[str, object]:
    body = {**kept.identity._asdict(), "topic": kept.topic, "reason": kept.reason, "since": kept.since_us}
    return {**body, "bytes": len(kept.payload)}


def _line(kept: Kept) -> str:
    since = datetime.fromtimestamp(kept.since_us / 1e6, UTC)
    return f"{since:%Y-%m-%d %H:%M:%S}Z  {kept.topic}  {kept.identity.spool}/{kept.identity.seq}  {kept.reason}"
