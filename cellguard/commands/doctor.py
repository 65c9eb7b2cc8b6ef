"""`cellguard doctor`: every link of the chain, one line each, and what to do where one is broken."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from cellguard.connection import Where, broker_options
from cellguard.doctor import Finding, Patient, examine
from cellguard.view import View
from shared.errors import EXIT_DOCTOR, EXIT_DONE, Unavailable

_MARKS = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "fault": ("FAULT", "red")}


@click.command(name="doctor")
@click.option("--seconds", type=click.FloatRange(min=1.0), default=4.0, show_default=True, help="How long to listen.")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="edge.toml: also check this Pi's folders."
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each check.")
@broker_options
def command(*, seconds: float, config: Path | None, as_json: bool, where: Where) -> None:
    """Check broker, node, modules, devices, storage, clock and disk. Exit 0: all well; 5: a fault was found."""
    folders = _folders(config)
    trouble, view = _listen(where, seconds)
    broker = f"{where.broker.host}:{where.broker.port}"
    found = examine(Patient(broker, trouble, view, time.monotonic(), folders))
    for name, finding in found:
        _print(name, finding, as_json=as_json)
    faults = sum(finding.verdict == "fault" for _, finding in found)
    sys.exit(EXIT_DOCTOR if faults else EXIT_DONE)


def _listen(where: Where, seconds: float) -> tuple[str, View]:
    from cellguard.listener import Listener
    from cellguard.operator import NoAnswer, Operator, default_actor, subscriptions

    try:
        with Listener(where.broker, subscriptions(where.site, where.node)) as listener:
            operator = Operator(listener, where.site, where.node, default_actor())
            operator.watch(seconds)
            return "", operator.view
    except Unavailable as error:
        return str(error), View()
    except NoAnswer:
        return "", View()


def _folders(config: Path | None) -> dict[str, Path]:
    if config is None:
        return {"this folder": Path.cwd()}
    from edge_agent.config import load_edge

    settings = load_edge(config)
    return {"state_dir": settings.node.state_dir, "runtime_dir": settings.node.runtime_dir}


def _print(name: str, finding: Finding, *, as_json: bool) -> None:
    import orjson

    if as_json:
        click.echo(orjson.dumps({"check": name, **finding._asdict()}))
        return
    mark, colour = _MARKS[finding.verdict]
    todo = f" → {finding.todo}" if finding.todo else ""
    click.echo(f"{click.style(mark, fg=colour)} {name:<10} {finding.said}{todo}")
