"""The second door to InfluxDB, for what is derived from records: lines in, InfluxQL out."""

from __future__ import annotations

import json
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from collector.minutes import Series
from collector.sinks.influx import InfluxSettings
from collector.sinks.ports import StoreUnavailable

_MAX_REASON = 200
_REFUSALS = {400, 413, 422}


class PointsRefused(Exception):
    """400, 413 or 422: sent again they would be refused again."""


class InfluxPoints:
    """Writes with the collector's own token; reads, when there is one, with a token that may only read."""

    def __init__(self, settings: InfluxSettings, read_token: str | None) -> None:
        self._settings = settings
        self._read_token = read_token
        self._client = InfluxDBClient(
            settings.url, settings.token, org=settings.org, timeout=int(settings.timeout_s * 1000)
        )
        self._write = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]  # it has no types

    @property
    def readable(self) -> bool:
        """Whether `query` may be asked."""
        return self._read_token is not None

    def write(self, lines: list[str]) -> None:
        """Store the lines; raises PointsRefused, or StoreUnavailable when it is not known to be done."""
        body = "\n".join(lines).encode()
        try:
            self._write.post_write(  # type: ignore[no-untyped-call]  # it has no types
                self._settings.org, self._settings.bucket, body, precision="ns", content_type="text/plain; charset=utf-8"
            )  # fmt: skip
        except (ApiException, HTTPError, OSError) as error:
            if isinstance(error, ApiException) and error.status in _REFUSALS:
                raise PointsRefused(_sentence(error)) from error
            raise self._unavailable(error) from error

    def query(self, statement: str) -> list[Series]:
        """The answer to an InfluxQL statement; raises StoreUnavailable when there is none."""
        api: Any = self._client.api_client
        question = [("db", self._settings.bucket), ("q", statement), ("epoch", "ns")]
        headers = {"Authorization": f"Token {self._read_token}", "Accept": "application/json"}
        try:
            answer = api.request(
                "GET", f"{self._settings.url.rstrip('/')}/query", query_params=question, headers=headers
            )
            return _series(json.loads(answer.data)["results"][0])
        except (ApiException, HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # it has no types

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"InfluxDB at {self._settings.url}: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    said = f"{error.status}: {error.body or error.reason}" if isinstance(error, ApiException) else str(error)
    return f"{type(error).__name__}: {' '.join(said.split())[:_MAX_REASON]}"


def _series(result: dict[str, Any]) -> list[Series]:
    if "error" in result:
        raise ValueError(result["error"])
    return [
        Series(dict(one.get("tags", {})), tuple(one["columns"]), list(one["values"]))
        for one in result.get("series", [])
    ]
