"""`cellguard doctor`: every link of the chain, one line each, and what to do where one is broken."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellguard.commands.edge import DEFAULT_CONFIG
from cellguard.connection import Where, broker_options
from shared.errors import EXIT_DOCTOR, EXIT_DONE

if TYPE_CHECKING:
    from cellguard.doctor.finding import Finding
    from edge_agent.config import EdgeConfig

_MARKS = {
    "ok": ("ok   ", "green"),
    "note": ("note ", "yellow"),
    "unchecked": ("?    ", "cyan"),
    "fault": ("FAULT", "red"),
}


@click.command(name="doctor")
@click.option("--seconds", type=click.FloatRange(min=1.0), default=4.0, show_default=True, help="How long to listen.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"edge.toml: also check this Pi, its guard and its devices.  [default: {DEFAULT_CONFIG} where it exists]",
)
@click.option("--socket", type=click.Path(path_type=Path), help="The guard's own door, instead of the one in --config.")
@click.option(
    "--measure-comm-timer", is_flag=True, help="At 0 A, with the guard stopped: what refreshes the inverter's timer?"
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each check.")
@broker_options
def command(
    *, seconds: float, config: Path | None, socket: Path | None, measure_comm_timer: bool, as_json: bool, where: Where
) -> None:
    """Check broker, node and storage; on the Pi also guard, adapters, devices and the computer.

    Exit 0: all well; 5: a fault was found, and each says what to do. What could not be looked at is said to be not checked.
    """
    from cellguard.doctor.listening import Ears, listen
    from cellguard.doctor.patient import Patient
    from cellguard.doctor.quiet import tries
    from cellguard.doctor.table import examine

    settings = _settings(config)
    if settings is None and (measure_comm_timer or socket is not None):
        raise click.UsageError("--measure-comm-timer and --socket need --config")
    where, subscribe = _broker(settings, where)
    door = socket or (settings.node.runtime_dir / "local.sock" if settings is not None else None)
    heard, words = listen(Ears(where, subscribe, seconds, door, settings), _tell)
    address = f"{where.broker.host}:{where.broker.port}"
    patient = Patient(address, heard.trouble, heard.view, heard.at, _folders(settings), heard.deaf, settings, words)
    if words is not None and (words.trouble or measure_comm_timer):
        patient = replace(patient, measured=tries(patient, _tell, measure_timer=measure_comm_timer))
    found = examine(patient)
    for name, finding in found:
        _print(name, finding, as_json=as_json)
    faults = sum(finding.verdict == "fault" for _, finding in found)
    sys.exit(EXIT_DOCTOR if faults else EXIT_DONE)


def _settings(config: Path | None) -> EdgeConfig | None:
    if config is None and not DEFAULT_CONFIG.exists():
        return None
    from edge_agent.config import load_edge

    return load_edge(config or DEFAULT_CONFIG)


def _broker(settings: EdgeConfig | None, where: Where) -> tuple[Where, bool]:
    """Which broker, and whether to be its client: what the person said, else what this Pi's settings say."""
    given = click.get_current_context().get_parameter_source("mqtt")
    if settings is None or given is click.core.ParameterSource.COMMANDLINE or "CELLGUARD_MQTT" in os.environ:
        return where, True
    from edge_agent.link.main import broker_settings

    mqtt, node = settings.mqtt, settings.node
    broker = replace(broker_settings(settings), client_id=where.broker.client_id)
    own = Where(broker, where.site or node.site, where.node or node.name)
    # with the link's certificate this would be a second session of the link and end the first; its rights hear nothing anyhow
    return own, mqtt.tls is None and mqtt.username is None


def _folders(settings: EdgeConfig | None) -> dict[str, Path]:
    if settings is None:
        return {"this folder": Path.cwd()}
    return {"state_dir": settings.node.state_dir, "runtime_dir": settings.node.runtime_dir}


def _tell(sentence: str) -> None:
    click.echo(f"doctor: {sentence} …", err=True)


def _print(name: str, finding: Finding, *, as_json: bool) -> None:
    import orjson

    if as_json:
        click.echo(orjson.dumps({"check": name, **finding._asdict()}))
        return
    mark, colour = _MARKS[finding.verdict]
    todo = f" → {finding.todo}" if finding.todo else ""
    click.echo(f"{click.style(mark, fg=colour)} {name:<16} {finding.said}{todo}")
