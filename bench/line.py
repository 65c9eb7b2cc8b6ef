"""The figure `line`: line protocol from our writer against influxdb-client's Point, checked to say the same first."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from influxdb_client.client.write.point import Point

from bench.figure import Figure, alternate
from bench.telemetry import messages
from collector.ingest import Record, ingest
from collector.lines import block, lines
from shared.signals import kind_of, module_number

GOAL = 12.0
SECONDS = 2


def figures() -> list[Figure]:
    """The same records as text, by both."""
    records = [ingest(*message) for message in messages(SECONDS)]
    count = sum(record.rows for record in records)
    said, expected = (
        [_sorted(line) for line in body.split(b"\n")] for body in (block(records), "\n".join(_texts(records)).encode())
    )
    if said != expected:
        raise SystemExit("the two writers differ")
    ratio = alternate(lambda: _texts(records), lambda: [lines(record) for record in records], rounds=15)
    against = f"against Point.to_line_protocol, n={count} points, influxdb-client {version('influxdb-client')}"
    return [Figure("line", ratio, GOAL, against)]


def _texts(records: list[Record]) -> list[str]:
    return [_text(record, index, time) for record in records for index, time in enumerate(record.body["t"])]


def _text(record: Record, index: int, offset: int) -> str:
    identity = record.identity
    point: Any = Point(kind_of(record.source))  # type: ignore[no-untyped-call]  # it has no types
    point.tag("site", identity.site).tag("node", identity.node)
    if (module := module_number(record.source)) is not None:
        point.tag("module", f"{module:02d}")
    for name, column in record.body["v"].items():
        point.field(name, column[index])
    text: str = point.time((record.body["t0"] + offset) * 1000).to_line_protocol()
    return text


def _sorted(line: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Head, fields in the order of their names, time: the order of fields has no meaning."""
    head, fields, stamp = line.split(b" ")
    return head, sorted(fields.split(b",")), stamp
