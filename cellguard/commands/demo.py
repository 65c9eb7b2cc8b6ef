"""`cellguard demo`: the whole system on a simulated rig, one command, nothing left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command(name="demo")
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0.0),
    metavar="S",
    help="Stop so long after ready. Default: Ctrl-C.",
)
@click.option("--modules", type=click.IntRange(1, 15), default=8, show_default=True, help="Modules in series.")
@click.option("--cells", type=click.IntRange(1, 14), default=12, show_default=True, help="Cells in each module.")
@click.option(
    "--sync-period", "sync_period_s", type=click.FloatRange(0.02, 2.0), default=0.2, show_default=True, metavar="S"
)
@click.option(
    "--can", type=click.Choice(["slcan", "unix"]), default="slcan", show_default=True, help="unix: full rate."
)
@click.option("--profile", type=click.Choice(["ideal", "lab-2021"]), default="ideal", show_default=True)
@click.option(
    "--config",
    "overlay",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Edge settings laid over the demo's own.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything here. Default: a folder that is removed.",
)
@click.option("--mqtt-port", type=click.IntRange(1, 65535), help="The broker's port. Default: 1883, or a free one.")
@click.option("--json", "as_json", is_flag=True, help="First and last line are JSON.")
def command(**given: Any) -> None:  # noqa: ANN401 (the options are those of demo.plan.Options)
    """Run broker, simulated rig, guard, link and collector; connect the pack and run a schedule.

    The last line is the books: produced = stored + gaps + quarantined + spooled, and then the exit is 0.
    """
    if sys.platform != "linux":
        raise click.UsageError("the demo needs Linux (ptys and Unix sockets); the PC's commands work here")
    from cellguard.demo.broker import choose_port
    from cellguard.demo.plan import Options
    from cellguard.demo.run import run

    data, port = given.pop("data"), choose_port(given.pop("mqtt_port"))
    sys.exit(run(Options(port=port, **given), data))
