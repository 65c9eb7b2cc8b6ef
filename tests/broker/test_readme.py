"""The commands of mosquitto/README.md, typed as they stand, make a broker that lets in whom they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from cellguard.credentials.folder import Folder
from tests.broker.locked import Client, LockedBroker, login

README = (Path(__file__).resolve().parents[2] / "mosquitto" / "README.md").read_text(encoding="utf-8")
OF_THE_MACHINE = ("pip install", "sudo ")
"""What needs the machine itself: installing, and the broker's own folder and service."""
ON_A_SCREEN = ("cellguard watch",)


class Typed(LockedBroker):
    """A locked broker of a folder that somebody else's commands have made."""

    def __init__(self, path: Path) -> None:
        super().__init__(path / "unused")
        self.folder = Folder(path / "keys")
        self._write_settings()


def commands() -> list[str]:
    (block,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for line in block.splitlines() if not line.startswith(OF_THE_MACHINE + ON_A_SCREEN)]


def test_the_commands_of_the_page_make_a_broker_that_lets_in_whom_they_name(tmp_path: Path) -> None:
    for line in commands():
        words = shlex.split(line, comments=True)
        assert words[0] == "cellguard", line
        command = [sys.executable, "-m", "cellguard", *words[1:]]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)

    (tmp_path / "unused").mkdir()
    broker = Typed(tmp_path)
    broker.start()
    try:
        machines = [Client(broker.machines, broker.tls(name), host="localhost") for name in ("lab/rig-1", "pc-1")]
        person = Client(broker.people, broker.tls(), login=login(broker, "alice"), host="localhost")
        person.subscribe(["cellguard/v1/#"])

        assert all(client.up for client in (*machines, person))
    finally:
        broker.stop()
    assert len(commands()) == 4
