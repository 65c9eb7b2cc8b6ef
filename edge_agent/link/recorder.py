"""The thread that owns the spool: packets in, durable numbers out, messages up, receipts down. Nothing else waits for the disk."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable

from edge_agent.link import gaps, spool_file
from edge_agent.link.black_box import BlackBox
from edge_agent.link.clock import Clock
from edge_agent.link.jobs import (
    Answered,
    BrokerUp,
    CollectorSaid,
    Hello,
    Job,
    Opened,
    OwnEvent,
    Packets,
    ReceiptArrived,
    Reloaded,
    Report,
    Snapshot,
)
from edge_agent.link.journal import RecordSettings
from edge_agent.link.open_spool import OpenSpool
from edge_agent.link.reserve import Reserve
from edge_agent.link.spool import RELEASED
from edge_agent.link.uplink import WINDOW_BYTES
from shared.errors import ConfigError

log = logging.getLogger(__name__)

_BUSY_S, _CALM_S = 0.02, 0.2
_RETRY_S = 2.0
_REPORT_S = 1.0
_JOBS = 4000
_JOBS_AT_ONCE = 200
_ROWS_AT_ONCE = 2000
"""Of guard in one transaction: after a resync it sends a minute and more, and the log of a commit needs room on the disk."""
_OWN_KEPT = 1000
_HISTORY_FOR_ROOM = 500
"""Stored messages given up at once when the disk takes nothing more: their pages are written over instead."""
KEEP_COMMANDS = 20_000
TRIPS_FOLDER = "trips"
RESERVE_FILE = "spool.reserve"
RESERVE_BYTES = 2 * WINDOW_BYTES
"""Kept on the disk for the day when others have filled it: what is on its way is not given up even then, and as much again
is for events and SQLite's log."""


