"""The `state/health` topic: guard's part, the books, queues, drops, clock and the computer's temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from edge_agent.link.jobs import Snapshot

_THERMAL = Path("/sys/class/thermal")
_IO = Path("/proc/self/io")
_MB, _HOUR_S = 1e6, 3600.0


class Wear:
    """What link has written to the disk since it began (`now` in monotonic s): an SD card bears only so much."""

    def __init__(self, now: float) -> None:
        self._began = now

    def body(self, now: float) -> dict[str, float]:
        """MB written, log and index and all, and how many that is an hour; empty where the kernel does not tell."""
        try:
            fields = dict(line.split(": ") for line in _IO.read_text(encoding="ascii").splitlines())
        except OSError:
            return {}
        written_mb = int(fields["write_bytes"]) / _MB
        hours = max(now - self._began, 1.0) / _HOUR_S
        return {"written_mb": round(written_mb, 1), "mb_per_hour": round(written_mb / hours, 1)}


def health_body(guard: Mapping[str, object], own: Mapping[str, object], snapshot: Snapshot) -> bytes:
    """The payload. `stored` in the books is what receipts have released, link's own view of the store."""
    books = dict(snapshot.books)
    unknown = books.pop("unknown_gaps", 0)
    books["stored"] = books.pop("released", 0)
    body = {
        **guard,
        **own,
        "books": books,
        "unknown_gaps": unknown,
        "in_flight": snapshot.in_flight,
        "trips": dict(snapshot.trips),
        "temperatures_c": _temperatures(),
    }
    return orjson.dumps(body)


def _temperatures() -> dict[str, float]:
    """The computer's own thermal zones, where it has any."""
    found = {}
    for zone in sorted(_THERMAL.glob("thermal_zone*")):
        try:
            found[(zone / "type").read_text().strip()] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue  # a zone without a sensor behind it
    return found
