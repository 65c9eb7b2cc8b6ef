"""Stage `image`: every target of deploy/Dockerfile is built with buildah; init, collector and demo run from their images.

There is no registry here: Python's image is stood in for by this machine's Debian, tagged as the real one; the foreign images
(broker, InfluxDB, Grafana) by the same Debian with their folders. So what is proved is our part of each image, not theirs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import container
import judge
from proof import Failed, Proof, Skipped, fresh_folder, last_lines, program

from shared.mqtt import BrokerSettings, Message, Mqtt

BUILD_S, RUN_S, STORED_S = 400, 60, 20.0
PACKAGES = ("ca-certificates", "passwd", "python3", "python3-venv")
TARGETS = ("init", "collector", "demo", "mosquitto", "influxdb", "grafana")
HOST_FILES = ("/etc/ssl/certs", "/etc/pip.conf")
"""How pip finds and trusts its index on this machine."""
STAND_IN = "mkdir -p /docker-entrypoint-initdb.d /var/lib/grafana /etc/grafana"
NODE = "cellguard/v1/lab/rig-1"
ROW = {"spool": "a1b2c3d4", "lane": "tele", "seq": 1, "boot": "00000000", "clock": "synced", "t0": 1_795_345_556_123_456,
       "t": [0], "v": {"CMA_Voltage": [47.33]}}  # fmt: skip


class Buildah:
    """buildah with a storage of its own, so that nothing of this machine's is touched."""

    def __init__(self, folder: Path) -> None:
        start = [program("buildah"), "--root", str(folder / "root"), "--runroot", str(folder / "run")]
        tried = [*start, "--storage-driver", "overlay", "images"]
        overlay = subprocess.run(tried, capture_output=True, timeout=RUN_S, check=False).returncode == 0
        # vfs copies every layer whole: minutes instead of seconds, but it works on any file system
        self._start = [*start, "--storage-driver", "overlay" if overlay else "vfs"]

    def do(self, *arguments: str, seconds: float = RUN_S) -> str:
        """What a command prints; fails the stage when its exit code is not 0."""
        done = subprocess.run([*self._start, *arguments], text=True, capture_output=True, timeout=seconds, check=False)
        if done.returncode:
            raise Failed(f"buildah {' '.join(arguments[:3])}: {' '.join(last_lines(done.stdout + done.stderr, 12))}")
        return done.stdout.strip()

    def command(self, name: str, options: Sequence[str], *command: str) -> list[str]:
        """The command line that runs something in a container made from an image."""
        return [*self._start, "run", "--isolation", "chroot", *options, name, "--", *command]


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Build everything, then let `init` make the keys and the collector store a message, each in its own image."""
    if os.geteuid() != 0:
        raise Skipped("buildah with chroot isolation needs root here")
    folder = fresh_folder(cache, "image")
    buildah = Buildah(cache / "buildah")
    _bases(buildah, checkout, cache, proof)
    mounted = [f"--volume={path}:{path}:ro" for path in HOST_FILES if Path(path).exists()]
    for target in TARGETS:
        _build(buildah, checkout, target, mounted)
        proof.proved(f"{target}: builds from the hash-locked requirements, {_facts(buildah, target, proof)}")
    pc = _keys(buildah, folder, proof)
    _collects(buildah, folder, pc, proof)


class Running(NamedTuple):
    """How containers of this stage find the broker, and where they keep what they keep."""

    buildah: Buildah
    port: int
    folder: Path

    def made(self, target: str) -> str:
        """A container of an image."""
        return self.buildah.do("from", "--pull-never", f"cellguard/{target}", seconds=BUILD_S)

    def kept(self, name: str, mode: int = 0o700) -> Path:
        """A volume of the images' user."""
        made = self.folder / name
        made.mkdir()
        made.chmod(mode)
        os.chown(made, 10001, 10001)
        return made

    @property
    def environment(self) -> list[str]:
        """The broker of this machine instead of the one of compose."""
        found = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        return [f"--env=CELLGUARD_MQTT__{name}={value}" for name, value in found.items()]