class Recorder:
    """Owns spool, journal and uplink on one thread. `publish` and `room` are the broker's; `tell` takes reports from it."""

    def __init__(
        self,
        settings: RecordSettings,
        clock: Clock,
        publish: Callable[[str, bytes], bool],
        room: Callable[[], int],
        tell: Callable[[Report], None],
    ) -> None:
        self._settings, self._clock = settings, clock
        self._publish, self._room, self._tell = publish, room, tell
        self._jobs: queue.Queue[Job] = queue.Queue(_JOBS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._open: OpenSpool | None = None
        self._missed = False
        self._own: list[OwnEvent] = []
        self._broken = self._full = False
        self._reserve = Reserve(settings.path.with_name(RESERVE_FILE), RESERVE_BYTES)
        self._retry_at = self._report_at = 0.0
        self._flush_at = time.monotonic() + settings.batch_s
        self._counts: Counter[str] = Counter()
        self._box = BlackBox(settings.path.parent / TRIPS_FOLDER, settings.about)

    # ---- any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the spool and begin, in the background."""
        self._thread.start()

    def put(self, job: Job) -> bool:
        """Hand over a job without waiting; False when the thread is too far behind (the caller counts what that means)."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> None:
        """Write what is waiting, close the file, end the thread."""
        self._stopping.set()
        self._thread.join(timeout_s)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._guarded(self._work)
        while not self._stopping.is_set():
            self._guarded(self._turn)
        self._guarded(self._finish)
        if self._open is not None:
            self._open.close()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (sqlite3.Error, OSError) as error:
            self._broken = spool_file.is_unreadable(error)
            self._full = True  # whatever it is called, a full disk among others
            self._fail(f"the spool cannot be written: {error}")
        except Exception as error:  # the thread's edge: a defect must not stop recording for ever
            log.exception("recording failed")
            self._fail(f"recording failed: {type(error).__name__}: {error}")

    def _turn(self) -> None:
        try:
            self._handle(self._jobs.get(timeout=self._patience_s()))
            for _ in range(_JOBS_AT_ONCE):
                if self._has_much():
                    break
                self._handle(self._jobs.get_nowait())
        except queue.Empty:
            pass
        self._work()

    def _has_much(self) -> bool:
        return self._open is not None and self._open.journal.waiting >= _ROWS_AT_ONCE

    def _patience_s(self) -> float:
        if self._open is not None and self._open.uplink.has_more:
            return _BUSY_S
        return max(0.001, min(_CALM_S, self._flush_at - time.monotonic()))

    def _work(self) -> None:
        now = time.monotonic()
        if self._open is None:
            if now < self._retry_at:
                return
            self._begin()
        opened = self._open
        assert opened is not None
        if opened.journal.has_events:
            opened.journal.commit_events()
        self._box.turn(opened.spool, self._clock.now_us(), now)
        if now >= self._flush_at or self._has_much():
            # after one that came early because there was much, the next is due a whole batch later, not two
            self._flush_at = max(min(self._flush_at, now) + self._settings.batch_s, now)
            self._flush(opened)
            opened.send(self._room(), self._publish)  # what is on its way is not given up
            self._keep_room(opened)
        opened.send(self._room(), self._publish)
        if now >= self._report_at:
            self._report(opened, now)

    def _keep_room(self, opened: OpenSpool) -> None:
        """Keep the spool to its cap, which is lower while the disk is so full that the reserve cannot be kept."""
        self._counts["disk_full"] += not self._reserve.keep()
        opened.journal.ceiling = self._reserve.ceiling(self._settings.path.stat().st_size)
        opened.journal.trim(opened.uplink.sent, opened.uplink.dropped)

    def _finish(self) -> None:
        while not self._jobs.empty():
            self._handle(self._jobs.get_nowait())
        if self._open is not None:
            self._flush(self._open)
            self._open.send(self._room(), self._publish)
            self._report(self._open, time.monotonic())
            self._box.finish(self._open.spool, self._clock.now_us(), time.monotonic())

    def _begin(self) -> None:
        aside = None
        if self._broken:  # found while it was open: opening it again would only find it again
            self._broken = False
            aside = spool_file.set_aside(self._settings.path)
        if self._full:
            self._reserve.give()
        self._open = opened = OpenSpool(self._settings, self._clock)
        spool = opened.spool
        aside = aside or spool.set_aside
        opened.journal.own, self._own = self._own, []
        if self._full:
            self._full = False
            spool.shrink()
            self._counts["history_dropped"] += spool.drop_settled(_HISTORY_FOR_ROOM)
        if aside is not None:
            self._counts["spools_set_aside"] += 1
            opened.journal.own.append(gaps.spool_set_aside(aside.name, self._clock.now_us()))
        self._tell(Opened(spool.id, spool.open_sessions(), spool.commands(), self._missed))
        self._missed = False

    def _fail(self, trouble: str) -> None:
        """Forget what is not durable (guard still has it) and begin again from the file, later."""
        self._counts["spool_errors"] += 1
        log.error("%s; next try in %.0f s", trouble, _RETRY_S)
        self._missed = True
        self._retry_at = time.monotonic() + _RETRY_S
        self._box.abandon()
        if self._open is not None:
            self._keep(self._open.journal.own)
            self._open.close()
            self._open = None
        self._tell(Snapshot({}, 0, 0, 0.0, dict(self._counts), trouble))

    def _keep(self, events: list[OwnEvent]) -> None:
        """Events of link itself wait until the spool can be written again, the newest of them."""
        self._own += events
        self._counts["own_events_lost"] += max(0, len(self._own) - _OWN_KEPT)
        del self._own[:-_OWN_KEPT]

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def _handle(self, job: Job) -> None:
        opened = self._open
        if opened is None:
            if isinstance(job, OwnEvent):
                self._keep([job])
            self._counts["jobs_without_spool"] += 1
            self._missed |= isinstance(job, Hello | Packets)
            return
        match job:
            case Packets(packets):
                self._missed |= not opened.journal.take(packets)
            case Hello(session, sources, told):
                self._box.told = told
                self._flush(opened)
                opened.journal.hello(session, sources)
            case ReceiptArrived() | CollectorSaid() | BrokerUp():
                self._from_broker(opened, job)
            case OwnEvent():
                opened.journal.own.append(job)
            case Answered(identifier, answer):
                opened.spool.remember_command(identifier, int(time.time()), answer, KEEP_COMMANDS)
            case Reloaded():
                self._reread()

    def _from_broker(self, opened: OpenSpool, job: ReceiptArrived | CollectorSaid | BrokerUp) -> None:
        match job:
            case ReceiptArrived(payload, retained):
                self._receipt(opened, payload, retained=retained)
            case CollectorSaid(name, payload, retained):
                opened.uplink.collector(name, payload, retained=retained, now=time.monotonic())
            case BrokerUp():
                opened.uplink.reconnected(time.monotonic())

    def _reread(self) -> None:
        try:
            self._box.about = self._settings.reread()
        except ConfigError:  # the file was changed again since; guard's fingerprint in `info` tells them apart
            self._counts["settings_not_reread"] += 1

    def _flush(self, opened: OpenSpool) -> None:
        durable, fresh = opened.journal.flush()
        for seq in fresh:
            opened.uplink.spooled(seq)
        if durable is not None:
            self._tell(durable)

    def _receipt(self, opened: OpenSpool, payload: bytes, *, retained: bool) -> None:
        release = opened.uplink.receipt(payload, retained=retained)
        if release is None:
            return
        if release.stored:
            opened.spool.settle(release.lane, release.stored, RELEASED)
        if release.quarantined:
            opened.journal.quarantined(release.lane, release.quarantined)
            log.warning("quarantined by the collector: %s", release.quarantined[:5])
        opened.uplink.settled(release, time.monotonic())

    def _report(self, opened: OpenSpool, now: float) -> None:
        self._report_at = now + _REPORT_S
        counts = self._counts + opened.counts() + self._box.counts
        counts["queue_fill"] = self._jobs.qsize()
        counts["spool_bytes"] = opened.spool.used_bytes()
        uplink = opened.uplink
        self._tell(
            Snapshot(
                opened.spool.books(),
                opened.journal.waiting,
                uplink.unreceipted,
                uplink.oldest_s(now),
                dict(counts),
                "",
                self._box.body(),
            )
        )
