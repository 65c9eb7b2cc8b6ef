"""Installing on the Pi: what is left to do, done on a machine below a folder, and never while current may flow."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import pytest

from edge_agent.install.machine import Machine
from edge_agent.install.plan import Found, key, steps
from edge_agent.install.rows import (
    COMMAND,
    FILES,
    HOME,
    NETWORKD,
    RELEASES,
    SETTINGS,
    STATE,
    TIME,
    TIMESYNCD,
    UNITS,
    VENV,
    Active,
    Enabled,
    File,
    Gone,
    Guarded,
    Idle,
    Link,
    NoUser,
    Row,
    Run,
    Site,
    installed,
    removed,
)
from edge_agent.install.run import energised, refuse_when_energised
from shared.errors import Refused

CHECKOUT = Path(__file__).resolve().parents[3]
DEPLOY = {source: (CHECKOUT / "deploy" / source).read_bytes() for source, _, _ in FILES.values()}
RELEASE = f"{RELEASES}/abc"
BARE = Site(DEPLOY, RELEASE, (RELEASE,), "", (), "", ready=False)
READY = BARE._replace(time_from="192.168.137.1", ready=True, private=(SETTINGS, "/etc/cellguard/certs/rig-1.key"))


def words(rows: list[Row], found: dict[tuple[str, str], Found]) -> list[str]:
    return [step.words for step in steps(rows, found)]


def as_wanted(rows: Iterable[Row]) -> dict[tuple[str, str], Found]:
    """A machine on which every row is as it is wanted, and whose units and programs are there."""
    found = {}
    for row in rows:
        match row:
            case File(_, content):
                now = Found(exists=True, content=content, private=True)
            case Link(_, target):
                now = Found(exists=True, target=target)
            case Gone() | NoUser():
                now = Found()
            case Idle():
                now = Found(exists=True)
            case _:
                now = Found(exists=True, private=True, enabled=True, active=True)
        found[key(row)] = now
    return found


def test_a_bare_machine_gets_every_file_and_what_makes_it_count() -> None:
    rows = installed(BARE)
    there = {key(row): Found(exists=True) for row in rows if isinstance(row, Run)}
    there["Enabled", NETWORKD] = Found(exists=True)

    said = words(rows, there)

    assert [f"made {name}" for name in FILES if f"made {name}" not in said] == []
    for after, command in (
        ("made /etc/sysusers.d/cellguard.conf", "systemd-sysusers cellguard.conf"),
        ("systemd-tmpfiles --create cellguard.conf", f"made {SETTINGS}"),
        (f"made /etc/systemd/system/{UNITS[1]}.service", "systemctl daemon-reload"),
        ("systemctl daemon-reload", f"{UNITS[0]} starts with the machine"),
        (f"{NETWORKD} starts with the machine", f"systemctl disable {NETWORKD}-wait-online"),
        (f"{VENV} leads to {RELEASE}", f"systemctl try-restart {' '.join(UNITS)}"),
    ):
        assert said.index(after) < said.index(command)
    assert not [sentence for sentence in said if "started" in sentence], "the settings are not whole yet"


def test_a_machine_that_is_as_wanted_is_left_alone() -> None:
    for rows in (installed(BARE), installed(READY), removed(purge=False), removed(purge=True)):
        assert words(rows, as_wanted(rows)) == []


@pytest.mark.parametrize(
    ("row", "now", "said"),
    [
        (File("/a", b"new"), Found(exists=True, content=b"old"), "renewed /a"),
        (File("/a", b"new", keep=True), Found(exists=True, content=b"mine"), ""),
        (Guarded("/a"), Found(exists=True), "made /a readable for root and the group cellguard only"),
        (Link("/a", "/new"), Found(exists=True, target="/old"), "/a leads to /new"),
        (Gone("/a"), Found(exists=True), "removed /a"),
        (Enabled("unit"), Found(exists=False), ""),
        (Enabled("unit", ours=True), Found(exists=False), "unit starts with the machine"),
        (Enabled("unit"), Found(exists=True), "unit starts with the machine"),
        (Active("unit"), Found(exists=True), "started unit"),
        (Idle("unit"), Found(exists=True, enabled=True), "stopped unit, it no longer starts with the machine"),
        (NoUser("user"), Found(exists=True), "removed the user or group user"),
    ],
)
def test_a_row_that_differs_is_one_step_with_its_words(row: Row, now: Found, said: str) -> None:
    assert words([row], {key(row): now}) == ([said] if said else [])


def test_a_command_follows_only_what_has_changed_and_only_where_there_is_one() -> None:
    rows: list[Row] = [File("/a", b""), Run(("tell",), ("/a",)), Run(("other",), ("/b",))]

    assert words(rows, {("Run", "tell"): Found(exists=True)}) == ["made /a", "tell"]
    assert words(rows, {}) == ["made /a"]


def test_a_new_release_takes_over_and_only_the_one_before_stays() -> None:
    old, older = f"{RELEASES}/old", f"{RELEASES}/older"
    rows = installed(READY._replace(releases=(RELEASE, old, older), before=old))
    there = {("Gone", one): Found(exists=True) for one in (RELEASE, old, older)}
    found = as_wanted(rows) | there | {("Link", VENV): Found(exists=True, target=old)}

    assert words(rows, found) == [
        f"{VENV} leads to {RELEASE}",
        f"systemctl try-restart {' '.join(UNITS)}",
        f"removed {older}",
    ]


def test_the_time_comes_from_the_pc_that_the_settings_name() -> None:
    rows = {row.name: row for row in installed(READY) if isinstance(row, File | Enabled)}

    assert b"\nNTP=192.168.137.1\n" in rows[TIME].content  # type: ignore[union-attr]  # a File
    assert TIMESYNCD in rows
    assert TIME not in {row.name for row in installed(BARE) if isinstance(row, File)}


def test_uninstall_removes_every_file_of_install_and_keeps_settings_and_state_without_purge() -> None:
    made = {row.name for row in installed(READY) if isinstance(row, File | Link)}
    gone, purged = ({row.name for row in removed(purge=purge) if isinstance(row, Gone)} for purge in (False, True))

    assert made - gone == {SETTINGS, VENV}
    assert HOME in gone
    assert VENV.startswith(HOME)
    assert purged - gone == {SETTINGS, "/etc/cellguard", STATE}


def test_what_install_puts_in_place_is_in_the_wheel_too() -> None:
    wheel = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    included = wheel["force-include"]

    sources = {f"deploy/{source}" for source in DEPLOY}
    assert {one for one in sources if not {one, one.rpartition("/")[0]} & set(included)} == set()
    assert set(included.values()) == {f"edge_agent/install/{one}" for one in included}


def test_files_and_links_are_made_renewed_and_removed_on_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    wanted: list[Row] = [File("/etc/a/b.conf", b"one"), Link(VENV, RELEASE), Link(COMMAND, f"{VENV}/bin/cellguard")]

    for step in steps(wanted, machine.look(wanted)):
        assert machine.do(step) == ""

    assert machine.path("/etc/a/b.conf").read_bytes() == b"one"
    assert stat.S_IMODE(machine.path("/etc/a/b.conf").stat().st_mode) == 0o644
    assert str(machine.path(VENV).readlink()) == RELEASE
    assert steps(wanted, machine.look(wanted)) == []
    changed: list[Row] = [File("/etc/a/b.conf", b"two"), Link(VENV, f"{RELEASES}/def")]
    for step in steps(changed, machine.look(changed)):
        machine.do(step)
    assert machine.path("/etc/a/b.conf").read_bytes() == b"two"
    assert str(machine.path(VENV).readlink()) == f"{RELEASES}/def"
    gone: list[Row] = [Gone(VENV), Gone("/etc/a"), Gone("/never/there")]
    for step in steps(gone, machine.look(gone)):
        machine.do(step)
    assert not machine.path("/etc/a").exists()
    assert not machine.path(VENV).is_symlink()


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"state/safety": {"state": "STANDBY"}, "state/outputs": {"relay1": {"commanded": 0, "readback": 0}}}, ""),
        ({"state/safety": {"state": "LATCHED"}}, ""),
        ({"state/safety": {"state": "RUN"}}, "the guard's state is RUN, not LATCHED or STANDBY"),
        ({"state/safety": {"state": "SERVICE"}}, "the guard's state is SERVICE, not LATCHED or STANDBY"),
        (
            {"state/safety": {"state": "LATCHED"}, "state/outputs": {"relay2": {"commanded": 0, "readback": 1}}},
            "relay2 not open",
        ),
        ({}, "the guard's state is unknown, not LATCHED or STANDBY"),
    ],
)
def test_only_an_open_pack_may_be_left_alone_for_an_upgrade(states: dict[str, object], said: str) -> None:
    assert energised({"states": states}) == said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"status":"done","states":{"state/safety":{"state":"HOLD"}}}\n', "state is HOLD, not LATCHED or STANDBY"),
        (b"", "does not say whether the pack is connected"),
        (b'{"status":"done","states":{"state/safety":{"state":"STANDBY"}}}\n', ""),
    ],
)
def test_a_guard_that_listens_is_asked_and_must_say_that_all_is_open(answer: bytes, words: str, tmp_path: Path) -> None:
    door = tmp_path / "local.sock"
    refuse_when_energised(door)  # nobody listens there: nothing to ask
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()
        guard = threading.Thread(target=answering, args=(listener, answer), daemon=True)
        guard.start()

        with pytest.raises(Refused, match=words) if words else nullcontext():
            refuse_when_energised(door)
        guard.join(10.0)
        assert not guard.is_alive()


def answering(listener: socket.socket, answer: bytes) -> None:
    """One who knocks and goes, then one who asks."""
    listener.accept()[0].close()
    with listener.accept()[0] as asking:
        asking.recv(4096)
        asking.sendall(answer)


def test_outside_of_a_release_and_without_root_nothing_is_touched() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cellguard", "edge", "install"], text=True, capture_output=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert ("run install.sh" if os.geteuid() == 0 else "needs root") in done.stderr


def test_install_sh_without_wheels_says_where_they_come_from() -> None:
    done = subprocess.run(
        ["sh", str(CHECKOUT / "deploy" / "install.sh")], text=True, capture_output=True, timeout=30, check=False
    )

    assert done.returncode == 1
    assert ("make wheelhouse" if os.geteuid() == 0 else "needs root") in done.stderr
    assert done.stderr.count("\n") == 1
