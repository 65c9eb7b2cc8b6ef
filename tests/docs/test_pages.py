"""Every page: its links lead somewhere, and every command it shows is one that the command line knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cellguard.main import cli

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "mosquitto", "firmware")
PAGES = [ROOT / "README.md", *sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
TYPED = [page for page in PAGES if page.name != "cli.md"]
"""Pages written by hand; the command line's own is printed from it."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s`(/])cellguard ([a-z][a-z-]*(?![\w.])[^\n`|·#;&>)]*)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(text: str) -> Iterator[list[str]]:
    for code in CODE.findall(text):
        for found in COMMAND.findall(code):
            yield found.split()


def unknown(words: list[str]) -> str:
    """The first word that the command line would not take there; "" when it takes all."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            return words[0]
        command, words = inner, words[1:]
    allowed = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }
    given = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
    return next((word for word in given if word not in allowed), "")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    local = [target for target in targets if target and ":" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", TYPED, ids=named)
def test_commands_on_a_page_are_commands_of_the_command_line(page: Path) -> None:
    shown = list(commands(page.read_text(encoding="utf-8")))
    assert [" ".join(words) for words in shown if unknown(list(words))] == []


def test_a_command_that_is_none_would_be_found() -> None:
    shown = list(
        commands(
            "```sh\nsudo cellguard local fly\n.venv/bin/cellguard export --archve DIR\n```\n`cellguard watch --once`"
        )
    )
    assert [unknown(words) for words in shown] == ["fly", "--archve", ""]
