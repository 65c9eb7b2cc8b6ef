"""The sink for InfluxDB 2 and what speaks its write API: the only door to influxdb_client."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import NamedTuple

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from collector.ingest import Record
from collector.lines import lines
from collector.minutes import marks
from collector.sinks.ports import Outcome, SetAside, Sink, StoreUnavailable

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MAX_RETRY_AFTER_S = 300.0
_MAX_BODY = 200


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where to write. `token` is the secret itself, already read from its file."""

    url: str
    org: str
    bucket: str
    token: str
    timeout_s: float = TIMEOUT_S
    gzip: bool = False


class _TooLarge(Exception):
    """413: the same points may pass in smaller requests."""


class _PointsRefused(Exception):
    """400 or 422: something in this request is not acceptable, other points may be."""


class _Said(NamedTuple):
    status: int
    text: str


_UNAVAILABLE = {
    401: "the token is not accepted: check token_file",
    403: "the token may not write to bucket {bucket!r}: give it write access",
    404: "there is no bucket {bucket!r} in org {org!r}: create it or correct the name",
    429: "it asks to slow down",
    503: "it is overloaded or starting",
}
"""Status → what a person can do about it; nothing is lost meanwhile, the whole batch is written again later."""


class InfluxSink:
    """Implements `ports.Sink`. Synchronous writes; a batch counts as stored after the server's 2xx only.

    A refused batch is halved down to the messages that are refused alone. Such a message is given up only when the server
    took something else in the same breath: a server that refuses everything is a setting to correct, no reason to lose data.
    `aside` keeps what is given up; without one it is only counted and named in the receipt.
    """

    def __init__(self, settings: InfluxSettings, *, aside: Sink | None = None) -> None:
        self._settings = settings
        self._aside = aside
        self._client = InfluxDBClient(
            settings.url,
            settings.token,
            org=settings.org,
            timeout=int(settings.timeout_s * 1000),
            enable_gzip=settings.gzip,
        )
        self._service = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]  # it has no types
        self._taken = False
        self._counts: dict[str, float] = {"requests": 0, "written_mb": 0.0, "halved": 0, "set_aside": 0}

    def prepare(self, record: Record) -> Record:
        """With its lines."""
        return record._replace(ready=lines(record).encode())

    def write(self, records: Sequence[Record]) -> Outcome:
        """Store a batch in as few requests as its points allow."""
        self._taken = False
        return self._write(records)

    def set_aside(self, messages: Sequence[SetAside]) -> None:
        """Keep what cannot be stored."""
        if self._aside is not None:
            self._aside.set_aside(messages)
        self._counts["set_aside"] += len(messages)

    def counters(self) -> dict[str, float]:
        """Requests and megabytes so far."""
        return dict(self._counts)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # it has no types
        if self._aside is not None:
            self._aside.close()

    def _write(self, records: Sequence[Record]) -> Outcome:
        if not records:
            return Outcome()
        try:
            points = (one.ready or lines(one).encode() for one in records)
            # the marks go along: what is stored is also known to be due for its minute
            self._post(b"\n".join(filter(None, (*points, *map(str.encode, marks(records))))))
        except (_PointsRefused, _TooLarge) as refusal:
            if len(records) == 1:
                if not self._taken:
                    self._probe(str(refusal))
                return Outcome(
                    refused=[SetAside(records[0].identity, str(refusal), records[0].payload, records[0].source)]
                )
            self._counts["halved"] += 1
            half = len(records) // 2
            first, second = self._write(records[:half]), self._write(records[half:])
            return Outcome([*first.stored, *second.stored], [*first.refused, *second.refused])
        self._taken = True
        return Outcome(stored=records)

    def _probe(self, reason: str) -> None:
        """Nothing of a batch was taken yet. A point no store can mind tells whether it is the points or the store.

        Raises:
            StoreUnavailable: it refuses that one too.
        """
        try:
            self._post(f"collector probe=1 {time.time_ns()}".encode())
        except (_PointsRefused, _TooLarge) as refusal:
            raise self._unavailable(f"it refuses every point ({refusal}; first {reason})") from refusal
        self._taken = True

    def _post(self, body: bytes) -> None:
        if not body:
            return
        self._counts["requests"] += 1
        try:
            self._service.post_write(  # type: ignore[no-untyped-call]  # it has no types
                self._settings.org, self._settings.bucket, body, precision="ns",
                content_encoding="gzip" if self._settings.gzip else "identity", content_type="text/plain; charset=utf-8",
            )  # fmt: skip
        except ApiException as error:
            raise self._judged(error) from error
        except (HTTPError, HTTPException, OSError, UnicodeDecodeError) as error:
            raise self._unavailable(_network_reason(error)) from error
        self._counts["written_mb"] = round(self._counts["written_mb"] + len(body) / 1e6, 3)

    def _judged(self, error: ApiException) -> Exception:
        said = _Said(int(error.status or 0), _text(error))
        if said.status in {400, 422}:
            return _PointsRefused(f"{said.status}: {said.text}")
        if said.status == 413:
            return _TooLarge(f"413: {said.text or 'the request is too large'}")
        hint = _UNAVAILABLE.get(said.status, "it cannot write now")
        reason = f"{said.status}: {hint.format(bucket=self._settings.bucket, org=self._settings.org)}"
        return self._unavailable(f"{reason} ({said.text})" if said.text else reason, _retry_after_s(error))

    def _unavailable(self, reason: str, retry_after_s: float = 0.0) -> StoreUnavailable:
        return StoreUnavailable(f"InfluxDB at {self._settings.url}: {reason}", retry_after_s=retry_after_s)


def _network_reason(error: Exception) -> str:
    """One short sentence out of urllib3's nested exceptions."""
    inner = getattr(error, "reason", None) or next((one for one in error.args if isinstance(one, Exception)), error)
    return f"{type(inner).__name__}: {str(inner).rpartition('>: ')[2] or inner}"[:_MAX_BODY]


def _text(error: ApiException) -> str:
    """The server's own words, without headers and without JSON around them."""
    text = str(error.body or error.reason or "")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        text = str(body.get("message") or body.get("error") or text)
    return " ".join(text.split())[:_MAX_BODY]


def _retry_after_s(error: ApiException) -> float:
    """Retry-After in seconds, given as a number or a date; 0 when there is none that can be understood."""
    headers = {str(name).lower(): str(value) for name, value in dict(error.headers or {}).items()}
    given, parsers = headers.get("retry-after", ""), (float, lambda text: _until(text, headers.get("date", "")))
    for parse in parsers:
        try:
            return min(max(parse(given), 0.0), MAX_RETRY_AFTER_S)
        except (ValueError, TypeError):
            continue
    return 0.0


def _until(text: str, now: str) -> float:
    """Seconds from the server's own date to the date it gives: the clocks need not agree."""
    return (parsedate_to_datetime(text) - parsedate_to_datetime(now)).total_seconds()
