"""What the demo says to a person: what runs and where, what to try, and one line that lives."""

from __future__ import annotations

from collections.abc import Mapping

from cellguard.connection import DEFAULT_MQTT
from cellguard.demo.plan import NODE, SITE, Folders, Options
from cellguard.tolerant import number
from cellguard.view import View

_TRY = (
    ("cellguard watch", "the pack, live"),
    ("cellguard send fan on", "a command and its measured answer"),
    ("cellguard alarms", "what is wrong now"),
    ("cellguard tail", "everything that is published"),
)


def ready_line(options: Options, folders: Folders, pids: Mapping[str, int]) -> dict[str, object]:
    """The first line of `--json` (CONTRACT §2)."""
    return {
        "ready": True,
        "mqtt": f"127.0.0.1:{options.port}",
        "site": SITE,
        "node": NODE,
        "simulator": str(folders.control),
        "archive": str(folders.archive),
        "console": None,
        "pids": dict(pids),
    }


def welcome(options: Options, folders: Folders, pids: Mapping[str, int], took_s: float) -> str:
    """What runs, where, and commands to copy."""
    mqtt = f"127.0.0.1:{options.port}"
    where = "" if mqtt == DEFAULT_MQTT else f" --mqtt {mqtt}"
    tries = "\n".join(f"  {command + where:<50}  {meaning}" for command, meaning in _TRY)
    running = " · ".join(f"{name} {pid}" for name, pid in pids.items())
    kept = " (removed at the end; keep it with --data DIR)" if folders.temporary[:1] == (folders.data,) else ""
    return f"""\
cellguard demo: {options.modules} modules of {options.cells} cells, profile {options.profile}, ready after {took_s:.1f} s
  running   {running}
  broker    {mqtt}, topics cellguard/v1/{SITE}/{NODE}/…
  data      {folders.data}{kept}

Try in another terminal:
{tries}
  cellguard export --archive {folders.archive} --format csv
  mosquitto_sub -p {options.port} -v -t 'cellguard/#'
Make a module hot and watch the circuit open:
  cellguard rig set {folders.control} module.3.temperature_c=55
Ctrl-C ends it: outputs safe, books printed, nothing left running.
"""


def status_line(view: View) -> str:
    """One line of what goes on, for a terminal."""
    inverter, safety, schedule = view.state("inverter"), view.state("safety"), view.state("schedule")
    alarms = view.current_alarms()
    worst = f"{len(alarms)} alarms, worst {alarms[0].get('alarm')}" if alarms else "no alarms"
    parts = (
        str(safety.get("state", "…")),
        f"{number(inverter, 'current'):+.1f} A",
        f"schedule step {schedule.get('step', 0)}/{schedule.get('steps', 0)}",
        f"{view.receipts} receipts",
        worst,
    )
    return " · ".join(parts)
