"""`docs/reference/cli.md`: every command with its arguments and options, as the command line itself knows them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cellguard.main import COMMANDS, cli

_HEAD = """# Command line

Made by `python -m cellguard.manual` from the commands themselves; a test fails when they differ. `--help` says the same at the prompt.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage |
| 3 | the command was understood and refused |
| 4 | no answer |
| 5 | doctor found a fault |
| 69 | a service cannot be reached |
| 78 | wrong settings: file, line or key, what was given, what is allowed |
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cli, info_name="cellguard")
    lines = [_HEAD, *(line for name in COMMANDS for line in _named(cli, name, root))]
    return "\n".join(lines)


def every_command() -> list[str]:
    """`cellguard edge run` and all the others."""
    root = click.Context(cli, info_name="cellguard")
    return [path for name in COMMANDS for path in _paths(cli, name, root)]


def _paths(group: click.Group, name: str, parent: click.Context) -> Iterator[str]:
    command, context = _opened(group, name, parent)
    yield context.command_path
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _paths(command, inner, context)


def _named(group: click.Group, name: str, parent: click.Context) -> Iterator[str]:
    command, context = _opened(group, name, parent)
    yield f"{'##' if group is cli else '###'} `{' '.join([context.command_path, *command.collect_usage_pieces(context)])}`"
    yield _text(command.help or command.short_help or "")
    yield ""
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _named(command, inner, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    found = [option.get_help_record(context) for option in options if "--help" not in option.opts]
    records = [record for record in found if record is not None]
    if records:
        yield "| option | |"
        yield "|---|---|"
        yield from (f"| `{_escaped(flag)}` | {_escaped(words)} |" for flag, words in records)
        yield ""


def _escaped(words: str) -> str:
    """A bar would end the table's cell."""
    return words.replace("|", "\\|")


def _opened(group: click.Group, name: str, parent: click.Context) -> tuple[click.Command, click.Context]:
    command = group.get_command(parent, name)
    assert command is not None
    # wide enough that no line is broken by the width of a terminal
    return command, click.Context(
        command, info_name=name, parent=parent, terminal_width=10_000, max_content_width=10_000
    )


def _text(docstring: str) -> str:
    return "\n".join(line.strip() for line in docstring.strip().splitlines())
