"""From the network thread to the store and back: bounded queue, one worker thread, receipts for what is stored."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from collector.batcher import Batcher, BatchLimits
from collector.ingest import Poison, Record, ingest
from collector.receipts import receipts
from collector.sinks.ports import Outcome, SetAside, Sink, StoreUnavailable

log = logging.getLogger(__name__)

MIN_DELAY_S, MAX_DELAY_S = 1.0, 30.0
_OVERHEAD_BYTES = 200
_IDLE_S = 0.5
_LATENCIES = 512
_POISON_LOG_S = 10.0
Result = TypeVar("Result")


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
    """Owns the sink from `start` to `stop`.

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
        self._name = name
        self._sink = sink
        self._publish = publish
        self._limits = limits
        self._queue: SimpleQueue[Arrival] = SimpleQueue()
        self._batcher = Batcher(limits.batch)
        self._poison: list[SetAside] = []
        self._bytes_in = 0
        self._bytes_out = 0
        self._counts: Counter[str] = Counter()
        self._trouble = ""
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)
        self._poison_said_s = -_POISON_LOG_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

    # ---- any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def offer(self, message: Arrival) -> None:
        """Take one message; called on the network thread, returns at once."""
        size = len(message.payload) + _OVERHEAD_BYTES
        self._counts["received"] += 1
        if self._bytes_in - self._bytes_out + size > self._limits.queue_bytes:
            self._counts["dropped"] += 1
            return
        self._bytes_in += size
        self._queue.put(message)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Store what is queued as far as the store takes it at once, end the thread; False when that took too long."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def trouble(self) -> str:
        """Why nothing can be stored at this moment, "" when it can."""
        return self._trouble

    def health(self) -> dict[str, object]:
        """Counts since the start, the queue's fill, the store's own numbers."""
        counts = self._counts
        latencies = sorted(self._latencies_s)
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
            "store_ms": {
                "p50": round(latencies[len(latencies) // 2] * 1000, 2) if latencies else None,
                "max": round(latencies[-1] * 1000, 2) if latencies else None,
            },
            "store": {"state": "unavailable" if self._trouble else "ok", "why": self._trouble, **self._sink.counters()},
        }

    # ---- the worker thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set() or not (self._queue.empty() or self._trouble):
            try:
                self._turn()
            except Exception:  # the thread's edge: without a receipt the messages of this turn come again
                self._counts["errors"] += 1
                log.exception("a batch failed unexpectedly; its messages will be sent again")
                self._batcher.take()
                self._poison.clear()
                self._stopping.wait(MIN_DELAY_S)
        try:
            self._flush()
        except Exception:  # the thread's edge
            self._counts["errors"] += 1
            log.exception("the last batch failed unexpectedly; its messages will be sent again")

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
        if not self._batcher.add(record, time.monotonic()):
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
        """Write what is collected; on the way out of a stop an unavailable store is asked only once."""
        records, poison = self._batcher.take(), self._poison
        self._poison = []
        outcome = self._until_taken(lambda: self._sink.write(records)) if records else Outcome()
        if outcome is None:
            return
        refused = [*poison, *outcome.refused]
        if refused and self._until_taken(lambda: self._set_aside(refused)) is None:
            return
        self._count_stored(outcome.stored, len(refused))
        told = receipts(
            self._name,
            (record.identity for record in outcome.stored),
            ((one.identity, one.reason) for one in refused),
        )
        for receipt in told:
            self._counts["receipts" if self._publish(receipt.topic, receipt.payload) else "receipts_unsent"] += 1

    def _set_aside(self, refused: Sequence[SetAside]) -> bool:
        self._sink.set_aside(refused)
        return True

    def _until_taken(self, action: Callable[[], Result]) -> Result | None:
        """Do it again until the store takes it, at most once a second; None when stopping came first."""
        delay_s = MIN_DELAY_S
        while True:
            begun_s = time.monotonic()
            try:
                result = action()
            except StoreUnavailable as error:
                self._say(str(error))
                wait_s = max(delay_s, error.retry_after_s) * random.uniform(1.0, 1.3)  # noqa: S311 (spreads collectors)
                delay_s = min(delay_s * 2, MAX_DELAY_S)
                if self._stopping.wait(wait_s) or self._stopping.is_set():
                    return None
                self._counts["retries"] += 1
            else:
                self._latencies_s.append(time.monotonic() - begun_s)
                self._say("")
                return result

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("cannot store, will try again: %s", trouble)
        elif self._trouble and not trouble:
            log.info("storing again")
        self._trouble = trouble

    def _count_stored(self, stored: Sequence[Record], refused: int) -> None:
        events = sum(record.identity.lane == "event" for record in stored)
        rows = sum(record.rows for record in stored) - events
        self._counts.update(messages=len(stored), rows=rows, events=events, quarantined=refused)
        log.debug("stored %d rows and %d events, set aside %d", rows, events, refused)
