"""The thread that owns the store: one batch at a time is written, again until it is taken, and receipted."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from queue import Full, Queue
from typing import NamedTuple, TypeVar

from collector.ingest import Record
from collector.receipts import receipts
from collector.sinks.ports import Outcome, SetAside, Sink, StoreUnavailable

log = logging.getLogger(__name__)

MIN_DELAY_S, MAX_DELAY_S = 1.0, 30.0
_AHEAD = 1
"""Batches that wait ready while one is being written."""
_LOOK_S = 0.1
_LATENCIES = 512
Result = TypeVar("Result")


class Batch(NamedTuple):
    """What is written and receipted together: records, and messages that can only be set aside."""

    records: Sequence[Record]
    poison: Sequence[SetAside] = ()


class Storer:
    """Owns the sink from `start` to `stop`. `publish(topic, payload)` sends a receipt; False when it could not."""

    def __init__(self, name: str, sink: Sink, publish: Callable[[str, bytes], bool]) -> None:
        self._name, self._sink, self._publish = name, sink, publish
        self._batches: Queue[Batch | None] = Queue(_AHEAD)
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self.counts: Counter[str] = Counter()
        self.trouble = ""
        """Why nothing can be stored at this moment, "" when it can."""

    # ---- the pump's thread ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def give(self, batch: Batch) -> bool:
        """Hand over a batch; waits while one is ready already. False when stopping came first: its messages come again."""
        while True:
            try:
                self._batches.put(batch, timeout=_LOOK_S)
            except Full:
                if self._stopping.is_set() and self.trouble:
                    return False
            else:
                return True

    def stop(self) -> None:
        """Be quick from now on: a store that is away is asked only once more."""
        self._stopping.set()

    def finish(self) -> None:
        """Write what was given as far as the store takes it, and end the thread."""
        while self._thread.is_alive():
            try:
                self._batches.put(None, timeout=_LOOK_S)
            except Full:
                continue
            self._thread.join()

    # ---- any thread -------------------------------------------------------------------------------------------------

    def latency_ms(self) -> dict[str, float | None]:
        """How long writes took lately."""
        taken = sorted(self._latencies_s)
        return {
            "p50": round(taken[len(taken) // 2] * 1000, 2) if taken else None,
            "max": round(taken[-1] * 1000, 2) if taken else None,
        }

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._stopping.is_set() and self.trouble:
                continue
            try:
                self._store(batch)
            except Exception:  # the thread's edge: without a receipt the messages of this batch come again
                self.counts["errors"] += 1
                log.exception("a batch failed unexpectedly; its messages will be sent again")
                self._stopping.wait(MIN_DELAY_S)

    def _store(self, batch: Batch) -> None:
        outcome = self._until_taken(lambda: self._sink.write(batch.records)) if batch.records else Outcome()
        if outcome is None:
            return
        refused = [*batch.poison, *outcome.refused]
        if refused and self._until_taken(lambda: self._set_aside(refused)) is None:
            return
        self._count_stored(outcome.stored, len(refused))
        told = receipts(
            self._name,
            (record.identity for record in outcome.stored),
            ((one.identity, one.reason) for one in refused),
        )
        for receipt in told:
            self.counts["receipts" if self._publish(receipt.topic, receipt.payload) else "receipts_unsent"] += 1

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
                self.counts["retries"] += 1
            else:
                self._latencies_s.append(time.monotonic() - begun_s)
                self._say("")
                return result

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("cannot store, will try again: %s", trouble)
        elif self.trouble and not trouble:
            log.info("storing again")
        self.trouble = trouble

    def _count_stored(self, stored: Sequence[Record], refused: int) -> None:
        events = sum(record.identity.lane == "event" for record in stored)
        rows = sum(record.rows for record in stored) - events
        self.counts.update(messages=len(stored), rows=rows, events=events, quarantined=refused)
        log.debug("stored %d rows and %d events, set aside %d", rows, events, refused)
