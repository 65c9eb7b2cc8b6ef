"""The demo from start to end: broker, simulator, guard, link, collector, and the books when all of them have ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import orjson

from cellguard.demo import story
from cellguard.demo.attendant import Attendant, Meant
from cellguard.demo.broker import broker_command, find_mosquitto
from cellguard.demo.children import Children
from cellguard.demo.closing import balanced, read_books, spooled
from cellguard.demo.plan import NODE, SCHEDULE, SITE, Folders, Options, make_folders, write_edge, write_files
from shared.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, CellguardError, ConfigError
from shared.mqtt import BrokerSettings

LINKS_S, READY_S = 15.0, 60.0
_TURN_S = 0.05
_OPEN_S, _GUARD_S, _DRAIN_S, _REST_S = 4.5, 3.0, 4.0, 1.0


class Demo(NamedTuple):
    """One running demo: what was asked, where it lies, its processes, its operator, and the wish to stop it."""

    options: Options
    folders: Folders
    children: Children
    attendant: Attendant
    stopping: threading.Event


def run(options: Options, data: Path | None) -> int:
    """Run a demo until its duration is over or a signal ends it; returns the exit code."""
    if options.overlay is not None and not options.overlay.is_file():
        raise ConfigError("--config", str(options.overlay), "a file that exists")
    folders = make_folders(data)
    try:
        with _only_one(folders), _signals() as stopping:
            return _run_in(options, folders, stopping)
    finally:
        for folder in folders.temporary:
            shutil.rmtree(folder, ignore_errors=True)


def _run_in(options: Options, folders: Folders, stopping: threading.Event) -> int:
    children = Children(folders.logs, folders.pids, _say)
    broker = BrokerSettings("127.0.0.1", options.port, f"cellguard-demo-{os.getpid()}")
    demo = Demo(options, folders, children, Attendant(Meant(broker, SITE, NODE, SCHEDULE), _say), stopping)
    began = time.monotonic()
    try:
        _start(demo)
        demo.attendant.start()
        _wait(demo, READY_S, demo.attendant.stored.is_set, "no telemetry was stored")
        if not stopping.is_set():
            _tell_ready(demo, time.monotonic() - began)
            _live(demo)
        _stop(demo)
    finally:
        children.kill_all()
    return _close_books(folders)


def _start(demo: Demo) -> None:
    options, folders, children = demo.options, demo.folders, demo.children
    write_files(options, folders)
    children.start("broker", broker_command(options.port, folders.data, find_mosquitto()))
    children.start("simulator", _cellguard(*_simulate_arguments(options, folders)))
    children.start("collector", _cellguard("collector", "run", "--config", str(folders.collector_toml)))
    links: dict[str, Any] = {}
    _wait(demo, LINKS_S, lambda: _read_links(children.output("simulator"), links), "the simulator printed no links")
    if demo.stopping.is_set():
        return
    write_edge(options, folders, links)
    settings = ["--config", str(folders.edge_toml)]
    settings += ["--overlay", str(options.overlay.absolute())] if options.overlay else []
    _check_settings(options, folders)
    children.start("guard", _cellguard("edge", "guard", *settings))
    children.start("link", _cellguard("edge", "link", *settings))


def _check_settings(options: Options, folders: Folders) -> None:
    """Refuse a wrong overlay with its place, before a child would."""
    from edge_agent.config import load_edge

    config = load_edge(folders.edge_toml, [options.overlay] if options.overlay else [])
    if (config.node.site, config.node.name) != (SITE, NODE):
        raise ConfigError("--config: [node]", f"{config.node.site}/{config.node.name}", f"{SITE}/{NODE} in a demo")


def _simulate_arguments(options: Options, folders: Folders) -> list[str]:
    table = {
        "modules": options.modules,
        "cells": options.cells,
        "profile": options.profile,
        "can": options.can,
        "control": folders.control,
        "directory": folders.run / "rig",
        "truth": folders.data / "truth.jsonl",
    }
    return ["simulate", *(f"--{name}={value}" for name, value in table.items())]


def _cellguard(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "cellguard", *arguments]


def _read_links(output: Path, links: dict[str, Any]) -> bool:
    line, end, _ = output.read_bytes().partition(b"\n")
    if end:
        links.update(orjson.loads(line))
    return bool(end)


def _wait(demo: Demo, seconds: float, condition: Callable[[], bool], otherwise: str) -> None:
    """Supervise until the condition holds or the person stops the demo; raises what keeps it from starting."""
    deadline = time.monotonic() + seconds
    while not condition() and not demo.stopping.wait(_TURN_S):
        demo.children.supervise(time.monotonic())
        wrong = demo.children.ended_with(EXIT_CONFIG)
        if wrong is not None:
            raise StartFailed(f"{wrong} refused its settings: {demo.children.last_words(wrong)}", EXIT_CONFIG)
        if time.monotonic() > deadline:
            words = "; ".join(f"{name}: {demo.children.last_words(name)}" for name in demo.children.pids())
            raise StartFailed(f"{otherwise} within {seconds:g} s ({words})", EXIT_FAILED)


class StartFailed(CellguardError):
    """The demo did not come up; the exit code is that of the program that kept it from it."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def _tell_ready(demo: Demo, took_s: float) -> None:
    pids = demo.children.pids()
    if demo.options.as_json:
        _print_json(story.ready_line(demo.options, demo.folders, pids))
    else:
        click.echo(story.welcome(demo.options, demo.folders, pids, took_s))


