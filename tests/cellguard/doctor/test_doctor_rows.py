"""The doctor's table against its page, and single rows on made-up words of the guard."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from cellguard.commands.certs import office
from cellguard.doctor import certificates, computer, node, rig
from cellguard.doctor.board import judge_openings
from cellguard.doctor.can import frames
from cellguard.doctor.patient import GuardWords, Patient
from cellguard.doctor.table import CHECKS, examine
from cellguard.view import View
from edge_agent.config import load_edge
from shared.mqtt import Message
from shared.signals import INVERTER

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "hardware" / "checks.md").read_text(encoding="utf-8")
NAMES = [check.name for check in CHECKS]
SETTINGS = (
    '[node]\nstate_dir = "."\nruntime_dir = "."\n[inverter]\nport = "/dev/none"\n[spool]\nmax_mb = 9\nreserved_mb = 1\n'
)


def words(seen: dict[str, Any], before: dict[str, Any] | None = None, **can: int) -> GuardWords:
    def status(heard: dict[str, Any], counters: dict[str, int]) -> dict[str, Any]:
        return {"seen": heard, "info": {"devices": {}}, "health": {"counters": {"can": counters}}}

    return GuardWords("", status(before or {}, dict.fromkeys(can, 0)), status(seen, can), 4.0)


def heard(readings: int, changes: int, age_s: float = 0.1) -> dict[str, Any]:
    return {part: {"readings": readings, "changes": changes, "age_s": age_s} for part in rig.REQUIRED_PARTS}


def inverter_at(current_a: float, age_s: float = 0.1) -> dict[str, Any]:
    values = [current_a if signal.name == "current" else 0.0 for signal in INVERTER]
    return {"poll": {"readings": 9, "changes": 9, "age_s": age_s, "values": values}}


@pytest.fixture
def patient(tmp_path: Path) -> Any:
    (tmp_path / "edge.toml").write_text(SETTINGS)
    settings = load_edge(tmp_path / "edge.toml")

    def made(guard: GuardWords) -> Patient:
        return Patient("b:1", "", View(), 0.0, {"state_dir": tmp_path}, "", settings, guard)

    return made


def test_every_row_of_the_table_is_on_the_page_once_and_every_name_of_the_page_is_a_row() -> None:
    on_the_page = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert sorted(on_the_page) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_without_settings_only_what_is_asked_over_the_broker_and_this_computer_is_looked_at() -> None:
    found = dict(examine(Patient("b:1", "nobody", View(), 0.0, {"here": Path.cwd()})))
    assert {"broker", "node", "modules", "disk", "python"} <= set(found)
    assert not {"guard", "can-adapter", "gpio", "own-clock"} & set(found)
    assert found["modules"].said == "not checked: the broker does not answer"


def test_how_often_payloads_change_is_a_share_of_what_came_while_listening(patient: Any) -> None:
    before = {"module-01": heard(100, 90)}
    found = rig.module_data(patient(words({"module-01": heard(120, 95)}, before)))
    assert (found.verdict, "25%" in found.said) == ("ok", True)


def test_values_that_stand_still_under_current_are_a_fault_and_at_rest_not_judged(patient: Any) -> None:
    before = {"module-01": heard(100, 90), "module-02": heard(100, 90)}
    after = {"module-01": heard(120, 90), "module-02": heard(120, 99)}
    flowing = rig.module_data(patient(words({**after, "inverter": inverter_at(-35.0)}, before)))
    resting = rig.module_data(patient(words({**after, "inverter": inverter_at(0.3)}, before)))
    assert (flowing.verdict, "module-01" in flowing.said) == ("fault", True)
    assert resting.verdict == "unchecked"
    silent = rig.module_data(patient(words({**after, "inverter": inverter_at(-35.0, age_s=5.0)}, before)))
    assert silent.verdict == "unchecked"  # what a silent inverter said last is no current


def test_a_part_that_stopped_is_named_with_its_module(patient: Any) -> None:
    after = {"module-07": {**heard(9, 9), "pdo3": {"readings": 3, "changes": 1, "age_s": 8.0}}}
    found = rig.module_data(patient(words(after)))
    assert (found.verdict, "module-07 (pdo3)" in found.said) == ("fault", True)


def test_a_counter_that_rose_while_listening_is_a_fault_and_an_old_count_is_not(patient: Any) -> None:
    still = GuardWords("", {"health": {"counters": {"can": {"error_frames": 7}}}}, {}, 4.0)
    assert frames(patient(still)).verdict == "ok"
    found = frames(patient(words({}, second_senders=3, cycles=20)))
    assert (found.verdict, found.said) == ("fault", "in 4 s: second_senders +3")
    assert "two modules" in found.todo


@pytest.mark.parametrize(
    ("offset_a", "sigma_a", "verdict"),
    [(0.2, 1.4, "ok"), (0.2, 1.6, "fault"), (-2.9, 0.3, "fault"), (0.0, 0.1, "ok")],
)
def test_offset_and_noise_at_rest_are_held_against_the_setting(offset_a: float, sigma_a: float, verdict: str) -> None:
    found = rig.judge_noise(offset_a, sigma_a, 1.4, 60)
    assert found.verdict == verdict
    assert "set to 1.4 A" in found.said
    assert bool(found.todo) == (verdict == "fault")


def test_only_an_unchanged_boot_id_proves_something_while_the_guard_has_the_port() -> None:
    def board(boots: int) -> dict[str, Any]:
        return {"values": [boots, 1, 0, 0, 0]}

    assert judge_openings({"opens": 3}, board(1)).verdict == "ok"
    assert judge_openings({"opens": 3}, board(2)).verdict == "unchecked"
    assert judge_openings({"opens": 1}, board(1)).verdict == "unchecked"
    assert judge_openings({}, {}).verdict == "unchecked"


@pytest.mark.parametrize(
    ("life_time", "verdict"), [("0x01 0x02", "ok"), ("0x0a 0x01", "fault"), ("0x00 0x00", "unchecked")]
)
def test_a_card_says_how_worn_it_is(life_time: str, verdict: str) -> None:
    assert computer.judge_wear(life_time).verdict == verdict


def test_a_spool_that_fills_its_cap_is_noted_and_one_that_does_not_exist_is_not_well(patient: Any) -> None:
    whom = patient(GuardWords())
    assert computer.spool(whom).verdict == "unchecked"
    with (whom.settings.node.state_dir / "spool.db").open("wb") as file:
        file.truncate(8_000_000)
    assert (computer.spool(whom).verdict, computer.spool(whom).said) == ("note", "8 of 9 MB")


@pytest.mark.parametrize(
    ("days_ago", "verdict", "said"), [(0, "ok", "730 days"), (700, "note", "30 days"), (740, "fault", "10 days ago")]
)
def test_the_end_of_the_nodes_own_certificate_is_said_before_it_comes(
    patient: Any, days_ago: int, verdict: str, said: str
) -> None:
    whom = patient(GuardWords())
    folder = whom.settings.node.state_dir
    desk, now = office(folder / "pki"), datetime.now(UTC)
    desk.start(("localhost",), now)
    place = desk.issue("agent", "lab/rig-1", now - timedelta(days=days_ago), 730)
    tls = f'[mqtt]\ntls = {{ ca = "{place}/ca.crt", cert = "{place}/rig-1.crt", key = "{place}/rig-1.key" }}\n'
    (folder / "edge.toml").write_text(SETTINGS + tls)
    whom = replace(whom, config=load_edge(folder / "edge.toml"))
    found = certificates.certificates(whom)
    assert (found.verdict, bool(found.todo)) == (verdict, verdict != "ok")
    assert "rig-1.crt" in found.said
    assert said in found.said
    (place / "rig-1.crt").write_text("rubbish")
    assert certificates.certificates(whom).verdict == "unchecked"


def test_without_tls_no_certificate_can_end(patient: Any) -> None:
    assert certificates.certificates(patient(GuardWords())).verdict == "ok"


def test_folders_that_everybody_can_write_are_a_fault(patient: Any) -> None:
    whom = patient(GuardWords())
    folder = whom.settings.node.state_dir
    assert computer.files(whom).verdict == "note"  # no folder of schedules
    (folder / "schedules").mkdir()
    assert computer.files(whom).verdict == "ok"
    folder.chmod(0o777)
    assert computer.files(whom).verdict == "fault"
    assert "chmod o-w" in computer.files(whom).todo


def test_a_folder_that_is_not_there_is_a_fault(patient: Any) -> None:
    whom = Patient("b:1", "", View(), 0.0, {"state_dir": Path("/none")})
    assert computer.disk(whom).verdict == "fault"
    assert computer.disk(patient(GuardWords())).verdict == "ok"


def test_this_python_carries_the_drivers_of_the_rig(patient: Any) -> None:
    found = computer.python(patient(GuardWords()))
    assert (found.verdict, "pymodbus" in found.said) == ("ok", True)
    assert computer.own_clock(patient(GuardWords())).verdict in {"ok", "note"}
    assert computer.card_wear(patient(GuardWords())).verdict in {"ok", "unchecked", "fault"}


@pytest.mark.parametrize(("wrong_s", "verdict"), [(0.0, "ok"), (-60.0, "fault"), (60.0, "fault")])
def test_the_nodes_clock_is_judged_by_when_its_word_came_not_by_how_long_ago_that_was(
    wrong_s: float, verdict: str
) -> None:
    view, came = View(), time.monotonic() - 9.0
    stamp = round((time.time() - 9.0 + wrong_s) * 1e6)
    payload = orjson.dumps({"state": "online", "clock": "synced", "ts": stamp})
    view.take(Message("cellguard/v1/lab/rig-1/status", payload, retain=False, qos=1), came)
    found = node.clock(Patient("b:1", "", view, time.monotonic() - 2.0, {}))
    assert found.verdict == verdict


@pytest.mark.parametrize(("last", "verdict"), [({"SOC": 50.0}, "ok"), ({"bad": {"SOC": "stale"}}, "fault")])
def test_a_module_whose_last_word_is_that_all_values_are_stale_is_silent(last: dict[str, Any], verdict: str) -> None:
    view, topic = View(), "cellguard/v1/lab/rig-1/state/module-05"
    for at_s, body in ((1.0, {"ts": 1, "SOC": 50.0}), (4.0, {"ts": 1, **last})):
        view.take(Message(topic, orjson.dumps(body), retain=False, qos=0), at_s)
    assert node.modules(Patient("b:1", "", view, 4.5, {})).verdict == verdict
