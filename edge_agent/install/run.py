"""Installing and removing: looks, plans, asks the guard whether anything may be touched now, does it and tells every step."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edge_agent.check import judge
from edge_agent.config import EdgeConfig, load_edge
from edge_agent.install.machine import Machine
from edge_agent.install.plan import Step, steps
from edge_agent.install.rows import (
    FILES,
    RELEASES,
    RUNTIME,
    SETTINGS,
    TIMESYNCD,
    UNITS,
    VENV,
    Enabled,
    Row,
    Site,
    installed,
    removed,
)
from edge_agent.local_client import ask
from shared.errors import CellguardError, ConfigError, Refused

ASK_S = 5.0
AT_REST = frozenset({"STANDBY", "LATCHED"})
RELAYS = ("relay1", "relay2", "relay3")
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})

Say = Callable[[str], None]


def install(machine: Machine, say: Say) -> bool:
    """Make this release the one that runs. Returns whether all that was changed has taken effect; done twice it changes nothing.

    Raises:
        Refused: the pack is connected, or the guard does not say.
        CellguardError: not root, no systemd, not run from a release, or something could not be made.
    """
    _need_root()
    release = sys.prefix
    if not release.startswith(f"{RELEASES}/"):
        raise CellguardError(f"{release} is no release below {RELEASES}: run install.sh, which makes one (docs/how-to)")
    site, notes = _site(machine, release)
    done = _carry_out(machine, installed(site), say)
    for note in notes:
        say(f"note: {note}")
    return done


def uninstall(machine: Machine, say: Say, *, purge: bool) -> bool:
    """Remove what `install` made; settings, certificates, users and state stay unless `purge`. Raises as `install` does."""
    _need_root()
    return _carry_out(machine, removed(purge=purge), say)


def _carry_out(machine: Machine, rows: list[Row], say: Say) -> bool:
    left = steps(rows, machine.look(rows))
    if not left:
        say("nothing to do")
        return True
    refuse_when_energised(machine.path(RUNTIME) / "local.sock")
    done = [_done(machine, step, say) for step in left]
    return all(done)


def _done(machine: Machine, step: Step, say: Say) -> bool:
    trouble = machine.do(step)
    say(f"{step.words}: {trouble}" if trouble else step.words)
    return not trouble


def refuse_when_energised(door: Path) -> None:
    """Ask the guard at its local door; raises Refused unless it says that everything is open, or nobody listens there."""
    with socket.socket(socket.AF_UNIX) as knock:
        if knock.connect_ex(str(door)):
            return
    try:
        answer = ask(door, {"target": "status"}, ASK_S)
    except CellguardError as error:
        raise Refused(
            f"the guard runs and does not say whether the pack is connected ({error}); nothing was changed"
        ) from error
    if why := energised(answer):
        raise Refused(f"{why}: open the contactors first (cellguard local open); nothing was changed")


def energised(status: Mapping[str, object]) -> str:
    """Why the rig must be left alone now, from an answer to `status`; "" when everything is open."""
    states = status.get("states")
    bodies = states if isinstance(states, Mapping) else {}
    safety, outputs = bodies.get("state/safety", {}), bodies.get("state/outputs", {})
    if (state := safety.get("state", "unknown")) not in AT_REST:
        return f"the guard's state is {state}, not {' or '.join(sorted(AT_REST))}"
    closed = [
        name for name in RELAYS if outputs.get(name, {}).get("commanded") or outputs.get(name, {}).get("readback")
    ]
    return f"{', '.join(closed)} not open" if closed else ""


def _need_root() -> None:
    if os.geteuid() != 0:
        raise CellguardError("needs root: sudo cellguard edge install (or uninstall)")


def _site(machine: Machine, release: str) -> tuple[Site, list[str]]:
    config, ready, notes = _settings(machine)
    host = "" if config is None or config.mqtt.host in _HERE else config.mqtt.host
    if host and not machine.look([Enabled(TIMESYNCD)])["Enabled", TIMESYNCD].exists:
        notes.append(f"{TIMESYNCD} is not installed: nothing takes the time from {host} (apt install {TIMESYNCD})")
    link = machine.path(VENV)
    site = Site(
        deploy=_deploy(),
        release=release,
        releases=tuple(f"{RELEASES}/{one.name}" for one in sorted(machine.path(RELEASES).glob("*"))),
        before=str(link.readlink()) if link.is_symlink() else "",
        private=tuple(f"/{one.relative_to(machine.path('/'))}" for one in _private(machine)),
        time_from=host,
        ready=ready,
    )
    return site, notes


def _settings(machine: Machine) -> tuple[EdgeConfig | None, bool, list[str]]:
    """The settings as far as there are any, whether the services can start with them, and what is in the way."""
    path = machine.path(SETTINGS)
    start = f"then: cellguard edge check && systemctl start {' '.join(UNITS)}"
    if not path.exists():
        return (
            None,
            False,
            [f"put your ports and certificates into {SETTINGS} (docs/how-to/install-the-pi.md), {start}"],
        )
    try:
        config = load_edge(path)
        warnings = judge(config, str(path)).warnings
    except ConfigError as error:
        return None, False, [*str(error).splitlines(), f"the services were not started: mend {SETTINGS}, {start}"]
    # a folder without schedules stops nothing
    missing = [one for one in warnings if one.endswith("does not exist") and not one.startswith("[schedule]")]
    notes = list(warnings)
    if missing:
        notes.append(f"the services were not started: put the files in place, {start}")
    return config, not missing, notes


def _private(machine: Machine) -> Iterator[Path]:
    folder = machine.path(SETTINGS).parent
    yield from sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())


def _deploy() -> dict[str, bytes]:
    """The files of deploy/: in the wheel beside this module, in a checkout at its root."""
    beside = Path(__file__).with_name("deploy")
    folder = beside if beside.is_dir() else Path(__file__).parents[2] / "deploy"
    return {source: (folder / source).read_bytes() for source, _, _ in FILES.values()}
