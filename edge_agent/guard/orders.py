"""From a validated message of link or of the local door to a command of the core; the files it needs are read here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from edge_agent.guard.inbox import Inbox
from edge_agent.guard.safety import schedule
from edge_agent.guard.safety.interface import Command, Reload, ScheduleFile
from shared.errors import ConfigError, WireError
from shared.messages import COMMANDS, CommandClass, command_class
from shared.messages import Command as Message

MAX_SCHEDULE_BYTES = 1_000_000
LOCAL_TARGETS: Mapping[str, CommandClass] = {"arm": "E", "commission": "E", "service": "E", "status": "A"}
"""Targets only the local door has → class."""
_PAPERWORK = {"id", "actor", "hb"}

Refuse = Callable[[Command, str, str], None]
"""Called with (command, code, reason) when it cannot be given to the loop."""


def from_link(body: Mapping[str, object]) -> Command:
    """The command in a COMMAND packet; raises WireError saying what is wrong with it."""
    target, name, actor = (_text(body, key) for key in ("target", "id", "actor"))
    given = body.get("body")
    if not isinstance(given, dict):
        raise WireError(f"command body: expected an object, got {type(given).__name__}")
    message = _message(target, given)
    return Command(name, target, command_class(target, message), actor, _plain(message))


def from_local(line: Mapping[str, object], identifier: str, actor: str) -> Command:
    """The command in one line of the local door: `target` and the keys of its body; raises WireError."""
    target = _text(line, "target")
    body = {key: value for key, value in line.items() if key not in {"target", "id"}}
    if target in LOCAL_TARGETS:
        return Command(identifier, target, LOCAL_TARGETS[target], actor, body, local=True)
    message = _message(target, body)
    return Command(identifier, target, command_class(target, message), actor, _plain(message), local=True)


def read_schedule(folder: Path, name: str) -> ScheduleFile:
    """A schedule file by its bare name.

    Raises:
        WireError: it cannot be read or parsed, with line, what was given and what is allowed.
    """
    path = folder / name
    if path.parent != folder:
        raise WireError(f"schedule {name!r}: only a bare file name is allowed")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SCHEDULE_BYTES + 1)
        if len(data) <= MAX_SCHEDULE_BYTES:
            return schedule.parse(data.decode("utf-8-sig"), name)
    except OSError as error:
        raise WireError(f"schedule {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise WireError(f"schedule {name}: line {line}: the byte 0x{data[error.start]:02x} is no UTF-8") from error
    except schedule.ScheduleFault as fault:
        raise WireError(f"schedule {name}: {fault}") from fault
    raise WireError(f"schedule {name}: more than {MAX_SCHEDULE_BYTES} bytes")


class Orders:
    """Hands commands to the loop. Files are read in a thread of its own: a slow disk must not hold up an estop.

    `reread` reads the settings again for `config reload`; it raises ConfigError.
    """

    def __init__(self, inbox: Inbox, schedules: Path, reread: Callable[[], Reload]) -> None:
        self._inbox = inbox
        self._folder = schedules
        self._reread = reread
        self._reader: threading.Thread | None = None
        self._read: Mapping[tuple[str, object], Callable[[Command], Command]] = {
            ("schedule", "start"): self._with_schedule,
            ("config", "reload"): self._with_settings,
        }

    def give(self, command: Command, refuse: Refuse) -> None:
        """Enqueue a command, now or when its file has been read; `refuse` is called when that cannot be. Any thread."""
        read = self._read.get((command.target, command.body.get("action")))
        if read is None:
            self._enqueue(command, refuse)
        elif self._reader is not None and self._reader.is_alive():
            refuse(command, "E_RATE", "another file is still being read")
        else:
            self._reader = threading.Thread(
                target=self._deliver, args=(read, command, refuse), name="files", daemon=True
            )
            self._reader.start()

    def _deliver(self, read: Callable[[Command], Command], command: Command, refuse: Refuse) -> None:
        try:
            command = read(command)
        except (WireError, ConfigError) as error:
            command = command._replace(trouble=str(error))
        self._enqueue(command, refuse)

    def _with_schedule(self, command: Command) -> Command:
        return command._replace(schedule=read_schedule(self._folder, _file_of(command)))

    def _with_settings(self, command: Command) -> Command:
        return command._replace(reload=self._reread())

    def _enqueue(self, command: Command, refuse: Refuse) -> None:
        if not self._inbox.command(command):
            refuse(command, "E_RATE", "too many commands are waiting")


def _file_of(command: Command) -> str:
    name = command.body.get("file")
    if not isinstance(name, str):
        raise WireError("schedule start: file is missing, allowed: the bare name of a .csv in [schedule] folder")
    return name


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise WireError(f"{key}: expected text, got {json.dumps(value, default=str)[:80]}")
    return value


def _message(target: str, body: Mapping[str, object]) -> Message:
    model = COMMANDS.get(target)
    if model is None:
        raise WireError(f"target {target[:80]!r}: allowed {', '.join((*COMMANDS, *LOCAL_TARGETS))}")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise WireError(f"{target}: {where or 'body'}: {first['msg']}") from error


def _plain(message: Message) -> dict[str, object]:
    return cast("dict[str, object]", message.model_dump(exclude=_PAPERWORK, exclude_none=True))
