"""The collector's settings: `collector.toml`, strict; what cannot work is refused at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.errors import ConfigError
from shared.settings import RelativePath, Section, load

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
StoreKind = Literal["influx", "archive"]


class Collector(Section):
    """Who this collector is: the name nodes list in `receipts_from`, and the site its own status is published under."""

    name: Name = "pc-1"
    site: Name = "lab"
    share_group: Name | None = None
    batch_rows: Annotated[int, Field(ge=1, le=50_000)] = 5_000
    batch_wait_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.5
    queue_mb: Annotated[int, Field(ge=1, le=4_096)] = 64
    health_s: Annotated[float, Field(ge=0.5, le=60.0)] = 5.0


class Tls(Section):
    """PEM files: the CA to trust, and this client's own certificate and key."""

    ca: RelativePath
    cert: RelativePath | None = None
    key: RelativePath | None = None

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key together, or neither")
        return self


class Broker(Section):
    """Where the nodes publish."""

    host: Annotated[str, StringConstraints(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8883
    tls: Tls | None = None
    username: str | None = None
    password_file: RelativePath | None = None


class Store(Section):
    """Which sink stores: a row of the table in `collector.sinks`."""

    kind: StoreKind = "archive"


class Influx(Section):
    """InfluxDB 2 or what speaks its write API.

    The token in `token_file` need only write; the one in `read_token_file` need only read and makes the 1-minute series possible.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+")]
    org: Annotated[str, StringConstraints(min_length=1)]
    bucket: Annotated[str, StringConstraints(min_length=1)]
    token_file: RelativePath
    read_token_file: RelativePath | None = None
    timeout_s: Annotated[float, Field(ge=0.5, le=120.0)] = 10.0
    gzip: bool = False


class Archive(Section):
    """The folder of the archive; with `kind = "influx"` it only keeps what the store refuses."""

    path: RelativePath
    max_mb: Annotated[float, Field(ge=1.0)] = 10_000.0


class CollectorConfig(Section):
    """All of `collector.toml`."""

    collector: Collector = Collector()
    mqtt: Broker = Broker()
    store: Store = Store()
    influx: Influx | None = None
    archive: Archive | None = None

    @model_validator(mode="after")
    def _store_is_described(self) -> Self:
        if getattr(self, self.store.kind) is None:
            message = f'a table [{self.store.kind}], as [store] kind = "{self.store.kind}" asks for it'
            raise ValueError(message)
        return self


def load_config(path: Path, environ: Mapping[str, str]) -> CollectorConfig:
    """The settings in `path`; raises ConfigError naming every key that is wrong."""
    return load(path, CollectorConfig, environ=environ)


def missing_files(config: CollectorConfig) -> list[ConfigError]:
    """One error for each secret or certificate the settings name and that is not there: `check` warns, `run` refuses."""
    tls, influx = config.mqtt.tls, config.influx if config.store.kind == "influx" else None
    named = {
        "[mqtt] password_file": config.mqtt.password_file,
        "[mqtt.tls] ca": tls.ca if tls else None,
        "[mqtt.tls] cert": tls.cert if tls else None,
        "[mqtt.tls] key": tls.key if tls else None,
        "[influx] token_file": influx.token_file if influx else None,
        "[influx] read_token_file": influx.read_token_file if influx else None,
    }
    return [
        ConfigError(key, str(path), "a file that is there")
        for key, path in named.items()
        if path is not None and not path.is_file()
    ]


def read_token(key: str, path: Path) -> str:
    """The token in the file that `key` names; raises ConfigError when there is none."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(key, str(path), f"a readable file with the token ({error})") from error
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(key, str(path), "a file with the token on one line, plain ASCII")
    return token
