"""The figures `drain` and `drain_alarm`: a backlog goes from a real link over a real broker to a real collector and its archive."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.figure import Figure
from cellguard import toml
from cellguard.demo.broker import broker_command, find_mosquitto
from cellguard.demo.plan import Folders, Options, collector_settings, edge_settings, make_folders
from edge_agent.link.books import books
from edge_agent.link.encode import Batch, Head, encode
from edge_agent.link.spool import Commit, Entry, Spool
from shared.mqtt import BrokerSettings, Message, Mqtt

GOAL, ALARM_GOAL = 20.0, 1.0
SECONDS = 300
"""Of backlog. One hour is twelve times as much of the same: messages are sent from an index, so the rate does not depend on it."""
SYNC_HZ, SIGNALS, MODULES = 5, 38, 15
_RATES = {**{f"module-{number:02d}": SYNC_HZ for number in range(1, MODULES + 1)}, "inverter": 4, "arduino": 10}
_WIDTHS = {"inverter": 13, "arduino": 6}
_T0_US = 1_795_345_556_000_000
_TIME_LIMIT_S = 50.0
_pause = threading.Event()


def figures() -> list[Figure]:
    """How many times faster than it was made the backlog is stored and receipted; how long an alarm in it takes (1 s / it)."""
    with tempfile.TemporaryDirectory() as folder:
        drain_s, alarm_s = _measure(Path(folder))
    rows = sum(_RATES.values()) * SECONDS
    text = f"{SECONDS} s of 15 modules at {SYNC_HZ} Hz, n={rows} rows in {len(_RATES) * SECONDS} messages, took {drain_s:.1f} s"
    return [
        Figure(
            "drain", SECONDS / drain_s, GOAL, f"against real time, {text}, link, mosquitto and archive as processes"
        ),
        Figure(
            "drain_alarm", 1.0 / alarm_s, ALARM_GOAL, f"against 1 s after CONNACK, behind that backlog: {alarm_s:.3f} s"
        ),
    ]


def _measure(folder: Path) -> tuple[float, float]:
    folders = make_folders(folder)
    options = Options(modules=MODULES, port=_free_port())
    links = {"can": {"interface": "unix", "channel": "none"}, "inverter": {"port": "none"}, "arduino": {"port": "none"}}
    folders.edge_toml.write_text(toml.dumps(edge_settings(options, folders, links)))
    folders.collector_toml.write_text(toml.dumps(collector_settings(options, folders)))
    spool = folders.data / "state" / "spool.sqlite"
    _fill(spool)
    heard: dict[str, float] = {}
    observer = Mqtt(
        BrokerSettings("127.0.0.1", options.port, "observer"),
        subscriptions=[
            ("cellguard/v1/+/+/status", 1),
            ("cellguard/v1/+/+/event/alarm", 1),
            ("cellguard/v1/+/collector/+/status", 1),
        ],
        on_message=lambda message: _note(heard, message),
    )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with (folders.logs / "all.log").open("wb") as log:
            for command in _commands(options, folders):
                processes.append(subprocess.Popen(command, stdout=log, stderr=log))
                if len(processes) == 1:
                    observer.start()
                    _until(lambda: observer.connected, "the broker")
                elif len(processes) == 2:
                    _until(lambda: "collector" in heard, "the collector")
        _until(lambda: "link" in heard and "alarm" in heard, "link and its alarm")
        _until(lambda: books(spool)["released"] > sum(_RATES.values()) * SECONDS, "the end")
        return time.monotonic() - heard["link"], max(heard["alarm"] - heard["link"], 0.001)
    finally:
        observer.stop(0.5)
        for process in reversed(processes):
            process.send_signal(signal.SIGKILL)
            process.wait()


def _commands(options: Options, folders: Folders) -> tuple[list[str], ...]:
    return (
        broker_command(options.port, folders.data, find_mosquitto()),
        [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(folders.collector_toml)],
        [sys.executable, "-m", "cellguard", "edge", "link", "--config", str(folders.edge_toml)],
    )


def _note(heard: dict[str, float], message: Message) -> None:
    kind = "alarm" if "/event/" in message.topic else "collector" if "/collector/" in message.topic else "link"
    if kind == "alarm" or json.loads(message.payload).get("state") in {"online", "degraded"}:
        heard.setdefault(kind, time.monotonic())


def _fill(path: Path) -> None:
    """A spool as link leaves it after so long without a broker, with one alarm at its very end."""
    head = Head("", "0badf00d", "synced")
    with closing(Spool(path)) as spool:
        head = head._replace(spool=spool.id)
        number = 0
        for second in range(SECONDS):
            entries: list[Entry] = []
            for source, rate in _RATES.items():
                seq = spool.next_seq("tele") + len(entries)
                entries.append(_entry(head, seq, source, rate, second))
                number += rate
            spool.commit(Commit(tuple(entries), "s", number))
        alarm = {
            "spool": spool.id,
            "lane": "event",
            "seq": 1,
            "ts": _T0_US,
            "kind": "alarm",
            "alarm": "x.y",
            "level": "DANGER",
        }
        spool.commit(Commit((Entry("event", 1, "alarm", 1, _T0_US, _T0_US, json.dumps(alarm).encode()),), own=1))


def _entry(head: Head, seq: int, source: str, rate: int, second: int) -> Entry:
    width = _WIDTHS.get(source, SIGNALS)
    times = [_T0_US + second * 1_000_000 + index * 1_000_000 // rate for index in range(rate)]
    values = [
        tuple(round(3.6 + (seq + index * column) % 30 / 100, 2) for column in range(width)) for index in range(rate)
    ]
    batch = Batch(source, [f"signal_{column}" for column in range(width)], times, values, [()] * rate)
    return Entry("tele", seq, source, rate, times[0], times[-1], encode(head, seq, batch))


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _TIME_LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {_TIME_LIMIT_S:g} s for {what}")
        _pause.wait(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