def _bases(buildah: Buildah, checkout: Path, cache: Path, proof: Proof) -> None:
    """Stand-ins for the images that deploy/Dockerfile is built on; made once."""
    text = (checkout / "deploy" / "Dockerfile").read_text()
    real = [name for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if ":" in name]
    known = {name for image in json.loads(buildah.do("images", "--json") or "[]") for name in image["names"] or ()}
    wanted = [name for name in real if _full(name) not in known]
    if not wanted:
        return
    proof.say(f"making stand-ins for {', '.join(wanted)}")
    archive = cache / "base.tar"
    if not archive.exists():
        command = [program("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        made = subprocess.run(
            [*command, container.release(), str(archive), *container.sources()],
            text=True, capture_output=True, timeout=BUILD_S, check=False,
        )  # fmt: skip
        if made.returncode:
            archive.unlink(missing_ok=True)
            raise Skipped(f"mmdebstrap ended with {made.returncode}: {' '.join(last_lines(made.stderr, 3))}")
    for name in wanted:
        working = buildah.do("from", "scratch")
        buildah.do("add", working, str(archive), "/", seconds=BUILD_S)
        if not name.startswith("python:"):
            buildah.do("run", "--isolation", "chroot", working, "--", "sh", "-c", STAND_IN)
        buildah.do("commit", "--quiet", "--rm", working, _full(name), seconds=BUILD_S)


def _full(name: str) -> str:
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def _build(buildah: Buildah, checkout: Path, target: str, mounted: Sequence[str]) -> None:
    buildah.do(
        "bud", "--isolation", "chroot", "--pull-never", "--layers", "--target", target, "--tag", f"cellguard/{target}",
        *mounted, "--file", str(checkout / "deploy" / "Dockerfile"), "--ignorefile", str(checkout / ".dockerignore"),
        str(checkout), seconds=BUILD_S,
    )  # fmt: skip


def _facts(buildah: Buildah, target: str, proof: Proof) -> str:
    """What the image says of itself: who it runs as."""
    told = json.loads(buildah.do("inspect", "--type", "image", f"cellguard/{target}"))["OCIv1"]["config"]
    proof.require(told.get("User") == "10001:10001", f"{target} runs as {told.get('User')}")
    return "runs as 10001"


def _keys(buildah: Buildah, folder: Path, proof: Proof) -> Path:
    """`init` as compose runs it, its volumes in a folder."""
    pc = folder / "pc"
    names = ("keys", "broker", "collector", "influxdb", "write-token", "read-token", "grafana", "demo")
    for name in names:
        (pc / name).mkdir(parents=True, mode=0o700)
        os.chown(pc / name, 10001, 10001)
    volumes = [f"--volume={pc / name}:/pc/{name}" for name in names]
    working = buildah.do("from", "--pull-never", "cellguard/init", seconds=BUILD_S)
    entry = ("sh", "/opt/cellguard/init/init.sh")
    said = _output(buildah.command(working, volumes, *entry))
    again = _output(buildah.command(working, volumes, *entry))
    proof.require("docker cp cellguard-init:/pc/keys/clients/lab/rig-1" in said, said)
    proof.require("docker cp" in again and "new authority" not in again, again)
    open_to_others = [path for path in pc.rglob("*") if path.stat().st_mode & 0o077]
    proof.require(not open_to_others, f"others can read {open_to_others}")
    proof.require({path.stat().st_uid for path in pc.rglob("*")} == {10001}, "files of another owner")
    proof.proved(
        "init makes keys, passwords and settings as user 10001, closed to others; a second start changes nothing"
    )
    return pc


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=RUN_S, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command[-2:])}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _collects(buildah: Buildah, folder: Path, pc: Path, proof: Proof) -> None:
    """A message from an agent's certificate is stored and receipted by the collector of the image, all over TLS."""
    port, people = judge.free_port(), judge.free_port()
    running = Running(buildah, port, folder)
    options = [
        *running.environment,
        "--env=CELLGUARD_STORE__KIND=archive",
        f"--volume={pc / 'collector'}:/pc/collector:ro",
        f"--volume={running.kept('state')}:/var/lib/cellguard",
    ]
    working = running.made("collector")
    collect = ("cellguard", "collector", "run", "--config", "/pc/collector/collector.toml")
    export = ("cellguard", "export", "--archive", "/var/lib/cellguard/archive", "--format", "csv", "--node")

    def stored(node: str) -> str:
        """What is stored of a node, and what is said while nothing is."""
        command = buildah.command(working, options, *export, node)
        return subprocess.run(command, text=True, capture_output=True, timeout=RUN_S, check=False).stdout

    with (
        judge.process([program("mosquitto"), "-c", str(_settings(folder, pc, port, people))], folder / "mosquitto.log"),
        judge.process(buildah.command(working, options, *collect), folder / "collector.log"),
    ):
        with _agent(pc, port) as (agent, heard):
            proof.wait(lambda: agent.connected, STORED_S, "the agent to be let in by its certificate")

            def receipted() -> bool:
                agent.publish(f"{NODE}/tele/module-01", json.dumps(ROW).encode())
                return any(b'"ranges":[[1,1]]' in message.payload for message in heard)

            proof.wait(receipted, STORED_S, "the receipt of the collector in the image")
        proof.require("module-01,CMA_Voltage,47.33" in stored("rig-1"), stored("rig-1"))
        proof.proved(
            "the collector runs from its image's file system over TLS: a message is stored, receipted and exported"
        )
        with _demo(running, pc):
            proof.wait(lambda: "module-08,CMA_Voltage," in stored("demo"), STORED_S * 2, "the demo's telemetry")
            proof.wait(lambda: "inverter,setpoint,34.99" in stored("demo"), STORED_S * 2, "the demo's schedule to run")
        proof.proved("the profile demo runs from its image: telemetry of all modules, and a schedule in RUN, is stored")


