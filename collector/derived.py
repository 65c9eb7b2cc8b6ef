"""What is stored beside the records: states and the 1-minute series, by a thread of its own that the records never wait for."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Protocol

from collector import minutes
from collector.sinks.influx_points import PointsRefused
from collector.sinks.ports import StoreUnavailable
from collector.states import MAX_BYTES, state_line
from shared.errors import WireError

log = logging.getLogger(__name__)

TURN_S = 1.0
PASS_S = 10.0
WHOLE_S = 600.0
RECENT_NS = 6 * 3600 * 10**9
ALL_NS = (0, 9_200_000_000_000_000_000)
WAITING = 2000
SPANS_A_PASS = 30
POINTS_A_WRITE = 1000


class Points(Protocol):
    """What is asked of the store."""

    @property
    def readable(self) -> bool:
        """Whether `query` may be asked."""

    def write(self, lines: list[str]) -> None:
        """Store the lines; raises PointsRefused or StoreUnavailable."""

    def query(self, statement: str) -> list[minutes.Series]:
        """The answer to an InfluxQL statement; raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connections."""


class Derived:
    """Nothing here can lose a record or hold one up: what fails is counted, and done later from what the store then has.

    A minute is made when its mark stood still from one pass to the next, `pass_s` later. A pass looks at the last hours; the first
    one, and one every `whole_s`, at everything: what other collectors, a backfill or a crash have left.
    """

    def __init__(self, store: Points, pass_s: float = PASS_S, whole_s: float = WHOLE_S) -> None:
        self._store = store
        self._pass_s = pass_s
        self._whole_s = whole_s
        self._waiting: deque[str | tuple[str, bytes]] = deque()
        self._lines: list[str] = []
        self._counts: Counter[str] = Counter()
        self._trouble = {
            "points": "",
            "minutes": "" if store.readable else "off: [influx] read_token_file is not given",
        }
        self._seen: minutes.Marks = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="derived", daemon=True)

    # ---- any thread -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what waits, once, and end the thread."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def offer(self, topic: str, payload: bytes) -> None:
        """Take a message on a state topic; returns at once. What waits is bounded, in number and each in size."""
        if len(payload) > MAX_BYTES:
            self._counts["unreadable"] += 1
        else:
            self._add((topic, payload))

    def take(self, line: str) -> None:
        """Take a line that is ready."""
        self._add(line)

    def health(self) -> dict[str, object]:
        """Counts since the start, and what is wrong."""
        names = ("points", "minutes", "failures", "dropped", "unreadable")
        return {name: self._counts[name] for name in names} | {"why": dict(self._trouble)}

    def _add(self, one: str | tuple[str, bytes]) -> None:
        if len(self._waiting) >= WAITING:
            self._counts["dropped"] += 1
            return
        self._waiting.append(one)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        whole_at_s = pass_at_s = 0.0
        while not self._stopping.wait(min(TURN_S, self._pass_s)):
            self._guarded("points", self._write_waiting)
            now_s = time.monotonic()
            if self._store.readable and now_s >= pass_at_s:
                pass_at_s = now_s + self._pass_s
                whole = now_s >= whole_at_s
                if self._guarded("minutes", partial(self._pass, whole=whole)) and whole:
                    whole_at_s = now_s + self._whole_s
        self._guarded("points", self._write_waiting)
        self._store.close()

    def _guarded(self, what: str, action: Callable[[], None]) -> bool:
        """Do it; what goes wrong is counted, said once, and tried again in a later turn."""
        trouble = ""
        try:
            action()
        except (StoreUnavailable, PointsRefused) as error:
            trouble = str(error)
        except Exception as error:  # the thread's edge: the records go on without us
            log.exception("%s beside the records failed unexpectedly", what)
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            self._counts["failures"] += 1
        if trouble and not self._trouble[what]:
            log.warning("%s beside the records cannot be stored, will try again: %s", what, trouble)
        self._trouble[what] = trouble
        return not trouble

    def _write_waiting(self) -> None:
        while self._waiting and len(self._lines) < WAITING:
            if line := self._line(self._waiting.popleft()):
                self._lines.append(line)
        if not self._lines:
            return
        try:
            self._store.write(self._lines)
        except PointsRefused:
            self._counts["dropped"] += len(self._lines)  # sent again they would be refused again
            self._lines = []
            raise
        self._counts["points"] += len(self._lines)
        self._lines = []

    def _line(self, one: str | tuple[str, bytes]) -> str:
        if isinstance(one, str):
            return one
        try:
            return state_line(*one)
        except WireError as error:
            self._counts["unreadable"] += 1
            log.debug("%s is not stored: %s", one[0][:120], error)
            return ""

    def _pass(self, *, whole: bool) -> None:
        """Make the minutes whose marks stood still since the pass before; the window holds what was seen then."""
        now_ns = time.time_ns()
        recent = [now_ns - RECENT_NS, now_ns + RECENT_NS, *(minute.start_ns for minute in self._seen)]
        since, until = ALL_NS if whole else (min(recent), max(recent) + 1)
        found = minutes.read_marks(self._store.query(minutes.unfinished(since, until)))
        settled = {minute: stored for minute, stored in found.items() if self._seen.get(minute) == stored}
        self._seen = found
        for span in islice(minutes.spans(settled), SPANS_A_PASS):
            answer = self._store.query(minutes.reduce(span))
            made = minutes.points(span, answer)
            for start in range(0, len(made), POINTS_A_WRITE):
                self._store.write(made[start : start + POINTS_A_WRITE])
            self._counts["minutes"] += len(made)
