"""`cellguard simulate`: a rig without hardware, its links printed as one line of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


@click.command(name="simulate")
@click.option("--modules", type=int, default=8, show_default=True, help="Modules in series, 1..15.")
@click.option("--cells", type=int, default=12, show_default=True, help="Cells in each module, 1..14.")
@click.option(
    "--profile", default="ideal", show_default=True, help="ideal, or lab-2021 with the oddities of a real rig."
)
@click.option(
    "--can", default="slcan", show_default=True, metavar="slcan|unix|socketcan:IF", help="How CAN is offered."
)
@click.option("--arduino-protocol", default="v2", show_default=True, metavar="v1|v2", help="Which sketch it speaks.")
@click.option("--control", type=_PATH, help="Unix socket for setting values and faults.")
@click.option("--truth", type=_PATH, help="File for one line per change of outputs, setpoint, mode or circuit.")
@click.option("--directory", type=_PATH, help="Where the links are made; a temporary folder when left out.")
@click.option("--seed", type=int, help="The same noise every time.")
def command(**options: Any) -> None:  # noqa: ANN401 (the options are those of simulator.main.Options)
    """Run a simulated rig: battery, BMUs on CAN, inverter on RTU, Arduino on a serial line. Ctrl-C ends it."""
    from simulator.main import Options, run

    sys.exit(run(Options(**options)))
