"""A whole site over the locked broker: processes, certificates, people; and an operator's eyes on its node."""

from __future__ import annotations

import csv
import io
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cellguard import toml
from cellguard.demo.plan import COLLECTOR, NODE, SITE, Options, collector_settings, edge_settings, make_folders
from tests.broker.locked import HOST, Client, LockedBroker, login, now
from tests.conftest import wait_for

NAME, NEIGHBOUR = f"{SITE}/{NODE}", f"{SITE}/rig-9"
ROOT = f"cellguard/v1/{NAME}"
MODULES = 2


class Site:
    """Broker, simulator, guard, link and collector as processes, their settings written for TLS and certificates."""

    def __init__(self, folder: Path) -> None:
        self.broker = LockedBroker(folder)
        for role, name in (("agent", NAME), ("agent", NEIGHBOUR), ("collector", COLLECTOR), ("collector", "pc-2")):
            self.broker.office.issue(role, name, now(), 10)
        self.broker.office.password("operator", "alice")
        self.broker.office.password("viewer", "bob")
        self.folders = make_folders(folder / "data")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.broker.start()
        options = Options(modules=MODULES, can="unix", port=self.broker.machines)
        where = [f"--control={self.folders.control}", f"--directory={self.folders.run / 'rig'}"]
        self.run("simulator", "simulate", f"--modules={MODULES}", "--can=unix", *where)
        printed = self.folders.logs / "simulator.out"
        wait_for(lambda: printed.read_bytes().endswith(b"\n"), 20.0, "the simulator's links")
        edge = edge_settings(options, self.folders, json.loads(printed.read_bytes()))
        edge["mqtt"]["tls"] = self.tls(NAME)
        self.folders.edge_toml.write_text(toml.dumps(edge))
        collector = collector_settings(options, self.folders)
        collector["mqtt"]["tls"] = self.tls(COLLECTOR)
        self.folders.collector_toml.write_text(toml.dumps(collector))
        (self.folders.data / "schedules" / "demo.csv").write_text("Interval [s],Current [A]\n60,20\n")
        self.run("collector", "collector", "run", "--config", str(self.folders.collector_toml))
        for name in ("guard", "link"):
            self.run(name, "edge", name, "--config", str(self.folders.edge_toml))

    def tls(self, name: str) -> dict[str, Path]:
        stem = self.broker.folder.client(name) / name.rpartition("/")[2]
        return {"ca": stem.parent / "ca.crt", "cert": Path(f"{stem}.crt"), "key": Path(f"{stem}.key")}

    def run(self, name: str, *arguments: str) -> None:
        with (
            (self.folders.logs / f"{name}.log").open("ab") as log,
            (self.folders.logs / f"{name}.out").open("wb") as out,
        ):
            command = [sys.executable, "-P", "-m", "cellguard", *arguments]
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)

    def again(self, name: str, *arguments: str) -> None:
        """kill -9, and start it anew."""
        self.processes[name].kill()
        self.processes[name].wait()
        self.run(name, *arguments)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.broker.stop()

    def person(self, name: str, **more: Any) -> Client:
        return Client(self.broker.people, self.broker.tls(), login=login(self.broker, name), **more)

    def machine(self, name: str, **more: Any) -> Client:
        return Client(self.broker.machines, self.broker.tls(name), **more)

    def send(self, *command: str) -> subprocess.CompletedProcess[str]:
        """`cellguard send` as the operator types it."""
        own = self.broker.folder.client("alice")
        where = ["--mqtt", f"{HOST}:{self.broker.people}", "--ca", str(own / "ca.crt")]
        where += ["--user", "alice", "--password-file", str(own / "alice.password")]
        return self.cellguard("send", *command, *where)

    def cellguard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "cellguard", *arguments]
        return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)

    def simulator(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5.0)
            control.connect(str(self.folders.control))
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                body: dict[str, Any] = json.loads(answers.readline())
        return body

    def stored(self, form: str = "csv", node: str = NODE) -> str:
        """Everything of one node; "" while nothing of it is stored."""
        return self.cellguard("export", "--archive", str(self.folders.archive), "--format", form, "--node", node).stdout

    def times(self) -> list[int]:
        rows = csv.DictReader(io.StringIO(self.stored()))
        return sorted({int(row["time"]) for row in rows if row["source"] == "module-01"}) or [0]


class Watcher:
    """The operator's eyes: everything the node publishes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = site.person("alice")
        self.client.subscribe([f"{ROOT}/#"])

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        found = [message.payload for message in list(self.client.received) if message.topic == f"{ROOT}/{topic}"]
        return [json.loads(payload) for payload in found if payload]

    def heartbeat(self) -> str:
        beats = [m.payload.decode() for m in list(self.client.received) if m.topic == f"{ROOT}/hb"]
        return beats[-1] if beats else ""

    def ask(self, target: str, body: dict[str, Any], *, retain: bool = False) -> dict[str, Any]:
        """Publish one command and return its last answer."""
        before = self.answered()
        self.client.publish([f"{ROOT}/cmd/{target}"], json.dumps(body).encode(), retain=retain)
        return self.answer(body["id"], before)

    def moved(self, since: float) -> set[str]:
        """Outputs that really changed since then, but pump and fan when the guard's own cooling did it."""
        outputs = self.bodies("state/outputs")[-1]
        changed = {one["what"] for one in self.site.simulator(truth=True, since=since)["truth"]}
        return {name for name in changed if outputs.get(name, {}).get("by") != "cooling"}

    def answered(self) -> int:
        """How many answers were heard so far, to anybody."""
        return len(self.bodies("ack"))

    def answer(self, identifier: str, before: int = 0) -> dict[str, Any]:
        """The last answer to a command among those after the first `before` answers."""

        def last() -> dict[str, Any] | None:
            heard = self.bodies("ack")[before:]
            own = [ack for ack in heard if ack["id"] == identifier and ack["status"] != "accepted"]
            return own[-1] if own else None

        found: dict[str, Any] = wait_for(last, 25.0, f"an answer to {identifier}")
        return found
