"""What survives a crash, on disk: the armed marker, the latches and the roster, written by a thread of its own."""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from edge_agent.guard.safety.interface import Durable, DurableWrite

UNREADABLE_LATCH = "durable.unreadable"
FILE_NAME = "guard.json"
RETRY_S = 1.0
_MAX_BYTES = 1_000_000

log = logging.getLogger(__name__)


def load(state_dir: Path) -> tuple[Durable, str]:
    """The record on disk, and a sentence when it could not be used ("" when all is well).

    A missing file is a first start. An unreadable one is set aside and counts as armed with a latch: who cannot know
    whether contactors were closed must assume it.
    """
    path = state_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            return decode(file.read(_MAX_BYTES)), ""
    except FileNotFoundError:
        return Durable(), ""
    except (OSError, ValueError) as error:
        why = f"{path}: {getattr(error, 'strerror', None) or error}; taken as armed, {_set_aside(path)}"
        return Durable(armed=True, latches=(UNREADABLE_LATCH,)), why


def encode(record: Durable) -> bytes:
    """One JSON object with a checksum over its record."""
    roster = None if record.roster is None else list(record.roster)
    body = {"armed": record.armed, "latches": list(record.latches), "roster": roster}
    return json.dumps({"version": 1, "record": body, "crc": _crc(body)}, ensure_ascii=False).encode()


def decode(data: bytes) -> Durable:
    """The record in `data`; raises ValueError saying what is wrong with it."""
    try:
        whole = json.loads(data)
        body = whole["record"]
        if whole["version"] != 1 or whole["crc"] != _crc(body):
            raise ValueError("its checksum does not fit its content")
        latches, roster = body["latches"], body["roster"]
        if not all(isinstance(latch, str) for latch in latches) or not isinstance(body["armed"], bool):
            raise ValueError("its content has the wrong types")
        return Durable(body["armed"], tuple(latches), None if roster is None else tuple(int(one) for one in roster))
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a record of this guard ({error})") from error


def store(path: Path, record: Durable) -> None:
    """Replace the file, and return when the new one is on disk under its name; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(encode(record))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Writer:
    """Writes the newest record. `written` and `failed` are set by its thread and read by the loop."""

    def __init__(self, state_dir: Path, wake: Callable[[], None]) -> None:
        self._path = state_dir / FILE_NAME
        self._wake = wake
        self._orders: SimpleQueue[DurableWrite | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="durable", daemon=True)
        self.written = 0
        self.failed = ""
        self.failures = 0

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    def order(self, write: DurableWrite) -> None:
        """Have a record written; its ticket appears in `written`. Loop thread; returns at once."""
        self._orders.put(write)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what was ordered, then end; gives up after `timeout_s` when the disk does not answer."""
        self._orders.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pending: DurableWrite | None = None
        while True:
            order = self._next(RETRY_S if pending is not None else None)
            if order is None:
                return
            pending = order if isinstance(order, DurableWrite) else pending
            if pending is not None and self._write(pending):
                pending = None

    def _next(self, timeout_s: float | None) -> DurableWrite | bool | None:
        """The newest order, True when there is none in time, None at the end once everything before it is written."""
        try:
            order = self._orders.get(timeout=timeout_s)
        except Empty:
            return True
        while order is not None and self._orders.qsize():
            newer = self._orders.get()
            if newer is None:
                self._orders.put(None)
                return order
            order = newer
        return order

    def _write(self, write: DurableWrite) -> bool:
        try:
            store(self._path, write.record)
        except OSError as error:
            self.failures += 1
            if not self.failed:
                log.warning("%s: cannot be written: %s; tried again every second", self._path, error.strerror or error)
            self.failed = f"{self._path}: {error.strerror or error}"
            self._wake()
            return False
        self.failed = ""
        self.written = write.ticket
        self._wake()
        return True


def _crc(body: object) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def _set_aside(path: Path) -> str:
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.corrupt-{number}")
        if not aside.exists():
            try:
                path.rename(aside)
            except OSError as error:
                return f"and could not be set aside ({error.strerror or error})"
            return f"set aside as {aside.name}"
    return "and not set aside: 999 such files lie beside it already"
