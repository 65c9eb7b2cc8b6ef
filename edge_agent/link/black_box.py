"""After a trip: the 60 s before and after it at full rate, taken back out of the spool into one file beside it."""

from __future__ import annotations

import gzip
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import NamedTuple

import orjson

from edge_agent.link.spool import Lane, Spool

AROUND_S = 60.0
SETTLED_S = 3.0
"""So much later the last rows of the window have reached the spool too."""
LAYOUT = 1
MOST_FILES, MOST_BYTES = 50, 256 * 1024 * 1024
MOST_WAITING = 8
_AT_ONCE, _EVENTS_AT_ONCE = 24, 500
_RECALL_S = 600.0
_US = 1_000_000
_LANES: tuple[Lane, ...] = ("event", "tele")
_ENDING = ".jsonl.gz"

log = logging.getLogger(__name__)


class Trip(NamedTuple):
    """One trip: when (Unix µs), what it is called, the number of its event, and when its file can be written (monotonic s)."""

    ts: int
    latch: str
    seq: int
    due: float

    @property
    def file(self) -> str:
        """`20261123T101502.123Z-module-03.temperature_high.jsonl.gz`."""
        stamp = datetime.fromtimestamp(self.ts / _US, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        return f"{stamp}Z-{re.sub(r'[^A-Za-z0-9_.-]', '_', self.latch)[:64]}{_ENDING}"


def trip_of(body: Mapping[str, object]) -> str | None:
    """The latch that the trip of this state event is called by; None when it is no trip."""
    latches = body.get("latches")
    if body.get("to") != "STOPPING" or body.get("from") == "BOOT" or not isinstance(latches, list):
        return None
    why = body.get("why")
    fresh = [latch for latch in latches if isinstance(why, list) and latch in why]
    return next((str(latch) for latch in (*fresh, *latches)), None)


class BlackBox:
    """Notes trips, writes their files piece by piece. One thread, the recorder's; trouble with a file is only counted."""

    def __init__(self, folder: Path, about: Mapping[str, object]) -> None:
        self._folder, self.about = folder, about
        self._waiting: list[Trip] = []
        self._writing: tuple[Trip, Iterator[None]] | None = None
        self._looked = ("", 0)
        self.told: Mapping[str, object] = {}
        self.last = ""
        self.counts: Counter[str] = Counter()

    def _look(self, spool: Spool, now_us: int, now: float) -> None:
        """Find the trips among the events that came since the last look; at first also those of the last minutes.

        So a trip whose file was not, or not wholly, written when link ended gets it after the next start.
        """
        if spool.id != self._looked[0]:
            self._looked = spool.id, spool.since("event", now_us - round(_RECALL_S * _US))
        first = self._looked[1]
        while first < spool.next_seq("event") and (rows := spool.kept("event", first, _EVENTS_AT_ONCE)):
            first = rows[-1][0] + 1
            for seq, kind, ts, payload in rows:
                latch = trip_of(orjson.loads(payload)) if kind == "state" else None
                if latch is not None:
                    left_s = (ts - now_us) / _US + AROUND_S + SETTLED_S  # by a clock that may be set while it waits
                    self._note(Trip(ts, latch, seq, now + min(max(left_s, 0.0), AROUND_S + SETTLED_S)))
        self._looked = spool.id, first

    def _note(self, trip: Trip) -> None:
        if self._is_whole(trip):
            return
        if len(self._waiting) >= MOST_WAITING:
            self.counts["trips_without_file"] += 1
            log.warning("%d trips wait for their files already: %s gets none of its own", MOST_WAITING, trip.file)
        else:
            self._waiting.append(trip)

    def turn(self, spool: Spool, now_us: int, now: float) -> None:
        """Look for new trips, and do a little: begin with the next file that is due, or go on with the one begun."""
        self._look(spool, now_us, now)
        self._write_on(spool, now)

    def _write_on(self, spool: Spool, now: float) -> None:
        if self._writing is None:
            due = next((trip for trip in self._waiting if trip.due <= now), None)
            if due is None:
                return
            self._waiting.remove(due)
            dated = _dated(due, spool)
            self._writing = dated, self._write(dated, spool)
        trip, work = self._writing
        try:
            next(work)
        except StopIteration:
            self._writing = None
        except OSError as error:
            self._writing = None
            self.counts["trip_files_failed"] += 1
            log.error("%s could not be written: %s", trip.file, error)  # noqa: TRY400 the sentence says it all

    def finish(self, spool: Spool, now_us: int, now: float) -> None:
        """At the end: write what waits as far as it is known; the next start completes it when more has come."""
        self._look(spool, now_us, now)
        while self._writing is not None or self._waiting:
            self._write_on(spool, inf)

    def abandon(self) -> None:
        """The spool has failed: a file under way is begun again from the next one."""
        if self._writing is not None:
            self._waiting.append(self._writing[0])
            self._writing = None

    def body(self) -> dict[str, object]:
        """For `state/health`."""
        return {
            "files": len(self._files()),
            "waiting": len(self._waiting) + (self._writing is not None),
            "last": self.last,
        }

    def _is_whole(self, trip: Trip) -> bool:
        try:
            return (self._folder / trip.file).stat().st_mtime >= trip.ts / _US + AROUND_S
        except OSError:
            return False

    def _write(self, trip: Trip, spool: Spool) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{trip.file}"
        with gzip.open(part, "wb", compresslevel=3) as file:
            file.write(orjson.dumps(self._head(trip, spool.id)) + b"\n")
            for lines in _around(spool, trip.ts):
                file.writelines(lines)
                yield
        part.replace(self._folder / trip.file)
        self.last = trip.file
        self.counts["trip_files_written"] += 1
        log.info("%s: the %.0f s around the trip", trip.file, AROUND_S)
        self._make_room()

    def _head(self, trip: Trip, spool: str) -> dict[str, object]:
        return {
            "kind": "trip",
            "layout": LAYOUT,
            "trip": trip.latch,
            "ts": trip.ts,
            "spool": spool,
            **self.about,
            **self.told,
        }

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"[!.]*{_ENDING}"))

    def _make_room(self) -> None:
        files = self._files()
        sizes = [file.stat().st_size for file in files]
        while len(files) > MOST_FILES or (sum(sizes) > MOST_BYTES and len(files) > 1):
            files.pop(0).unlink()
            sizes.pop(0)
            self.counts["trip_files_forgotten"] += 1


def _dated(trip: Trip, spool: Spool) -> Trip:
    """The trip with the time its event has now: it may have waited for the clock to be set, and been dated anew."""
    rows = spool.kept("event", trip.seq, 1)
    return trip._replace(ts=rows[0][2]) if rows and rows[0][0] == trip.seq else trip


def _around(spool: Spool, ts: int) -> Iterator[Iterable[bytes]]:
    """Lines of the window, events first; a piece at a time, so that recording goes on in between."""
    around = round(AROUND_S * _US)
    for lane in _LANES:
        first = spool.since(lane, ts - around)
        while rows := [row for row in spool.kept(lane, first, _AT_ONCE) if row[2] <= ts + around]:
            first = rows[-1][0] + 1
            yield [_line(source, payload) for _, source, _, payload in rows]


def _line(source: str, payload: bytes) -> bytes:
    """The message with its source in front: the payload alone names none."""
    return b'{"source":' + orjson.dumps(source) + b"," + payload[1:] + b"\n"
