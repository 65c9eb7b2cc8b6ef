"""The table of an installation: which file, link, folder and unit is wanted on the machine, and what follows a change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

HOME = "/opt/cellguard"
VENV = f"{HOME}/venv"
RELEASES = f"{HOME}/releases"
SETTINGS = "/etc/cellguard/edge.toml"
STATE, RUNTIME = "/var/lib/cellguard", "/run/cellguard"
GUARD, LINK = "cellguard-guard", "cellguard-link"
UNITS = (LINK, GUARD)
USERS = (GUARD, LINK)
GROUP = "cellguard"
NETWORKD, TIMESYNCD = "systemd-networkd", "systemd-timesyncd"
TIME = "/etc/systemd/timesyncd.conf.d/cellguard.conf"


class File(NamedTuple):
    """A file with this content. `keep`: only made where there is none, people change it."""

    name: str
    content: bytes
    keep: bool = False


class Guarded(NamedTuple):
    """A file that may be there: readable by root and by the group, by nobody else."""

    name: str


class Link(NamedTuple):
    """A symbolic link."""

    name: str
    target: str


class Gone(NamedTuple):
    """Neither file nor folder."""

    name: str


class Enabled(NamedTuple):
    """A unit that starts with the machine. `ours`: install puts its file in place; another's may not be there at all."""

    name: str
    ours: bool = False


class Active(NamedTuple):
    """A unit that runs."""

    name: str


class Idle(NamedTuple):
    """A unit that neither runs nor starts with the machine."""

    name: str


class NoUser(NamedTuple):
    """No user, nor group, of this name."""

    name: str


class Run(NamedTuple):
    """A command that makes a change of one of `after` take effect."""

    command: tuple[str, ...]
    after: tuple[str, ...]


Row = File | Guarded | Link | Gone | Enabled | Active | Idle | NoUser | Run

FILES: Mapping[str, tuple[str, bool, tuple[str, ...]]] = {
    "/etc/sysusers.d/cellguard.conf": ("systemd/cellguard.sysusers", False, ("systemd-sysusers", "cellguard.conf")),
    "/etc/tmpfiles.d/cellguard.conf": (
        "systemd/cellguard.tmpfiles", False, ("systemd-tmpfiles", "--create", "cellguard.conf"),
    ),
    SETTINGS: ("edge.example.toml", True, ()),
    "/etc/modules-load.d/cellguard.conf": (
        "modules-load.d/cellguard.conf", False, ("systemctl", "restart", "systemd-modules-load"),
    ),
    "/etc/sysctl.d/cellguard.conf": ("sysctl.d/cellguard.conf", False, ("systemctl", "restart", "systemd-sysctl")),
    # it is to hold the serial numbers of this rig's adapters
    "/etc/udev/rules.d/80-cellguard.rules": ("udev/80-cellguard.rules", True, ("udevadm", "control", "--reload")),
    "/etc/systemd/journald.conf.d/cellguard.conf": (
        "journald/cellguard.conf", False, ("systemctl", "restart", "systemd-journald"),
    ),
    "/etc/systemd/network/80-can0.link": ("networkd/80-can0.link", False, ()),
    # its bit rate is the rig's
    "/etc/systemd/network/80-can0.network": ("networkd/80-can0.network", True, ("systemctl", "try-restart", NETWORKD)),
    f"/etc/systemd/system/{LINK}.service": (f"systemd/{LINK}.service", False, ()),
    f"/etc/systemd/system/{GUARD}.service": (f"systemd/{GUARD}.service", False, ("systemctl", "daemon-reload")),
}  # fmt: skip
"""Place → (file of deploy/, whether people change it, what makes it count)."""

COMMAND = "/usr/local/bin/cellguard"
_UNIT_FILES = tuple(f"/etc/systemd/system/{unit}.service" for unit in UNITS)


class Site(NamedTuple):
    """What the table depends on: the files of deploy/, the release to run, what else lies on the machine.

    `private`: the files below /etc/cellguard. `time_from`: the host that gives the time, "" for none. `ready`: whether the
    settings are whole, so that the services can start.
    """

    deploy: Mapping[str, bytes]
    release: str
    releases: tuple[str, ...]
    before: str
    private: tuple[str, ...]
    time_from: str
    ready: bool


def installed(site: Site) -> list[Row]:
    """What is wanted, in the order in which it is done."""
    rows = [row for name in FILES for row in _file(site, name)]
    rows += [Guarded(name) for name in site.private]
    if site.time_from:
        rows += [
            File(
                TIME,
                f"# the PC is this machine's clock: made from [mqtt] host\n[Time]\nNTP={site.time_from}\n".encode(),
            ),
            Enabled(TIMESYNCD),
            Run(("systemctl", "restart", TIMESYNCD), (TIME, TIMESYNCD)),
        ]
    rows += [
        Enabled(NETWORKD),
        # enabling it brings this along; nothing of ours waits for a network, and a Pi without one must not
        Run(("systemctl", "disable", f"{NETWORKD}-wait-online"), (NETWORKD,)),
        Run(("systemctl", "start", NETWORKD), (NETWORKD,)),
        Link(VENV, site.release),
        Link(COMMAND, f"{VENV}/bin/cellguard"),
        *(Enabled(unit, ours=True) for unit in UNITS),
        Run(("systemctl", "try-restart", *UNITS), (VENV, *_UNIT_FILES)),
        *(Active(unit) for unit in UNITS if site.ready),
        *(Gone(one) for one in site.releases if one not in {site.release, site.before}),
    ]
    return rows


def _file(site: Site, name: str) -> Iterator[Row]:
    source, keep, command = FILES[name]
    yield File(name, site.deploy[source], keep)
    if command:
        yield Run(command, tuple(_together(name)))


def _together(name: str) -> Iterable[str]:
    """A file and those before it that take effect by the same command."""
    folder = name.rpartition("/")[0]
    return (other for other in FILES if other.rpartition("/")[0] == folder)


def removed(*, purge: bool) -> list[Row]:
    """What is wanted when cellguard is to be gone; settings, certificates and state only go with `purge`."""
    kept = set() if purge else {SETTINGS}
    rows: list[Row] = [*(Idle(unit) for unit in reversed(UNITS))]
    rows += [Gone(name) for name in (*FILES, TIME, COMMAND) if name not in kept]
    rows += [
        Run(("systemctl", "daemon-reload"), _UNIT_FILES),
        Run(("udevadm", "control", "--reload"), ("/etc/udev/rules.d/80-cellguard.rules",)),
        Run(("systemctl", "try-restart", "systemd-journald"), ("/etc/systemd/journald.conf.d/cellguard.conf",)),
        Run(("systemctl", "try-restart", TIMESYNCD), (TIME,)),
    ]
    if purge:
        rows += [Gone("/etc/cellguard"), Gone(STATE), *(NoUser(user) for user in (*USERS, GROUP))]
    return [*rows, Gone(HOME)]
