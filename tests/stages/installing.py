"""What stage `systemd` proves of installing: from wheels alone, twice, not while current may flow, and gone again."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from container import Container
from proof import Failed, Proof, Skipped, last_lines
from systemd_rig import GUARD, LINK, START_S, STATE, Rig

SHOWN_AS = "/pi"
NEWER = "/pi-newer"
NOTHING = "nothing to do"
REFUSED = 3
BUNDLE_S = 180
FILES = (
    "/etc/sysusers.d/cellguard.conf",
    "/etc/systemd/system/cellguard-guard.service",
    "/etc/systemd/network/80-can0.network",
    "/usr/local/bin/cellguard",
    "/opt/cellguard",
)


def bundles(checkout: Path, made: Path, folder: Path, proof: Proof) -> list[str]:
    """What `make wheelhouse` makes, for the container's Python, and the same once more as a newer one; nspawn's options for both."""
    python = (made / "done").read_text().removeprefix("python")
    own, newer = folder / "pi", folder / "pi-newer"
    script = [str(checkout / "deploy" / "wheelhouse.sh"), str(own), platform.machine(), python]
    gathered = subprocess.run(["sh", *script], text=True, capture_output=True, timeout=BUNDLE_S, check=False)
    if gathered.returncode:
        raise Skipped(f"no wheels without a package index: {' '.join(last_lines(gathered.stderr, 2))}")
    shutil.copytree(own, newer, copy_function=os.link)
    (newer / "SHA256SUMS").unlink()
    listed = (own / "SHA256SUMS").read_text().splitlines(keepends=True)
    (newer / "SHA256SUMS").write_text("".join(reversed(listed)))
    proof.say(gathered.stdout.strip())
    return [f"--bind-ro={own}:{SHOWN_AS}", f"--bind-ro={newer}:{NEWER}"]


def install(inside: Container, bundle: str = SHOWN_AS) -> str:
    """What install.sh prints."""
    return inside.do("sh", f"{bundle}/install.sh")


def first(inside: Container, settings: str, proof: Proof) -> None:
    """On a bare Debian; then with settings, which are found readable for everybody."""
    said = install(inside)
    for words in (
        "made /etc/cellguard/edge.toml",
        f"{GUARD} starts with the machine",
        "put your ports and certificates into",
    ):
        proof.require(words in said, f"install.sh did not say {words!r}:\n{said}")
    inside.path("/etc/cellguard/edge.toml").write_text(settings)
    inside.do("chmod", "644", "/etc/cellguard/edge.toml")
    proof.proved(
        "install.sh on a bare Debian, without pip and without a network: users, files and units, nothing started"
    )


def again(rig: Rig) -> None:
    """With whole settings the services start, and then there is nothing left."""
    said = install(rig.inside)
    for words in (
        f"started {LINK}",
        f"started {GUARD}",
        "made /etc/cellguard/edge.toml readable for root and the group",
    ):
        rig.proof.require(words in said, f"install.sh did not say {words!r}:\n{said}")
    said = install(rig.inside)
    rig.proof.require(said.splitlines()[0] == NOTHING, f"installed again:\n{said}")
    rig.proof.proved("with whole settings the services start; run once more: nothing to do")


def upgrade(rig: Rig) -> None:
    """While the pack is connected a newer release stays aside; afterwards it takes over."""
    link, guard = "/opt/cellguard/venv", rig.pid(GUARD)
    before = rig.inside.do("readlink", link)
    done = rig.inside.attempt("sh", f"{NEWER}/install.sh")
    # while the release was made the setpoint's lease may have ended: RUN or READY, connected both
    rig.proof.require(done.returncode == REFUSED and "the guard's state is R" in done.stderr, f"connected: {done}")
    rig.proof.require((rig.inside.do("readlink", link), rig.pid(GUARD)) == (before, guard), "something was changed")
    rig.judge.send("contactor", "open")
    install(rig.inside, NEWER)
    rig.proof.require(rig.inside.do("readlink", link) != before, "the link still leads to the old release")
    rig.proof.require(rig.pid(GUARD) not in {0, guard}, "the guard was not started again")
    rig.proof.proved("an upgrade is refused while the pack is connected, and taken when it is open")


def gone(inside: Container, proof: Proof) -> None:
    """Uninstalled, the state stays; purged, nothing stays."""
    # the simulator runs as one of the users
    inside.do("systemctl", "stop", "rig")
    _uninstall(inside, proof)
    left = [name for name in FILES if inside.path(name).exists() or inside.path(name).is_symlink()]
    proof.require(not left, f"left by uninstall: {left}")
    kept = [name for name in (STATE, "/etc/cellguard/edge.toml") if not inside.path(name).exists()]
    proof.require(not kept, f"removed by uninstall without --purge: {kept}")
    install(inside)
    _uninstall(inside, proof, "--purge")
    left = [name for name in (*FILES, "/var/lib/cellguard", "/etc/cellguard") if inside.path(name).exists()]
    users = [user for user in (GUARD, LINK) if inside.attempt("id", user).returncode == 0]
    if left or users:
        raise Failed(f"left by uninstall --purge: {left} {users}")
    proof.proved(
        "uninstall removes what install made and keeps settings and state; --purge takes these and the users too"
    )


def _uninstall(inside: Container, proof: Proof, *options: str) -> None:
    """A guard that has just started does not say at once that everything is open."""
    command = ("/usr/local/bin/cellguard", "edge", "uninstall", *options)
    done = proof.wait(lambda: _unless_refused(inside, command), START_S, "a guard that lets itself be removed")
    proof.require(done.returncode == 0, f"{done.stdout}{done.stderr}")


def _unless_refused(inside: Container, command: tuple[str, ...]) -> subprocess.CompletedProcess[str] | None:
    done = inside.attempt(*command)
    return None if done.returncode == REFUSED else done
