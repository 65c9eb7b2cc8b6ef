"""`cellguard local`: the guard's own door, for who stands at the Pi; works without link, broker and network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cellguard.commands.edge import config_options

_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 120.0


@click.group("local")
def command() -> None:
    """The guard's own door: estop, open, arm, commission, service, reset-latch, status, send."""


def _door(function: Callable[..., Any]) -> Callable[..., Any]:
    where = click.option("--socket", type=click.Path(path_type=Path), help="The door itself, instead of --config.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Answers as JSON lines.")
    return config_options(where(as_json(function)))


@command.command("estop")
@_door
def estop(**door: Any) -> None:  # noqa: ANN401 (the four options of every command here)
    """Emergency stop: setpoint zero, then open the contactors."""
    _send({"target": "estop"}, **door)


@command.command("open")
@_door
def open_(**door: Any) -> None:  # noqa: ANN401 (same)
    """Open the contactors in order."""
    _send({"target": "contactor", "action": "open"}, **door)


@command.command("arm")
@click.option("--hours", type=click.FloatRange(0.0, 168.0, min_open=True), default=8.0, show_default=True)
@_door
def arm(hours: float, **door: Any) -> None:  # noqa: ANN401 (same)
    """Accept energising commands over MQTT for some hours ([commands] energise = "window")."""
    _send({"target": "arm", "hours": hours}, **door)


@command.command("commission")
@_door
def commission(**door: Any) -> None:  # noqa: ANN401 (same)
    """Record the modules that answer now as the ones that belong to the pack."""
    _send({"target": "commission"}, **door)


@command.command("service")
@click.argument("state", type=click.Choice(("on", "off")))
@_door
def service(state: str, **door: Any) -> None:  # noqa: ANN401 (same)
    """Enter or leave SERVICE, in which single relays can be switched with the inverter off."""
    _send({"target": "service", "on": state == "on"}, **door)


@command.command("reset-latch")
@click.argument("latch")
@_door
def reset_latch(latch: str, **door: Any) -> None:  # noqa: ANN401 (same)
    """Reset one latch by its name, as `local status` shows it."""
    _send({"target": "safety", "action": "reset_latch", "latch": latch}, **door)


@command.command("status")
@_door
def status(**door: Any) -> None:  # noqa: ANN401 (same)
    """Show state, latches, outputs, alarms and the guard's own health."""
    _send({"target": "status"}, **door)


@command.command("send")
@click.argument("target")
@click.argument("body", default="{}")
@_door
def send(target: str, body: str, **door: Any) -> None:  # noqa: ANN401 (same)
    """Send any command, such as: send contactor '{"action":"close"}'."""
    import json

    try:
        given = json.loads(body)
    except ValueError as error:
        raise click.BadParameter(f"{body!r} is no JSON object: {error}") from error
    if not isinstance(given, dict):
        raise click.BadParameter(f"{body!r} is no JSON object")
    _send({**given, "target": target}, **door)


def _send(body: dict[str, object], config: Path, overlay: tuple[Path, ...], socket: Path | None, as_json: bool) -> None:
    import json

    from edge_agent.local_client import ask, judged

    def show(answer: dict[str, object]) -> None:
        click.echo(json.dumps(answer, ensure_ascii=False) if as_json else _sentence(answer))

    path = socket or _socket_of(config, overlay)
    timeout_s = _CLOSE_TIMEOUT_S if body.get("action") == "close" else _TIMEOUT_S
    answer = ask(path, body, timeout_s, show)
    if as_json:
        show(answer)
    answer = judged(answer)
    if not as_json:
        click.echo(_status(answer) if body["target"] == "status" else _sentence(answer))


def _socket_of(config: Path, overlay: tuple[Path, ...]) -> Path:
    from edge_agent.config import load_edge

    return load_edge(config, overlay).node.runtime_dir / "local.sock"


def _sentence(answer: dict[str, object]) -> str:
    extra = [f"{key}={answer[key]}" for key in ("code", "reason", "readback", "took_ms", "state") if answer.get(key)]
    return f"{answer.get('target')}: {answer.get('status')} {' '.join(extra)}".rstrip()


def _status(answer: dict[str, object]) -> str:
    import json

    lines: list[str] = []
    states = answer.get("states")
    for name, body in sorted(states.items()) if isinstance(states, dict) else []:
        lines.append(name)
        if isinstance(body, dict):
            lines += [f"  {key} = {json.dumps(value, ensure_ascii=False)}" for key, value in body.items()]
    health = answer.get("health")
    if isinstance(health, dict):
        lines.append("health")
        lines += [f"  {key} = {json.dumps(health[key])}" for key in ("cycle_ms", "latency_ms", "ring", "rss_kb")]
    return "\n".join(lines)
