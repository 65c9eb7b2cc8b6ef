"""The few error types, split by what the caller does with them."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_NO_ANSWER = 4
EXIT_DOCTOR = 5
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78


class CellguardError(Exception):
    """Anything cellguard says to a person. `str()` is one readable sentence; the command line prints it, no traceback."""

    exit_code = EXIT_FAILED


@dataclass
class ConfigError(CellguardError):
    """Wrong settings or a wrong file given by the user: never retry, say where, what was given and what is allowed.

    Args:
        where: file, and line or key (`edge.toml: [inverter] max_charge_a`).
        given: the offending value as the user wrote it, or "" when something is missing.
        allowed: what would be right, in words or as a range with its unit.
    """

    where: str
    given: str
    allowed: str

    exit_code = EXIT_CONFIG

    def __str__(self) -> str:
        given = f"given {self.given}; " if self.given else ""
        return f"{self.where}: {given}allowed: {self.allowed}"


class DeviceError(CellguardError):
    """A device is absent, unplugged or not answering: close it, wait, open it again."""

    exit_code = EXIT_UNAVAILABLE


class WireError(CellguardError):
    """Bytes or text from outside break their protocol: count it, drop that message alone, go on."""


class Unavailable(CellguardError):
    """A service (broker, store, guard) cannot be reached now: retry later with a growing delay."""

    exit_code = EXIT_UNAVAILABLE


class Refused(CellguardError):
    """The other side understood and said no: never retry the same thing."""

    exit_code = EXIT_REFUSED