def _live(demo: Demo) -> None:
    """Keep everything running until the time is over or a signal came; on a terminal show a line of what goes on."""
    duration = demo.options.duration_s
    end = time.monotonic() + duration if duration is not None else float("inf")
    shows = not demo.options.as_json and sys.stdout.isatty()
    next_line = 0.0
    while (now := time.monotonic()) < end and not demo.stopping.wait(_TURN_S):
        demo.children.supervise(now)
        if shows and now >= next_line:
            next_line = now + 1.0
            click.echo(f"\r{story.status_line(demo.attendant.view)[:110]}\x1b[K", nl=False)
    if shows:
        click.echo()


def _stop(demo: Demo) -> None:
    """Outputs safe first, then what was recorded is brought home, then everything ends."""
    children = demo.children
    if children.running("guard"):
        demo.attendant.leave(_OPEN_S)
    children.stop("guard", _GUARD_S)
    _drain(demo)
    children.stop("link", _REST_S * 2)
    children.stop("collector", _REST_S)
    children.stop("simulator", _REST_S)
    children.stop("broker", _REST_S)


def _drain(demo: Demo) -> None:
    """Give link and collector time to store what is still in the spool."""
    deadline = time.monotonic() + _DRAIN_S
    while time.monotonic() < deadline and demo.children.running("link") and demo.children.running("collector"):
        if spooled(demo.folders.data / "state") == 0:
            return
        time.sleep(_TURN_S * 4)


def _close_books(folders: Folders) -> int:
    books = read_books(folders.data / "state", folders.archive)
    _print_json(books)
    if balanced(books):
        return EXIT_DONE
    missing = books["produced"] - books["stored"] - books["gaps"] - books["quarantined"] - books["spooled"]
    _say(f"the books do not balance: {missing} records are unaccounted for")
    return EXIT_FAILED


@contextmanager
def _only_one(folders: Folders) -> Iterator[None]:
    """Two demos in one folder would mix their books."""
    with (folders.data / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError("--data", str(folders.data), "a folder in which no other demo is running") from error
        yield


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT, SIGTERM and SIGHUP wish the demo to end."""
    stopping = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda _number, _frame: stopping.set()) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_json(body: Mapping[str, object]) -> None:
    sys.stdout.write(orjson.dumps(body).decode() + "\n")
    sys.stdout.flush()


def _say(sentence: str) -> None:
    click.echo(f"demo: {sentence}", err=True)
