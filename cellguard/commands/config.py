"""`cellguard config`: the settings in force, which settings there are, and the move from the old ones."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import click
from pydantic import BaseModel

from shared.errors import ConfigError

MODELS = {"edge": ("edge_agent.config", "EdgeConfig"), "collector": ("collector.config", "CollectorConfig")}
"""Whose settings → where their model is."""
_KIND = click.Choice(list(MODELS))


@click.group(name="config")
def command() -> None:
    """Show settings, or the schema they follow; move from the lab's old ones."""


@command.command()
@click.argument("kind", type=_KIND, default="edge")
def schema(kind: str) -> None:
    """Print the JSON schema of edge.toml or collector.toml."""
    import orjson

    click.echo(orjson.dumps(_model(kind).model_json_schema(), option=orjson.OPT_INDENT_2))


@command.command()
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), required=True, help="edge.toml or collector.toml."
)
@click.option(
    "--overlay", type=click.Path(dir_okay=False, path_type=Path), multiple=True, help="Laid over it; may be repeated."
)
@click.option("--kind", type=_KIND, help="Whose settings. Default: collector when the file has [collector], else edge.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of TOML.")
def show(config: Path, overlay: tuple[Path, ...], kind: str | None, as_json: bool) -> None:
    """Print the settings in force: file, overlays, environment and defaults. Exit 78 names every key that is wrong."""
    import orjson

    from cellguard import toml
    from shared.settings import load, read_toml

    model = _model(kind or ("collector" if "collector" in read_toml(config) else "edge"))
    settings = load(config, model, environ=os.environ, overlays=overlay)
    table = settings.model_dump(mode="json", exclude_none=True)
    click.echo(orjson.dumps(table, option=orjson.OPT_INDENT_2) if as_json else toml.dumps(table), nl=as_json)


@command.command("migrate-seed")
@click.argument("file", type=click.Path(path_type=Path))
def migrate_seed(file: Path) -> None:
    """Turn the lab's old settings (config.properties, JSON) into an edge.toml on stdout.

    Comments say what became of each old key; what needs a person's eye is marked CHECK. Nothing is written or started.
    """
    from cellguard.seed.draft import checks, edge_toml
    from cellguard.seed.read import read_seed

    text = edge_toml(read_seed(file))
    click.echo(text, nl=False)
    click.echo(f"note: {checks(text)} comments are marked CHECK: look at each before the first start", err=True)


def _model(kind: str) -> type[BaseModel]:
    module, name = MODELS[kind]
    try:
        model: type[BaseModel] = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"{kind} settings", "", f"the extra for it installed: pip install 'cellguard[{kind}]' ({error})"
        ) from error
    return model
