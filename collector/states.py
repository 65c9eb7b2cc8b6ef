"""The state topics that are stored beside the records, as line protocol: fixed fields of a fixed type each; pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from collector.ingest import MAX_TIME_US, json_object
from collector.lines import escaped, number
from shared import topics
from shared.errors import WireError

MAX_BYTES = 16 * 1024
Path = tuple[str, ...]


def _plain(*names: str) -> dict[str, Path]:
    return {name: (name,) for name in names}


def _each(section: str, *names: str) -> dict[str, Path]:
    return {f"{section}_{name}": (section, name) for name in names}


NUMBERS: dict[str, dict[str, Path]] = {
    "health": {
        **_each("books", "produced", "stored", "spooled", "gaps", "quarantined"),
        **_each("cycle_ms", "p50", "p99", "max"),
        **_each("latency_ms", "p50", "p99", "max"),
        **_each("queue", "recorder", "commands", "unreceipted"),
        **_plain("in_flight", "unknown_gaps", "rss_kb"),
        "spool_bytes": ("drops", "spool_bytes"),
        "resent": ("drops", "resent"),
        "ring_bytes": ("ring", "bytes"),
        "dropped_rows": ("ring", "dropped", "tele"),
        "dropped_events": ("ring", "dropped", "event"),
        "skipped_syncs": ("counters", "can", "skipped_syncs"),
        "silent_turns": ("counters", "inverter", "silent_turns"),
        "can_opens": ("counters", "can", "opens"),
        "commands_refused": ("counters", "loop", "commands_refused"),
    },
    "schedule": _plain("step", "steps", "round", "rounds", "elapsed_s", "setpoint"),
    "outputs": {
        f"{output}_{side}": (output, side)
        for output in ("pump", "fan", "relay1", "relay2", "relay3")
        for side in ("commanded", "readback")
    },
    "collector": {
        **_plain(
            "received",
            "dropped",
            "repeated",
            "unreadable",
            "quarantined",
            "receipts",
            "receipts_unsent",
            "retries",
            "errors",
        ),
        **_each("stored", "messages", "rows", "events"),
        **_each("queue", "bytes", "fill"),
        **_each("store_ms", "p50", "max"),
        **_each("derived", "points", "minutes", "failures", "dropped"),
    },
}
TEXTS: dict[str, tuple[str, ...]] = {
    "health": ("clock",),
    "schedule": ("state", "file", "unit"),
    "safety": ("state", "level", "profile", "energise", "latches"),
}
LEFT_OUT_AT_ZERO = {"resent": 0}
"""Counters that link leaves out as long as they have counted nothing."""
KINDS = ("health", "schedule", "safety", "outputs")
"""`state/KIND` of a node, stored as the measurement KIND."""


def state_line(topic: str, payload: bytes) -> str:
    """The line of one message on `state/KIND`; the same message gives the same point. Raises WireError when it is none."""
    site, node, lane, kind = topics.parse(topic)
    if lane != "state" or kind not in KINDS:
        raise WireError(f"topic {topic[:120]!r}: state/{'|'.join(KINDS)} is expected")
    return _line(kind, f"node={node},site={site}", json_object(payload, MAX_BYTES))


def collector_line(site: str, name: str, body: Mapping[str, Any]) -> str:
    """The line of a collector's own health."""
    return _line("collector", f"collector={name},site={site}", body)


def _line(kind: str, tags: str, body: Mapping[str, Any]) -> str:
    ts = body.get("ts")
    if type(ts) is not int or not 0 <= ts <= MAX_TIME_US:
        raise WireError(f"ts: µs from 0 to {MAX_TIME_US} are expected, got {str(ts)[:40]!r}")
    numbers = ((name, _at(body, path, LEFT_OUT_AT_ZERO.get(name))) for name, path in NUMBERS.get(kind, {}).items())
    texts = ((name, _text(_at(body, (name,)))) for name in TEXTS.get(kind, ()))
    fields = ",".join(
        chain(
            (f"{name}={number(value)}" for name, value in numbers if type(value) in {int, float}),
            (f'{name}="{escaped(value)}"' for name, value in texts if value is not None),
        )
    )
    if not fields:
        raise WireError(f"state/{kind}: nothing in it is known")
    return f"{kind},{tags} {fields} {ts}000"


def _at(body: Any, path: Path, otherwise: float | None = None) -> Any:  # noqa: ANN401 (anything JSON can hold)
    """What stands there; `otherwise` when only the last step leads nowhere."""
    for step in path[:-1]:
        body = body.get(step) if isinstance(body, dict) else None
    return body.get(path[-1], otherwise) if isinstance(body, dict) else None


def _text(value: object) -> str | None:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return value if isinstance(value, str) else None
