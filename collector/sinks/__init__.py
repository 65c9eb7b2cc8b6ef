"""The stores: one file and one line in this table each; imported only when chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.config import CollectorConfig, Influx, StoreKind, read_token
from collector.sinks.ports import Sink

if TYPE_CHECKING:
    from collector.derived import Derived
    from collector.sinks.influx import InfluxSettings


def _archive(config: CollectorConfig) -> Sink:
    from collector.sinks.archive import ArchiveSink  # noqa: PLC0415 (only when chosen)

    assert config.archive is not None
    sink = ArchiveSink(config.archive.path, max_mb=config.archive.max_mb)
    sink.open()
    return sink


def _influx(config: CollectorConfig) -> Sink:
    from collector.sinks.influx import InfluxSink  # noqa: PLC0415 (slow import, only when chosen)

    assert config.influx is not None
    aside = _archive(config) if config.archive is not None else None
    return InfluxSink(_settings(config.influx), aside=aside)


def _settings(given: Influx) -> InfluxSettings:
    from collector.sinks.influx import InfluxSettings  # noqa: PLC0415 (slow import, only when chosen)

    token = read_token("[influx] token_file", given.token_file)
    return InfluxSettings(given.url, given.org, given.bucket, token, given.timeout_s, given.gzip)


SINKS: dict[StoreKind, Callable[[CollectorConfig], Sink]] = {"archive": _archive, "influx": _influx}
"""`[store] kind` → how its sink is made."""


def open_sink(config: CollectorConfig) -> Sink:
    """The configured store. Raises ConfigError for a token that cannot be read, StoreUnavailable for an archive that cannot."""
    return SINKS[config.store.kind](config)


def open_derived(config: CollectorConfig) -> Derived | None:
    """What is stored beside the records, None for a store that keeps messages. Raises ConfigError as `open_sink` does."""
    if config.store.kind != "influx":
        return None
    from collector.derived import Derived  # noqa: PLC0415 (slow import, only when chosen)
    from collector.sinks.influx_points import InfluxPoints  # noqa: PLC0415 (slow import, only when chosen)

    assert config.influx is not None
    path = config.influx.read_token_file
    token = None if path is None else read_token("[influx] read_token_file", path)
    return Derived(InfluxPoints(_settings(config.influx), token))