@contextmanager
def _demo(running: Running, pc: Path) -> Iterator[None]:
    """The simulated rig with its agent, as compose starts them."""
    options = [
        *running.environment,
        f"--volume={pc / 'demo'}:/pc/demo:ro",
        f"--volume={running.kept('rig')}:/var/lib/cellguard",
        f"--volume={running.kept('run', 0o1777)}:/run",
    ]
    command = running.buildah.command(running.made("demo"), options, "sh", "/opt/cellguard/init/demo.sh")
    with judge.process(command, running.folder / "demo.log"):
        yield


def _settings(folder: Path, pc: Path, port: int, people: int) -> Path:
    """The broker's settings as `init` made them, on free ports and with the folder of this machine."""
    text = (pc / "broker" / "mosquitto.conf").read_text().replace("/etc/mosquitto/cellguard", str(pc / "broker"))
    text = text.replace("listener 8883\n", f"listener {port} 127.0.0.1\n")
    text = text.replace("listener 8884\n", f"listener {people} 127.0.0.1\n")
    written = folder / "mosquitto.conf"
    written.write_text(f"{text}user root\n")
    return written


@contextmanager
def _agent(pc: Path, port: int) -> Iterator[tuple[Mqtt, list[Message]]]:
    keys, heard = pc / "keys" / "clients" / "lab" / "rig-1", list[Message]()
    settings = BrokerSettings(
        "127.0.0.1", port, "cellguard-lab-rig-1", ca=keys / "ca.crt", cert=keys / "rig-1.crt", key=keys / "rig-1.key"
    )
    agent = Mqtt(settings, subscriptions=[(f"{NODE}/receipt", 1)], on_message=heard.append)
    agent.start()
    try:
        yield agent, heard
    finally:
        agent.stop(0.5)
