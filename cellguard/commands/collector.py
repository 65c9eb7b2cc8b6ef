"""`cellguard collector run|check`: the PC's side."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

_config = click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), metavar="FILE", help="collector.toml"
)


@click.group(name="collector")
def command() -> None:
    """Store what the nodes publish and tell them what is stored."""


@command.command()
@_config
@click.option(
    "--log-level", type=click.Choice(("debug", "info", "warning", "error")), default="info", show_default=True
)
@click.option("--log-format", type=click.Choice(("logfmt", "json")), default="logfmt", show_default=True)
def run(config_path: Path, log_level: str, log_format: str) -> None:
    """Collect until SIGTERM or Ctrl-C. An absent broker or store is waited for; wrong settings end with 78."""
    from collector.config import load_config
    from collector.main import run as collect
    from shared.logs import setup

    setup(log_level, log_format)
    sys.exit(collect(load_config(config_path, os.environ)))


@command.command()
@_config
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of TOML.")
def check(config_path: Path, as_json: bool) -> None:
    """Judge the settings and print them as they are in force. Files that are not there are warnings."""
    from cellguard.toml import dumps
    from collector.config import load_config, missing_files

    config = load_config(config_path, os.environ)
    for missing in missing_files(config):
        click.echo(f"warning: {missing}", err=True)
    click.echo(config.model_dump_json(indent=2) if as_json else dumps(config.model_dump(exclude_none=True)).rstrip())
