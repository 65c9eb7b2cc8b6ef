"""The command line's entry: a table of lazily imported commands, and what a person sees when one of them fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import NoReturn

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the whole system on a simulated rig."),
    "simulate": ("simulate", "Run only the simulated rig: battery, inverter, Arduino."),
    "rig": ("rig", "Turn the knobs of a simulated rig: values, faults."),
    "edge": ("edge", "The agent on the Raspberry Pi: run, guard, link, check, install."),
    "local": ("local", "The guard's own door, without broker and network: estop, open, status, commission."),
    "collector": ("collector", "The PC's side: store what arrives, send receipts."),
    "doctor": ("doctor", "Check every link of the chain; say what to do where one is broken."),
    "watch": ("watch", "Live table of the pack, inverter, outputs, alarms."),
    "tail": ("tail", "Follow what is published, line by line."),
    "alarms": ("alarms", "List the alarms that are active or latched."),
    "send": ("send", "Send a command and wait for its answer."),
    "replay": ("replay", "Run a recorded trip through the rules again, also with other settings."),
    "export": ("export", "Write stored data as CSV or line protocol."),
    "backfill": ("backfill", "Store again what a store has missed."),
    "import": ("import_logs", "Read the lab's old CSV logs into the store."),
    "quarantine": ("quarantine", "What could not be stored: list, export, retry."),
    "schedule": ("schedule", "Check a schedule file."),
    "config": ("config", "Show the settings in force or their schema; move from the lab's old ones."),
    "dashboards": ("dashboards", "Render the Grafana dashboards."),
    "certs": ("certs", "Certificates for agents and collectors: init, issue, revoke, list."),
    "broker": ("broker", "The broker's users: passwords and roles."),
    "dbc": ("dbc", "Show, check or try a CAN database."),
}
"""Name on the command line → (module in cellguard.commands, help). Its `command` is the click command."""

EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order: demo first, as a new user needs it."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None for a name that is not in the table."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"cellguard.commands.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone, so that help imports none of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but a mistyped name is answered with the nearest ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message}{_nearest(args[0])}", ctx) from error


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=2)
    return f" Did you mean {' or '.join(near)}?" if near else " See cellguard --help."


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib.metadata import version

    click.echo(f"cellguard {version('cellguard')}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option(
    "--log-level", type=click.Choice(("debug", "info", "warning", "error")), help="Say more, or less, on stderr."
)
def cli(log_level: str | None) -> None:
    """Battery-safety telemetry for second-life packs, and a guard that keeps the battery inside its limits.

    Start with `cellguard demo`. Exit codes: 0 done, 1 failed, 2 usage, 3 command refused, 4 no answer, 5 doctor found a
    fault, 69 a service is unreachable, 78 configuration error.
    """
    if log_level:
        from shared.logs import setup

        setup(log_level)


def main() -> NoReturn:
    """Run the command line and leave with its exit code; no traceback reaches a person."""
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 (the process's edge: every ending becomes a sentence and a code)
        code = _ending(error)
    sys.exit(code if isinstance(code, int) else 0)


def _ending(error: BaseException) -> int | str | None:
    """Say what ended the command and return the exit code."""
    from shared.errors import CellguardError

    if isinstance(error, CellguardError):
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    for kind, ending in _ENDINGS:
        if isinstance(error, kind):
            return ending(error)
    return _internal(error)


def _usage(error: BaseException) -> int:
    assert isinstance(error, click.ClickException)
    error.show()
    return error.exit_code


def _quiet_pipe(_error: BaseException) -> int:
    """The reader of our output is gone: point stdout elsewhere so that the interpreter's own flush stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


_ENDINGS: tuple[tuple[type[BaseException], Callable[[BaseException], int | str | None]], ...] = (
    (SystemExit, lambda error: getattr(error, "code", None)),
    (click.exceptions.Exit, lambda error: getattr(error, "exit_code", None)),
    (KeyboardInterrupt, lambda _: EXIT_INTERRUPTED),
    (click.Abort, lambda _: EXIT_INTERRUPTED),
    (BrokenPipeError, _quiet_pipe),
    (click.ClickException, _usage),
)
"""How a command may end besides well: kind of exception → what is said, and the exit code."""


def _internal(error: BaseException) -> int:
    from shared.errors import EXIT_FAILED

    if _wants_details(sys.argv, os.environ.get("CELLGUARD_LOG_LEVEL", "")):
        sys.excepthook(type(error), error, error.__traceback__)
    click.echo(f"error: internal error ({type(error).__name__}: {error}); details with --log-level debug", err=True)
    return EXIT_FAILED


def _wants_details(argv: list[str], environment: str) -> bool:
    spelled = ("--log-level", "debug") in pairwise(argv)
    return spelled or "--log-level=debug" in argv or environment == "debug"
