"""A real InfluxDB 1.x engine of one's own: Debian's influxd on free ports with its data in a folder given to it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self

PROGRAM = shutil.which("influxd") or shutil.which("influxd", path="/usr/sbin:/usr/local/bin")
_START_S = 15.0
_CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
  max-body-size = 25000000
[continuous_queries]
  enabled = false
"""


class Influxd:
    """One engine. Use it as a context: it is ended on the way out, its folder is the caller's."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None, "influxd is not installed"
        self._folder = folder
        self.port, rpc = _free_ports()
        (folder / "influxd.toml").write_text(_CONFIG.format(rpc=rpc, http=self.port, folder=folder))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it answers."""
        arguments = [str(PROGRAM), "-config", str(self._folder / "influxd.toml")]
        with (self._folder / "influxd.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        pause, deadline = threading.Event(), time.perf_counter() + _START_S
        while not self._answers():
            if time.perf_counter() > deadline:
                self.stop()
                raise TimeoutError(f"influxd did not answer; see {self._folder / 'influxd.log'}")
            pause.wait(0.02)

    def stop(self) -> None:
        """End it orderly."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20.0)
            self._process = None

    def create(self, database: str) -> None:
        """Make a database (a bucket, as the v2 front names it)."""
        self.query(f'CREATE DATABASE "{database}"', database)

    def query(self, statement: str, database: str) -> list[dict[str, Any]]:
        """The rows of an InfluxQL query, times in ns; see `influxql`."""
        return influxql(f"http://127.0.0.1:{self.port}", statement, database)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=1.0):
                return True
        except (OSError, HTTPException):
            return False


def influxql(url: str, statement: str, database: str, token: str = "") -> list[dict[str, Any]]:
    """The rows of an InfluxQL query to any InfluxDB (1.x, or 2 with a token), a dict each, times in ns."""
    form = urllib.parse.urlencode({"q": statement, "db": database, "epoch": "ns"}).encode()
    headers = {"Authorization": f"Token {token}"} if token else {}
    request = urllib.request.Request(f"{url}/query", form, headers)  # noqa: S310 (an address of our own)
    with urllib.request.urlopen(request, timeout=30.0) as response:  # noqa: S310 (an address of our own)
        result = json.load(response)["results"][0]
    if "error" in result:
        raise ValueError(result["error"])
    return [
        dict(zip(series["columns"], values, strict=True))
        for series in result.get("series", [])
        for values in series["values"]
    ]


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])
