"""The entry: names, exit codes, and no traceback for a person."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import click
import pytest

from cellguard.main import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_of_the_table_leads_to_a_command_with_that_name(name: str) -> None:
    command = import_module(f"cellguard.commands.{COMMANDS[name][0]}").command

    assert isinstance(command, click.Command)
    assert command.name == name


HELP = """
import sys
import cellguard.main
sys.argv = ["cellguard", "--help"]
try:
    cellguard.main.main()
except SystemExit:
    print("modules:", *sys.modules)
"""


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], text=True, capture_output=True, timeout=30, check=False)
    listing, _, modules = done.stdout.partition("modules:")

    assert all(name in listing for name in COMMANDS)
    assert not {"pydantic", "paho", "rich", "orjson", "cellguard.commands.send"} & set(modules.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "cellguard "),
        (["dmo"], 2, "Did you mean demo"),
        (["send", "pump", "onn"], 2, "allowed: on, off"),
        (["send", "pump", "on", "--mqtt", "127.0.0.1:1"], 69, "127.0.0.1:1"),
        (["send", "pump", "on", "--mqtt", "nowhere:x"], 78, "HOST:PORT"),
        (["demo", "--modules", "16"], 2, "1<=x<=15"),
        (["demo", "--config", "no-such-file.toml"], 78, "no-such-file.toml"),
        (["config", "show", "--config", "no-such-file.toml"], 78, "no-such-file.toml"),
        (["schedule", "check", "no-such-file.csv"], 78, "no-such-file.csv"),
    ],
)
def test_the_exit_code_says_what_kind_of_failure_it_was(
    arguments: list[str], code: int, said: str, cellguard: Any
) -> None:
    done = cellguard(*arguments)

    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


BROKEN = """
import sys
import cellguard.main as m
import click
@click.command()
def broken():
    raise {error}
m.LazyGroup.get_command = lambda *_: broken
sys.argv = ["cellguard", {options} "demo"]
m.main()
"""


def run_broken(error: str, options: str = "") -> subprocess.CompletedProcess[str]:
    code = BROKEN.format(error=error, options=options)
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=30, check=False)


def test_an_unexpected_exception_is_one_sentence() -> None:
    done = run_broken("ZeroDivisionError('nobody thought of this')")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "internal error" in done.stderr
    assert "--log-level debug" in done.stderr


def test_an_unexpected_exception_shows_its_traceback_with_log_level_debug() -> None:
    done = run_broken("ZeroDivisionError('nobody thought of this')", '"--log-level", "debug",')

    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_ends_quietly_with_130() -> None:
    done = run_broken("KeyboardInterrupt()")

    assert (done.returncode, done.stderr.strip(), done.stdout.strip()) == (130, "", "")


def test_a_reader_that_went_away_is_no_error() -> None:
    done = run_broken("BrokenPipeError()")

    assert (done.returncode, done.stderr) == (0, "")


WITHOUT_UNIX = """
import sys
for name in ("fcntl", "termios", "tty", "pty", "resource", "grp", "pwd", "syslog"):
    sys.modules[name] = None
from cellguard.main import main
sys.argv = ["cellguard", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("words", [["send", "pump", "on"], ["watch", "--once"], ["tail"], ["alarms"]])
def test_the_pc_s_commands_need_nothing_that_windows_lacks(words: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT_UNIX, *words, "--mqtt", "127.0.0.1:1"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=30, check=False)

    assert done.returncode == 69, done.stderr
    assert "127.0.0.1:1" in done.stderr
