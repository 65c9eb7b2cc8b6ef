"""From the network thread to the store: a bounded queue, messages judged and cut into batches while another one is written."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from collector.batcher import Batcher, BatchLimits
from collector.ingest import Poison, ingest
from collector.sinks.ports import SetAside, Sink
from collector.storer import Batch, Storer

log = logging.getLogger(__name__)

_OVERHEAD_BYTES = 200
_IDLE_S = 0.5
_CALM_S = 30.0
"""Dropping is said for so long after the last message that found no room."""
_POISON_LOG_S = 10.0
_SWITCH_S = 0.0002
_GC_THRESHOLD = (50_000, 20, 50)


def take_footing() -> None:
    """Of a process with a pump, once at its start: its threads give way soon, and parsed messages are not searched for cycles.

    With Python's own 5 ms the thread that writes waits 10 to 20 ms a batch for the one that prepares the next, and the store for
    it; the collector of cycles costs a sixth of the parsing, and JSON has none.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_GC_THRESHOLD)


class Arrival(Protocol):
    """What the pump reads of an MQTT message."""

    @property
    def topic(self) -> str:
        """The full topic."""

    @property
    def payload(self) -> bytes:
        """The bytes as they came."""


@dataclass(frozen=True, slots=True)
class PumpLimits:
    """How much may wait in memory, and how batches are cut."""

    queue_bytes: int = 64 * 1024 * 1024
    batch: BatchLimits = field(default_factory=BatchLimits)


class Pump:
    """Two threads from `start` to `stop`: one makes batches, one (the storer's) writes them.

    A message that finds the queue full is dropped and counted: without a receipt its node sends it again. The same holds for
    everything between here and the store, so the pump never has to decide what to lose.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        publish: Callable[[str, bytes], bool],
        limits: PumpLimits = PumpLimits(),
    ) -> None:
        self._sink = sink
        self._limits = limits
        self._storer = Storer(name, sink, publish)
        self._queue: SimpleQueue[Arrival] = SimpleQueue()
        self._batcher = Batcher(limits.batch)
        self._poison: list[SetAside] = []
        self._bytes_in = 0
        self._bytes_out = 0
        self._dropped_at_s = -_CALM_S
        self._counts: Counter[str] = Counter()
        self._poison_said_s = -_POISON_LOG_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

    # ---- any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to store."""
        self._storer.start()
        self._thread.start()

    def offer(self, message: Arrival) -> None:
        """Take one message; called on the network thread, returns at once."""
        size = len(message.payload) + _OVERHEAD_BYTES
        self._counts["received"] += 1
        if self._bytes_in - self._bytes_out + size > self._limits.queue_bytes:
            self._counts["dropped"] += 1
            self._dropped_at_s = time.monotonic()
            return
        self._bytes_in += size
        self._queue.put(message)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Store what is queued as far as the store takes it at once, end the thread; False when that took too long."""
        self._stopping.set()
        self._storer.stop()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def trouble(self) -> str:
        """Why not everything can be stored at this moment, "" when it can."""
        if not self._storer.trouble and time.monotonic() - self._dropped_at_s < _CALM_S:
            return "more messages come than the store takes: some were dropped, their nodes send them again"
        return self._storer.trouble

    def health(self) -> dict[str, object]:
        """Counts since the start, the queue's fill, the store's own numbers."""
        # copies first: adding iterates, and other threads count meanwhile
        counts = Counter(dict(self._counts)) + Counter(dict(self._storer.counts))
        trouble = self._storer.trouble
        waiting = self._bytes_in - self._bytes_out
        return {
            "received": counts["received"],
            "dropped": counts["dropped"],
            "unreadable": counts["unreadable"],
            "repeated": counts["repeated"],
            "stored": {"messages": counts["messages"], "rows": counts["rows"], "events": counts["events"]},
            "quarantined": counts["quarantined"],
            "receipts": counts["receipts"],
            "receipts_unsent": counts["receipts_unsent"],
            "retries": counts["retries"],
            "errors": counts["errors"],
            "queue": {"bytes": waiting, "fill": round(waiting / self._limits.queue_bytes, 4)},
            "store_ms": self._storer.latency_ms(),
            "store": {"state": "unavailable" if trouble else "ok", "why": trouble, **self._sink.counters()},
        }

    # ---- the worker thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set() or not (self._queue.empty() or self._storer.trouble):
            try:
                self._turn()
            except Exception:  # the thread's edge: without a receipt the message of this turn comes again
                self._counts["errors"] += 1
                log.exception("a message failed unexpectedly; it will be sent again")
        self._flush()
        self._storer.finish()

    def _turn(self) -> None:
        due_s = self._batcher.due_in_s(time.monotonic())
        if due_s == 0.0:
            self._flush()
        try:
            message = self._queue.get(timeout=_IDLE_S if not due_s else min(due_s, _IDLE_S))
        except Empty:
            if self._poison:
                self._flush()
            return
        self._bytes_out += len(message.payload) + _OVERHEAD_BYTES
        self._take(message)

    def _take(self, message: Arrival) -> None:
        try:
            record = ingest(message.topic, message.payload)
        except Poison as poison:
            self._note_poison(message, poison)
            return
        if self._batcher.clashes(record):
            self._flush()
        if not self._batcher.add(self._sink.prepare(record), time.monotonic()):
            self._counts["repeated"] += 1

    def _note_poison(self, message: Arrival, poison: Poison) -> None:
        now_s = time.monotonic()
        if now_s - self._poison_said_s >= _POISON_LOG_S:
            self._poison_said_s = now_s
            log.warning("%s cannot be stored: %s", message.topic[:120], poison)
        if poison.identity is None:
            self._counts["unreadable"] += 1
        else:
            self._poison.append(
                SetAside(poison.identity, str(poison), message.payload, message.topic.rpartition("/")[2])
            )
        if sum(len(one.payload) for one in self._poison) > self._limits.batch.size_bytes:
            self._flush()

    def _flush(self) -> None:
        """Hand over what is collected."""
        records, poison = self._batcher.take(), self._poison
        self._poison = []
        if records or poison:
            self._storer.give(Batch(records, poison))
