"""`cellguard edge`: the agent on the Raspberry Pi, whole or process by process, and the check of its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellguard.commands.edge_install import install, uninstall

if TYPE_CHECKING:
    from edge_agent.config import EdgeConfig

DEFAULT_CONFIG = Path("/etc/cellguard/edge.toml")


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config` and `--overlay`, given to the command as `config` and `overlay`."""
    overlay = click.option(
        "--overlay", type=click.Path(path_type=Path), multiple=True, help="Settings laid over the file; repeatable."
    )
    config = click.option("--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG, show_default=True)
    return config(overlay(function))


def _long_running(function: Callable[..., Any]) -> Callable[..., Any]:
    level = click.option("--log-level", type=click.Choice(("debug", "info", "warning", "error")), default="info")
    form = click.option("--log-format", type=click.Choice(("logfmt", "json")), default="logfmt")
    return config_options(level(form(function)))


@click.group("edge")
def command() -> None:
    """The agent on the Raspberry Pi: run, guard, link, check, install, uninstall."""


command.add_command(install)
command.add_command(uninstall)


@command.command("run")
@_long_running
def run(config: Path, overlay: tuple[Path, ...], log_level: str, log_format: str) -> int:
    """Run guard and link, each in a process of its own."""
    from edge_agent import supervise

    _load(config, overlay, log_level, log_format)
    shared = ["--config", str(config), "--log-level", log_level, "--log-format", log_format]
    for file in overlay:
        shared += ["--overlay", str(file)]
    start = [sys.executable, "-m", "cellguard", "edge"]
    return supervise.run({"guard": [*start, "guard", *shared], "link": [*start, "link", *shared]})


@command.command("guard")
@_long_running
def guard(config: Path, overlay: tuple[Path, ...], log_level: str, log_format: str) -> int:
    """Run only the guard: devices and safety, no network."""
    from edge_agent.config import load_edge
    from edge_agent.guard.main import run as run_guard

    return run_guard(_load(config, overlay, log_level, log_format), lambda: load_edge(config, overlay))


@command.command("link")
@_long_running
def link(config: Path, overlay: tuple[Path, ...], log_level: str, log_format: str) -> int:
    """Run only the link: spool and MQTT, no devices."""
    from edge_agent.config import load_edge
    from edge_agent.link.main import run as run_link

    return run_link(_load(config, overlay, log_level, log_format), lambda: load_edge(config, overlay))


@command.command("check")
@config_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def check(config: Path, overlay: tuple[Path, ...], as_json: bool) -> None:
    """Judge the settings without touching a device, and print what is in force.

    An absent device is a note, an absent file a warning; both exit 0. Anything wrong exits 78, every violation named.
    """
    from cellguard.toml import dumps
    from edge_agent.check import judge
    from edge_agent.config import load_edge
    from shared.errors import ConfigError
    from shared.violations import SettingsError

    try:
        settings = load_edge(config, overlay)
        findings = judge(settings, str(config))
    except ConfigError as error:
        if as_json:
            found = error.violations if isinstance(error, SettingsError) else (error,)
            _print_json({"ok": False, "errors": [str(one) for one in found]})
        raise
    if as_json:
        effective = settings.model_dump(mode="json")
        _print_json({"ok": True, "warnings": findings.warnings, "notes": findings.notes, "config": effective})
        return
    click.echo(dumps(settings.model_dump(exclude_none=True)).rstrip())
    for kind, sentences in (("warning", findings.warnings), ("note", findings.notes)):
        for sentence in sentences:
            click.echo(f"{kind}: {sentence}", err=True)


def _load(config: Path, overlay: tuple[Path, ...], log_level: str, log_format: str) -> EdgeConfig:
    from edge_agent.config import load_edge
    from shared.logs import setup

    setup(log_level, log_format)
    return load_edge(config, overlay)


def _print_json(body: dict[str, object]) -> None:
    import json

    click.echo(json.dumps(body, ensure_ascii=False))
