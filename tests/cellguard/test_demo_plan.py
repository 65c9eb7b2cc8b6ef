"""What the demo writes and chooses before anything runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cellguard.demo import plan
from cellguard.demo.broker import broker_command, choose_port
from cellguard.demo.closing import balanced, books_of
from cellguard.listener import Listener
from collector.config import load_config
from edge_agent.config import load_edge
from shared.errors import ConfigError
from shared.mqtt import BrokerSettings

LINKS = {
    "can": {"interface": "slcan", "channel": "here/can", "bitrate": 500000},
    "inverter": {"port": "here/inverter"},
    "arduino": {"port": "here/arduino"},
}


@pytest.mark.parametrize(
    ("modules", "cells", "high", "low"), [(8, 12, 384.0, 264.0), (15, 14, 840.0, 577.5), (1, 12, 48.0, 33.0)]
)
def test_the_pack_s_limits_follow_its_size(tmp_path: Path, modules: int, cells: int, high: float, low: float) -> None:
    folders = plan.make_folders(tmp_path)
    plan.write_edge(plan.Options(modules=modules, cells=cells), folders, LINKS)

    settings = load_edge(folders.edge_toml)

    assert settings.inverter is not None
    assert (settings.inverter.max_voltage_v, settings.inverter.min_voltage_v) == (high, low)
    assert settings.can.modules == settings.pack.series == modules


def test_the_lab_s_pack_keeps_the_default_limits_and_others_scale_them(tmp_path: Path) -> None:
    folders = plan.make_folders(tmp_path)

    assert plan.edge_settings(plan.Options(), folders, LINKS)["limits"] == {}
    smaller = plan.edge_settings(plan.Options(modules=4, cells=6), folders, LINKS)["limits"]
    assert smaller["module_voltage"]["danger"] == [16.5, 24.5]
    assert smaller["bus_voltage"]["warning"] == [67.0, 96.0]


def test_collector_and_edge_name_one_another(tmp_path: Path) -> None:
    folders = plan.make_folders(tmp_path)
    plan.write_files(plan.Options(port=12345), folders)
    plan.write_edge(plan.Options(port=12345), folders, LINKS)

    collector, edge = load_config(folders.collector_toml, {}), load_edge(folders.edge_toml)

    assert collector.collector.name in edge.mqtt.receipts_from
    assert (collector.mqtt.port, edge.mqtt.port) == (12345, 12345)
    assert collector.archive is not None
    assert collector.archive.path == folders.archive


def test_sockets_lie_in_a_short_folder_even_when_the_data_folder_is_deep(tmp_path: Path) -> None:
    folders = plan.make_folders(tmp_path / ("deep" * 20))

    assert len(str(folders.run / "guard-local.sock.bound").encode()) <= plan.LONGEST_SOCKET
    assert folders.temporary == (folders.run,)
    folders.run.rmdir()


def test_current_flows_all_the_time_and_leaves_the_pack_as_charged_as_it_was() -> None:
    lines = plan.schedule().splitlines()[1:]
    steps = [tuple(map(float, line.split(","))) for line in lines]

    assert all(abs(setpoint) >= 20 for _, setpoint in steps)
    assert sum(duration * setpoint for duration, setpoint in steps) == 0
    assert sum(duration for duration, _ in steps) == 86400


def test_the_port_asked_for_must_be_free(broker: Any) -> None:
    with pytest.raises(ConfigError, match=f"--mqtt-port: given {broker.port}, which is in use"):
        choose_port(broker.port)


def test_without_a_wish_a_free_port_is_found_when_the_usual_one_is_taken(broker: Any) -> None:
    port = choose_port(None, usual=broker.port)

    assert port != broker.port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        assert probe.getsockname()[1] == port


def test_mosquitto_listens_only_on_this_computer_and_keeps_nothing(tmp_path: Path) -> None:
    command = broker_command(18883, tmp_path, program="mosquitto")

    assert command[0] == "mosquitto"
    text = (tmp_path / "mosquitto.conf").read_text()
    assert "listener 18883 127.0.0.1\n" in text
    assert "persistence false" in text
    assert "max_packet_size 262144" in text


def test_the_broker_from_pip_carries_messages(broker: Any, wait_until: Any) -> None:
    port = choose_port(None, usual=broker.port)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cellguard.demo.embedded_broker", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _listens(port), 15.0, "the embedded broker to listen")
        with Listener(BrokerSettings("127.0.0.1", port, "test"), ["cellguard/v1/lab/+/ack"]) as listener:
            listener.publish("cellguard/v1/lab/rig-1/ack", b"{}")
            message = listener.next(5.0)
    finally:
        process.terminate()
        code = process.wait(10)

    assert message is not None
    assert message.payload == b"{}"
    assert code == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_broker_from_pip_is_taken_where_mosquitto_is_not_installed(tmp_path: Path) -> None:
    command = broker_command(18883, tmp_path, program=None)

    assert command[-2:] == ["cellguard.demo.embedded_broker", "18883"]


def test_the_books_balance_only_when_every_record_is_somewhere() -> None:
    spool = {"produced": 110, "gaps": 3, "quarantined": 2, "spooled": 5, "released": 100, "unknown_gaps": 1}
    books = books_of(spool, {"tele_rows": 90, "events": 10})

    assert books == {"produced": 110, "stored": 100, "gaps": 3, "quarantined": 2, "spooled": 5, "unknown_gaps": 1}
    assert balanced(books)
    assert not balanced({**books, "stored": 99})
    assert not balanced({**books, "stored": 101})


def test_what_is_written_is_toml(tmp_path: Path) -> None:
    folders = plan.make_folders(tmp_path)
    plan.write_edge(plan.Options(), folders, LINKS)

    assert tomllib.loads(folders.edge_toml.read_text())["inverter"]["port"] == "here/inverter"


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(ConfigError, match="--data: given /proc/nowhere"):
        plan.make_folders(Path("/proc/nowhere"))
