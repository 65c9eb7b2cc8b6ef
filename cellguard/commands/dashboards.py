"""`cellguard dashboards render`: the Grafana dashboards, made from the signal catalog."""

from __future__ import annotations

from pathlib import Path

import click

from shared.errors import ConfigError


@click.group(name="dashboards")
def command() -> None:
    """The Grafana dashboards, made from the signal catalog and the rule table."""


@command.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="[default: deploy/grafana/dashboards]",
)
def render(out: Path | None) -> None:
    """Write every dashboard whose file is not as the catalog and the rules have it."""
    from cellguard.dashboards.files import FOLDER, write

    folder = out or FOLDER
    try:
        changed = write(folder)
    except OSError as error:
        raise ConfigError("--out", str(folder), f"a folder that can be written ({error.strerror})") from error
    click.echo(f"{folder}: {', '.join(changed) or 'nothing'} changed")
