"""`cellguard certs init|issue|revoke|list`: the certificates with which machines prove themselves to the broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cellguard.credentials import SOON_DAYS

if TYPE_CHECKING:
    from cellguard.credentials.office import Office

DEFAULT_FOLDER = "keys"

folder_option = click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_FOLDER, show_default=True,
    metavar="DIR", help="The folder with everything secret.",
)  # fmt: skip
RELOAD = "have the broker read it again: copy {broker} to it, then `systemctl reload mosquitto` or SIGHUP"


def office(folder: Path) -> Office:
    """The office of a folder; raises Unavailable with what to install when the library is not there."""
    try:
        from cellguard.credentials.folder import Folder
        from cellguard.credentials.office import Office
    except ModuleNotFoundError as error:
        from shared.errors import Unavailable

        raise Unavailable(
            f"{error.name} is not installed: pip install --require-hashes -r requirements/certs.txt"
        ) from error
    return Office(Folder(folder))


@click.group("certs")
def command() -> None:
    """Certificates for machines: an authority of your own, one certificate for each agent and collector.

    Everything is made in one folder on one computer, readable by you alone; each command says what goes where. For people
    there are passwords: `cellguard broker password`.
    """


@command.command("init")
@folder_option
@click.option(
    "--host", "hosts", multiple=True, required=True, metavar="NAME|ADDRESS",
    help="Name or address under which the broker is reached; once for each.",
)  # fmt: skip
def init(folder: Path, hosts: tuple[str, ...]) -> None:
    """Make the authority and the broker's folder; run again, it keeps the authority and renews the broker's certificate."""
    fresh = office(folder).start(hosts, datetime.now(UTC))
    click.echo(
        f"{'a new authority' if fresh else 'the authority is kept'}; the broker's certificate is for {', '.join(hosts)}"
    )
    _tell(
        {
            folder
            / "broker": "to the broker's computer, as /etc/mosquitto/cellguard, owner mosquitto (mosquitto/README.md)",
            folder / "authority": "stays here; who has ca.key can make himself anybody: keep a copy offline",
        }
    )
    click.echo(f"Next: cellguard certs issue agent SITE/NODE --dir {folder}")


@command.command("issue")
@click.argument("role", type=click.Choice(("agent", "collector")))
@click.argument("name")
@folder_option
@click.option("--days", type=click.IntRange(1, 3650), default=730, show_default=True, help="How long it is good.")
def issue(role: str, name: str, folder: Path, days: int) -> None:
    """Make a certificate: for an agent NAME is SITE/NODE of its edge.toml, for a collector the name in its collector.toml.

    An earlier certificate of the name stays good until it ends, so that it can be replaced while everything runs.
    """
    place = office(folder).issue(role, name, datetime.now(UTC), days)
    stem = name.rpartition("/")[2]
    settings = "edge.toml" if role == "agent" else "collector.toml"
    where = (
        "to the Pi, as /etc/cellguard/certs"
        if role == "agent"
        else "to the collector's computer, beside collector.toml as certs"
    )
    _tell({place: f"{where}; readable by its program alone"})
    click.echo(
        f'In {settings}: [mqtt] tls = {{ ca = "certs/ca.crt", cert = "certs/{stem}.crt", key = "certs/{stem}.key" }}'
    )
    click.echo(RELOAD.format(broker=folder / "broker" / "acl"))


@command.command("revoke")
@click.argument("name")
@folder_option
def revoke(name: str, folder: Path) -> None:
    """Shut out every certificate of a name: a Pi that was lost or sold."""
    count = office(folder).revoke(name, datetime.now(UTC))
    click.echo(f"{name}: {count} certificate{'s' if count > 1 else ''} revoked")
    click.echo(RELOAD.format(broker=f"{folder / 'broker' / 'crl.pem'} and {folder / 'broker' / 'acl'}"))
    click.echo("A connection that is up goes on until it ends: restart the broker to cut it now.")


@command.command("list")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="One JSON line a certificate.")
def list_(folder: Path, as_json: bool) -> None:
    """Show every certificate, the authority's and the broker's too: its role, its end, whether it is good."""
    now = datetime.now(UTC)
    clients = office(folder).certificates(now)
    for one in (*office(folder).own_certificates(now), *clients):
        left = (one.ends - now).days
        if as_json:
            body = {**one._asdict(), "ends": one.ends.isoformat(), "serial": f"{one.serial:x}", "days_left": left}
            click.echo(json.dumps(body))
            continue
        renew = "`cellguard certs init`" if one.role == "broker" else "issue a new one"
        soon = f"  {left} days left: {renew}" if one.state == "good" and left < SOON_DAYS else ""
        click.echo(f"{one.state:<8} {one.ends:%Y-%m-%d}  {one.role:<10} {one.name}{soon}")
    if not clients and not as_json:
        click.echo("no certificate was issued yet", err=True)


def _tell(places: dict[Path, str]) -> None:
    for path, where in places.items():
        click.echo(f"  {path}  → {where}")
