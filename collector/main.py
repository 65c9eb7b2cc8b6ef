"""The collector's wiring: broker, pump and store together, its own status and health, a clean end on a signal."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path

import orjson

from collector.batcher import BatchLimits
from collector.config import CollectorConfig, missing_files
from collector.pump import Pump, PumpLimits, take_footing
from collector.sinks import open_derived, open_sink
from collector.states import KINDS, collector_line
from shared import topics
from shared.errors import EXIT_DONE, EXIT_FAILED
from shared.mqtt import BrokerSettings, Message, Mqtt
from shared.violations import SettingsError

log = logging.getLogger(__name__)

_REFRESH_S = 10.0
_TURN_S = 0.5
_DRAIN_S = 2.0


def run(config: CollectorConfig) -> int:
    """Collect until SIGTERM or SIGINT; the exit code. Call it on the main thread.

    Raises:
        ConfigError: a file the settings name is missing or wrong. Unavailable: the archive's folder cannot be written.
    """
    missing = missing_files(config)
    if missing:
        raise SettingsError(missing)
    take_footing()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return Station(config).work(stop)


class Station:
    """One running collector. `work` returns when `stop` is set, with everything closed."""

    def __init__(self, config: CollectorConfig) -> None:
        own = config.collector
        self._config = config
        self._root = topics.collector_root(own.site, own.name)
        self._sink = open_sink(config)
        self._derived = open_derived(config)
        self._since_us = _now_us()
        self._mqtt = Mqtt(
            _broker(config),
            will=(f"{self._root}/status", self._status("offline", [])),
            subscriptions=[(topic, 1) for topic in _subscriptions(own.share_group, states=self._derived is not None)],
            on_message=self._offer,
        )
        limits = PumpLimits(own.queue_mb * 1024 * 1024, BatchLimits(rows=own.batch_rows, wait_s=own.batch_wait_s))
        self._pump = Pump(own.name, self._sink, self._mqtt.publish, limits)

    def _offer(self, message: Message) -> None:
        if self._derived is not None and message.topic.split("/", 5)[4:5] == ["state"]:
            self._derived.offer(message.topic, message.payload)
        else:
            self._pump.offer(message)

    def work(self, stop: threading.Event) -> int:
        """Collect until `stop` is set; 0 when everything queued was stored or can be sent again."""
        self._pump.start()
        if self._derived is not None:
            self._derived.start()
        self._mqtt.start()
        log.info("collector %s stores in %s", self._config.collector.name, self._config.store.kind)
        said, refresh_at_s, health_at_s = "", 0.0, 0.0
        while not stop.wait(_TURN_S):
            now_s, trouble = time.monotonic(), self._pump.trouble
            if trouble != said or now_s >= refresh_at_s:
                said, refresh_at_s = trouble, now_s + _REFRESH_S
                state = "degraded" if trouble else "online"
                self._mqtt.retain(f"{self._root}/status", self._status(state, [trouble] if trouble else []))
            if now_s >= health_at_s:
                health_at_s = now_s + self._config.collector.health_s
                self._say_health()
        return self._end()

    def _end(self) -> int:
        ended = self._pump.stop()
        self._say_health()
        self._mqtt.retain(f"{self._root}/status", self._status("offline", ["stopped"]))
        self._mqtt.stop(_DRAIN_S)
        if self._derived is not None:
            self._derived.stop(_DRAIN_S)
        if ended:
            self._sink.close()
        log.info("collector %s stopped", self._config.collector.name)
        return EXIT_DONE if ended else EXIT_FAILED

    def _say_health(self) -> None:
        body = {"ts": _now_us(), **self._pump.health(), "mqtt": self._mqtt.counters()}
        if self._derived is not None:
            body["derived"] = self._derived.health()
            own = self._config.collector
            self._derived.take(collector_line(own.site, own.name, body))
        self._mqtt.retain(f"{self._root}/health", orjson.dumps(body))

    def _status(self, state: str, why: list[str]) -> bytes:
        return orjson.dumps({"state": state, "ts": _now_us(), "since": self._since_us, "why": why})


def _broker(config: CollectorConfig) -> BrokerSettings:
    given, own = config.mqtt, config.collector
    tls: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    if given.tls is not None:
        tls = (given.tls.ca, given.tls.cert, given.tls.key)
    return BrokerSettings(
        host=given.host,
        port=given.port,
        client_id=f"cellguard-collector-{own.name}",
        username=given.username,
        password_file=given.password_file,
        ca=tls[0],
        cert=tls[1],
        key=tls[2],
    )


def _subscriptions(group: str | None, *, states: bool) -> list[str]:
    """What every node of every site records; with a group, the broker spreads it over the group's collectors.

    The states come to each of them: retained messages are not spread, and the same point stored twice is one.
    """
    share = f"$share/{group}/" if group else ""
    records = [f"{share}{topics.ROOT}/+/+/{lane}/#" for lane in ("tele", "event")]
    return records + [f"{topics.ROOT}/+/+/state/{kind}" for kind in KINDS if states]


def _now_us() -> int:
    return time.time_ns() // 1000
