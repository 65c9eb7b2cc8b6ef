"""The tutorial, typed as it stands: each `sh` block is run, and what it shows must come."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<kind>sh|text) ?(?P<way>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
USUAL_PORT = "-p 1883"
UNTIL_S = 60.0


class Step(NamedTuple):
    """What is typed; how (`until`: again and again, `fails`: it must, `docker`, `demo`, `books`); the lines that must come."""

    typed: str
    way: str
    shown: tuple[str, ...]


def steps() -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8")):
        if block["kind"] == "sh":
            found.append(Step(block["body"], block["way"], ()))
        elif block["way"] == "books":
            found.append(Step("", "books", tuple(block["body"].splitlines())))
        else:
            found[-1] = found[-1]._replace(shown=tuple(block["body"].splitlines()))
    return found


def missing(step: Step, output: str) -> list[str]:
    """Lines of the page that did not come; between two words of a line anything may stand."""
    lines = output.splitlines()
    patterns = [".*".join(re.escape(word) for word in line.split()) for line in step.shown]
    return [
        shown
        for shown, pattern in zip(step.shown, patterns, strict=True)
        if not any(re.search(pattern, one) for one in lines)
    ]


@pytest.mark.system
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto-clients is not installed")
def test_everything_the_tutorial_says_happens(start_demo: Any, wait_until: Any) -> None:
    demo = start_demo()
    folder = demo.data.parent
    (folder / "demo-data").symlink_to(demo.data)

    def typed(step: Step) -> tuple[int, str]:
        commands = step.typed.replace(USUAL_PORT, f"-p {demo.port}")
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-eu", "-c", commands], cwd=folder, env={"PATH": path, "CELLGUARD_MQTT": f"127.0.0.1:{demo.port}"},
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UNTIL_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    last = ("", (0, ""))

    def came(step: Step) -> bool:
        nonlocal last
        code, output = typed(step)
        last = (step.typed, (code, output))
        return (code != 0) == (step.way == "fails") and not missing(step, output)

    for step in steps():
        if step.way in {"demo", "docker"}:
            continue
        if step.way == "books":
            demo.process.send_signal(signal.SIGINT)
            books = demo.books()
            assert books["produced"] == books["stored"]
            assert missing(step, json.dumps(books, separators=(",", ":"))) == []
        elif step.way == "until":
            wait_until(lambda step=step: came(step), UNTIL_S, lambda: f"what the page shows: {last}")
        else:
            assert came(step), last


def test_the_page_is_read_whole() -> None:
    ways = [step.way for step in steps()]
    assert [ways.count(way) for way in ("demo", "docker", "books")] == [1, 1, 1]
    assert len(ways) - 1 == TUTORIAL.read_text(encoding="utf-8").count("```sh")
