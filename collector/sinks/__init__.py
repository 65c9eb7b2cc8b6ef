"""The stores: one file and one line in this table each; imported only when chosen."""

from __future__ import annotations

from collections.abc import Callable

from collector.config import CollectorConfig, StoreKind, read_token
from collector.sinks.ports import Sink


def _archive(config: CollectorConfig) -> Sink:
    from collector.sinks.archive import ArchiveSink  # noqa: PLC0415 (only when chosen)

    assert config.archive is not None
    sink = ArchiveSink(config.archive.path, max_mb=config.archive.max_mb)
    sink.open()
    return sink


def _influx(config: CollectorConfig) -> Sink:
    from collector.sinks.influx import InfluxSettings, InfluxSink  # noqa: PLC0415 (slow import, only when chosen)

    assert config.influx is not None
    given = config.influx
    settings = InfluxSettings(
        given.url, given.org, given.bucket, read_token(given.token_file), given.timeout_s, given.gzip
    )
    return InfluxSink(settings, aside=_archive(config) if config.archive is not None else None)


SINKS: dict[StoreKind, Callable[[CollectorConfig], Sink]] = {"archive": _archive, "influx": _influx}
"""`[store] kind` → how its sink is made."""


def open_sink(config: CollectorConfig) -> Sink:
    """The configured store. Raises ConfigError for a token that cannot be read, StoreUnavailable for an archive that cannot."""
    return SINKS[config.store.kind](config)
