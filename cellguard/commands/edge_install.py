"""`cellguard edge install` and `uninstall`: the agent as services of this machine, and gone again."""

from __future__ import annotations

import sys

import click


@click.command("install")
def install() -> None:
    """Make the services, users and files of this machine those of this release; run by install.sh, as root.

    Says every change; run again it says "nothing to do". Refused while the pack is connected. Settings and udev rules that
    are there stay as they are; the services start when the settings are whole.
    """
    from edge_agent.install.machine import Machine
    from edge_agent.install.run import install as make

    sys.exit(0 if make(Machine(), click.echo) else 1)


@click.command("uninstall")
@click.option("--purge", is_flag=True, help="Also settings, certificates, users, the spool and the latch record.")
def uninstall(purge: bool) -> None:
    """Stop the services and remove what install made, as root. Settings and state stay. Refused while the pack is connected."""
    from edge_agent.install.machine import Machine
    from edge_agent.install.run import uninstall as remove

    sys.exit(0 if remove(Machine(), click.echo, purge=purge) else 1)
