"""Draws the README's pictures from a running demo: `cellguard watch` in operation and after a trip. Run by `make pictures`."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from cellguard.listener import Listener
from cellguard.operator import Operator, subscriptions
from cellguard.screen import draw
from shared.broker import BrokerSettings

HERE = Path(__file__).parent
WIDTH = 112
WAIT_S = 60.0
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    """Start a demo, draw it, make a module hot, draw it again."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-P", "-m", "cellguard", "demo", "--json", "--data", data, "--mqtt-port", "18899"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert demo.stdout is not None
        ready = json.loads(demo.stdout.readline())
        try:
            _pictures(ready)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate()


def _pictures(ready: dict[str, str]) -> None:
    host, _, port = ready["mqtt"].partition(":")
    with Listener(BrokerSettings(host, int(port), f"pictures-{os.getpid()}"), subscriptions("lab", "demo")) as listener:
        operator = Operator(listener, "lab", "demo", "pictures")
        _wait(operator, "schedule", "running", settle_s=6.0)
        _save(operator, "watch-run.svg")
        subprocess.run(
            [sys.executable, "-P", "-m", "cellguard", "rig", "set", ready["simulator"], "module.3.temperature_c=55"],
            check=True,
        )
        _wait(operator, "safety", "LATCHED", settle_s=2.0)
        _save(operator, "watch-trip.svg")


def _wait(operator: Operator, topic: str, state: str, settle_s: float) -> None:
    if not operator.watch(WAIT_S, lambda view: view.state(topic).get("state") == state):
        raise SystemExit(f"state/{topic} was not {state} within {WAIT_S:g} s")
    operator.watch(settle_s)


def _save(operator: Operator, name: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(draw(operator.view, "lab/demo", time.monotonic()))
    # the browser's own monospace font, not one fetched from somewhere
    picture = FONT_FACE.sub("", console.export_svg(title="cellguard watch"))
    (HERE / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
