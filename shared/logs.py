"""One line per log record on stderr, logfmt or JSON, the same in every program."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("logfmt", "json")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Level → priority of the journal (sd-daemon(3))."""


def setup(level: str = "info", fmt: str = "logfmt") -> None:
    """Send every record of this process to stderr; an unknown level or format falls back to info and logfmt. Never raises.

    When stderr is the systemd journal, each line begins with `<N>`, its priority, which the journal takes off again.
    """
    # a full disk or a closed stderr must not become a second error inside the first
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=fmt == "json", for_journal=_is_journal()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper() if level in LEVELS else "INFO")


class _Lines(logging.Formatter):
    """A record as one line: time (UTC, ISO), level, logger, message and, if any, the exception as one field."""

    def __init__(self, *, as_json: bool, for_journal: bool) -> None:
        super().__init__()
        self._write = _json_line if as_json else _logfmt_line
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        line = self._write(self._fields(record))
        return f"<{_priority(record.levelno)}>{line}" if self._for_journal else line

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


def _is_journal() -> bool:
    """Whether stderr is the very stream that systemd named in JOURNAL_STREAM, and not a file or pipe put in its place."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _priority(level: int) -> int:
    return next(priority for least, priority in _PRIORITIES if level >= least)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError) as error:
        return f"{record.msg} {record.args!r} (badly formed log call: {error})"


def _json_line(fields: dict[str, str]) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _logfmt_line(fields: dict[str, str]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: str) -> str:
    plain = value != "" and value.isprintable() and not any(sign in value for sign in ' "=\\')
    return value if plain else json.dumps(value, ensure_ascii=False)
