"""Scenario 7 over a real broker: poison on every topic that link and a collector read costs itself and nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from cellguard import toml
from cellguard.demo.plan import Options, collector_settings, make_folders
from collector.sinks.archive_reader import count_rows
from tests.fuzz import corpus
from tests.fuzz.mutations import POISONS, RARE, broken

MESSAGES = 1500
LARGEST = 250_000


def poisons(random: Random) -> list[tuple[str, bytes]]:
    """(topic, payload): whole poisons, then broken copies of good messages."""
    good = [
        *corpus.RECORDS,
        *((f"{corpus.NODE}/cmd/{target}", payload) for target, payload in corpus.COMMANDS),
        *((f"{corpus.NODE}/receipt", payload) for payload in corpus.RECEIPTS),
        *(("cellguard/v1/lab/collector/pc-1/status", payload) for payload in corpus.STATUSES),
    ]
    topics = dict.fromkeys(topic for topic, _ in good)
    whole = [(topic, poison) for topic in topics for poison in (b"", *POISONS, *RARE)]
    made = [(topic, broken(random, payload)) for topic, payload in random.choices(good, k=MESSAGES)]
    return [(topic, payload) for topic, payload in (*whole, *made) if len(payload) < LARGEST]


def test_poison_on_every_topic_costs_itself(
    wait_until: Callable[..., object], guard: Any, collector: Any, new_link: Any, broker: Any, tmp_path: Path
) -> None:
    folders = make_folders(tmp_path / "pc")
    folders.collector_toml.write_text(toml.dumps(collector_settings(Options(port=broker.port), folders)))
    command = [sys.executable, "-m", "cellguard", "collector", "run", "--config", str(folders.collector_toml)]
    collector.receipting, collector.deaf_to = False, ""  # it only listens
    store = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    link = new_link()
    wait_until(lambda: collector.last("state/health").get("books", {}).get("stored"), 25, "the first receipt")
    sent = poisons(Random(3))
    for topic, payload in sent:
        wait_until(lambda topic=topic, payload=payload: collector.mqtt.publish(topic, payload), 5, "room to send")
    assert collector.mqtt.drain(20)

    guard.row(0, (1.5, 2.5, 3.5))
    collector.send("pump", {"on": True, "id": "after-all"})
    wait_until(lambda: len(collector.acks("after-all")) == 2, 20, "the answers")
    wait_until(lambda: guard.released == 1 and collector.last("state/health")["books"]["spooled"] == 0, 20, "receipts")
    # as many as were sent have arrived somewhere, and neither program was started anew
    assert collector.last("state/health")["drops"]["receipts_malformed"] > 20
    assert not [one for one in guard.commands if one["class"] == "E"]
    assert store.poll() is None
    store.send_signal(signal.SIGTERM)
    assert store.wait(15) == 0
    assert link.end() == 0
    books = link.books()
    assert books["produced"] == books["released"] > 1
    assert count_rows(folders.archive)["tele_rows"] >= 1
    assert "Traceback" not in (link.folder / "link.log").read_text()
    assert json.loads(collector.seen["status"][-1].payload)["state"] == "offline"
