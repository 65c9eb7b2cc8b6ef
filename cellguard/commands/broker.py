"""`cellguard broker password`: passwords for people, and for machines that have no certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from cellguard.commands.certs import RELOAD, folder_option, office


@click.group("broker")
def command() -> None:
    """The broker's users: who may look, who may operate."""


@command.command("password")
@click.argument("name")
@click.option("--role", type=click.Choice(("viewer", "operator", "agent", "collector")), help="What the name may do.")
@click.option("--remove", is_flag=True, help="Take the name's password away.")
@folder_option
def password(name: str, role: str | None, remove: bool, folder: Path) -> None:
    """Make a new password for NAME, in a file that only you can read; it is never shown and never typed on a command line.

    A viewer reads; an operator also commands. For an agent NAME is SITE/NODE. With it, connect to port 8884.
    """
    if remove == (role is not None):
        raise click.UsageError("either --role or --remove")
    if role is None:
        office(folder).forget_password(name, datetime.now(UTC))
        click.echo(f"{name} has no password any more")
    else:
        written = office(folder).password(role, name)
        click.echo(f"  {written.parent}  → to {name}: the password, and ca.crt to know the broker by")
    click.echo(RELOAD.format(broker=f"{folder / 'broker' / 'passwd'} and {folder / 'broker' / 'acl'}"))
    if role in {"viewer", "operator"}:
        click.echo(f"Then: cellguard watch --mqtt HOST:8884 --ca ca.crt --user {name} --password-file {name}.password")
