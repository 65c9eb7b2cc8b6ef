"""Reads a DBC file as text: its encoding found, its orphans taken out, numbers that would choke a parser refused."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_MESSAGE_BYTES = 1785  # the longest J1939 transport message; a CAN FD frame holds 64
MAX_MULTIPLEXER_IDS = 65_536
ORPHAN_MESSAGE = "VECTOR__INDEPENDENT_SIG_MSG"
ORPHAN_ID = "3221225472"  # CANdb++ files its unused signals under this id even when the message itself is missing

_QUOTED_OR_COMMENT = re.compile(r'"(?:\\"|[^"])*?"|//[^\n]*')
_MESSAGE = re.compile(r"\bBO_\s+(?P<id>\d+)\s+(?P<name>\w+)\s*:\s*(?P<length>\d+)")
_SIGNAL = re.compile(r"\bSG_\s+(?P<name>\w+)(?:\s+\w+)?\s*:\s*(?P<start>\d+)\s*\|\s*(?P<bits>\d+)\s*@")
_MULTIPLEXER_RANGES = re.compile(r"\bSG_MUL_VAL_\s+\d+\s+(?P<name>\w+)\s+\w+(?P<ranges>[^;]*);")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_BELONGS_TO = re.compile(r"\b(?:VAL_|SIG_VALTYPE_)\s+(?P<id>\d+)\b[^;]*;")


@dataclass(frozen=True, slots=True)
class Source:
    """One DBC file, ready for the parser.

    Args:
        path: where it was read.
        sha: first 12 hex digits of the SHA-256 of its bytes.
        text: its text without orphans; line numbers are those of the file.
        lines: message name → the line it is defined on.
    """

    path: Path
    sha: str
    text: str
    lines: Mapping[str, int]


def read(path: Path) -> Source:
    """Read and screen a DBC file.

    Raises:
        ConfigError: it cannot be read, or holds an id twice or a number no CAN message can have.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), "", f"a readable DBC file ({error.strerror})") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(str(path), f"more than {MAX_FILE_BYTES} bytes", "a DBC file")
    text = _decoded(data)
    plain = _QUOTED_OR_COMMENT.sub(_blank, text)
    ends = [match.start() for match in re.finditer("\n", plain)]
    lines = _screened(plain, _Places(path, ends))
    return Source(path, hashlib.sha256(data).hexdigest()[:12], _without_orphans(text, plain), lines)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Five byte values mean nothing in CP1252. They occur in comments of other code pages and may not stop a rig.
        return data.decode("cp1252", errors="replace")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


@dataclass(frozen=True, slots=True)
class _Places:
    path: Path
    line_ends: list[int]

    def line(self, match: re.Match[str]) -> int:
        return bisect_left(self.line_ends, match.start()) + 1

    def refuse(self, match: re.Match[str], given: str, allowed: str) -> ConfigError:
        return ConfigError(f"{self.path} line {self.line(match)}", given, allowed)


def _screened(plain: str, places: _Places) -> dict[str, int]:
    for complaint in (_message_complaints, _signal_complaints, _multiplexer_complaints):
        for error in complaint(plain, places):
            raise error
    return {match["name"]: places.line(match) for match in _MESSAGE.finditer(plain)}


def _message_complaints(plain: str, places: _Places) -> Iterator[ConfigError]:
    seen: dict[str, int] = {}
    for match in _MESSAGE.finditer(plain):
        if match["name"] == ORPHAN_MESSAGE:
            continue
        if _above(match["length"], MAX_MESSAGE_BYTES):
            given = f"length {_short(match['length'])} of message {match['name']}"
            yield places.refuse(match, given, f"0..{MAX_MESSAGE_BYTES} bytes")
        can_id = match["id"].lstrip("0")
        if can_id in seen:
            given = f"message id {_short(can_id)} again ({match['name']}, first on line {seen[can_id]})"
            yield places.refuse(match, given, "each id once")
        seen[can_id] = places.line(match)


def _signal_complaints(plain: str, places: _Places) -> Iterator[ConfigError]:
    for match in _SIGNAL.finditer(plain):
        if any(_above(match[part], 8 * MAX_MESSAGE_BYTES) for part in ("start", "bits")):
            given = f"signal {match['name']} at {_short(match['start'])}|{_short(match['bits'])}"
            yield places.refuse(match, given, f"start|length within {MAX_MESSAGE_BYTES} bytes")


def _multiplexer_complaints(plain: str, places: _Places) -> Iterator[ConfigError]:
    for match in _MULTIPLEXER_RANGES.finditer(plain):
        for first, last in _RANGE.findall(match["ranges"]):
            if _above(last, 2**32 - 1) or int(last) - int(first) >= MAX_MULTIPLEXER_IDS:
                given = f"multiplexer ids {_short(first)}-{_short(last)} of {match['name']}"
                yield places.refuse(match, given, f"at most {MAX_MULTIPLEXER_IDS} ids in a range")


def _above(digits: str, limit: int) -> bool:
    return len(digits.lstrip("0")) > len(str(limit)) or int(digits) > limit


def _short(digits: str) -> str:
    return digits if len(digits) <= 20 else digits[:20] + "…"


def _without_orphans(text: str, plain: str) -> str:
    """Cantools drops the orphan message itself, then refuses the value tables and types left over from it."""
    orphans = {ORPHAN_ID} | {match["id"] for match in _MESSAGE.finditer(plain) if match["name"] == ORPHAN_MESSAGE}
    kept, at = [], 0
    for match in _BELONGS_TO.finditer(plain):
        if match["id"] in orphans:
            kept += [text[at : match.start()], "\n" * match.group().count("\n")]
            at = match.end()
    return "".join([*kept, text[at:]])
