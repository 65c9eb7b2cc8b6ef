"""A bare Debian of its own under a real systemd (nspawn)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proof import Failed, Proof, Skipped, last_lines, program

PACKAGES = ("dbus", "python3", "systemd", "util-linux")
BUILD_S, BOOT_S, ANSWER_S = 240, 30.0, 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READY = ("running", "degraded")
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root")


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
        # nsenter looks for its --wd outside of the root, and leaves a process that is nowhere; our environment stays here
        from_root = ["env", "-i", f"PATH={_PATH}", "sh", "-c", 'cd / && exec "$@"', "sh"]
        inside = [program("nsenter"), "--target", str(self._leader), *_NAMESPACES, "--", *from_root, *command]
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
