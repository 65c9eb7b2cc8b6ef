"""A Debian of its own under a real systemd (nspawn), with this checkout installed where the units expect it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proof import Failed, Proof, Skipped, last_lines, program

PACKAGES = ("dbus", "python3", "systemd", "util-linux")
BUILD_S, BOOT_S, ANSWER_S = 240, 30.0, 60.0
HOME = "/opt/cellguard"
_READY = ("running", "degraded")
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd=/")


class Container:
    """A booted container; `do` runs one command in it as root."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def do(self, *command: str) -> str:
        """What a command prints; fails the stage when its exit code is not 0."""
        done = self.attempt(*command)
        if done.returncode:
            raise Failed(
                f"in the container: {shlex.join(command)}\n  exit {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout.strip()

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Exit code and output of a command."""
        inside = [program("nsenter"), "--target", str(self._leader), *_NAMESPACES, "--", *command]
        return subprocess.run(inside, text=True, capture_output=True, timeout=ANSWER_S, check=False)

    def shown(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.do("systemctl", "show", "--value", "--property", name, unit)

    def path(self, inside: str) -> Path:
        """Where the host finds a file of the container."""
        return Path(f"/proc/{self._leader}/root{inside}")


def root(cache: Path, proof: Proof) -> Path:
    """A small Debian of this machine's release, made once."""
    if os.geteuid() != 0:
        raise Skipped("systemd-nspawn needs root")
    made = cache / "root"
    if (made / "done").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    proof.say("building a Debian root")
    command = [
        program("mmdebstrap"),
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        release(),
        str(made),
    ]
    try:
        built = subprocess.run([*command, *sources()], text=True, capture_output=True, timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"mmdebstrap did not end within {BUILD_S} s") from error
    if built.returncode:
        raise Skipped(f"mmdebstrap ended with {built.returncode}: {' '.join(last_lines(built.stderr, 3))}")
    inside = next(made.glob("usr/bin/python3.*[0-9]")).name
    (made / "done").write_text(inside)
    return made


def install(checkout: Path, made: Path, folder: Path) -> list[str]:
    """The options of nspawn that put checkout, packages and a virtual environment of the container's Python below /opt/cellguard."""
    python = (made / "done").read_text()
    if python != f"python{sys.version_info.major}.{sys.version_info.minor}":
        raise Skipped(f"the container has {python}, the packages here are built for {sys.version.split()[0]}")
    venv = folder / "venv"
    site = venv / "lib" / python / "site-packages"
    site.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (venv / "bin" / "python3").symlink_to(f"/usr/bin/{python}")
    command = venv / "bin" / "cellguard"
    command.write_text(f"#!{HOME}/venv/bin/python3\nimport sys\nfrom cellguard.main import main\nsys.exit(main())\n")
    command.chmod(0o755)
    (site / "stage.pth").write_text(f"{HOME}/checkout\n{HOME}/packages\n")
    bound = {checkout: "checkout", Path(sysconfig.get_path("purelib")): "packages", venv: "venv"}
    return [f"--bind-ro={outside}:{HOME}/{inside}" for outside, inside in bound.items()]


@contextmanager
def booted(made: Path, options: Sequence[str], folder: Path, proof: Proof) -> Iterator[Container]:
    """Boot on a throw-away layer over the root; the container is ended after the block."""
    # the cached root stays as it was made, and its name must not be a path that nspawn cleans up after itself
    command = [program("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe",
               f"--directory={made}", *options, "--boot"]  # fmt: skip
    log = folder / "nspawn.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield _await_boot(process, log, proof)
    finally:
        process.terminate()
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_boot(process: subprocess.Popen[bytes], log: Path, proof: Proof) -> Container:
    def leader() -> int:
        if process.poll() is not None:
            raise Skipped(
                f"systemd-nspawn does not run here: {' '.join(last_lines(log.read_text(errors='replace'), 3))}"
            )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    container = Container(proof.wait(leader, BOOT_S, "the container to start"))
    is_up = ("systemctl", "is-system-running")
    proof.wait(lambda: container.attempt(*is_up).stdout.strip() in _READY, BOOT_S, "systemd in the container to be up")
    return container


def release() -> str:
    """This machine's release."""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=", 1)[1].strip('"')
    raise Skipped("this machine's release has no code name")


def sources() -> list[str]:
    """This machine's own package sources, where they are a file of their own: a local mirror is then used here too."""
    own = Path("/etc/apt/sources.list.d/debian.sources")
    return [str(own)] if own.exists() else []
