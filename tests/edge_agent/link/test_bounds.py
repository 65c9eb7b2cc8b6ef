"""The page of bounds says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import storer
from collector.pump import PumpLimits
from collector.sinks import archive
from edge_agent.guard import inbox as guard_inbox
from edge_agent.guard import link_peer, ring
from edge_agent.link import black_box, guard_socket, inbox, recorder, sent_marks, uplink
from edge_agent.link.own_alarms import WATCHES, Watch
from shared import mqtt

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "bounds.md").read_text(encoding="utf-8")
MB = 1024 * 1024
SAID = {
    "numbered records of guard": f"{ring.DEFAULT_CAP_BYTES // MB} MB",
    "commands for the loop": "{S} of class S, {A} of A and E".format(**guard_inbox._CLASS_LIMIT),
    "answers to link": str(link_peer._ANSWERS_KEPT),
    "packets for guard": str(guard_socket._OUT),
    "packets for the disk": str(recorder._JOBS),
    "rows of one commit": str(recorder._ROWS_AT_ONCE),
    "link's own events": str(recorder._OWN_KEPT),
    "receipts and": str(inbox._RECEIPTS_MOST),
    "commands of one target": str(inbox._LANE_MOST),
    "answers for the broker": str(mqtt.WINDOW),
    "messages without a receipt": f"{uplink.WINDOW}, of them {uplink.WINDOW - uplink._FOR_EVENTS} telemetry,"
    f" {uplink.WINDOW - uplink._NOT_BACKLOG} backlog; {uplink.WINDOW_BYTES // MB} MB",
    "marks of what": f"{uplink.WINDOW} of {sent_marks._SLOT.size} bytes",
    "fresh messages": str(uplink._FRESH),
    "a disk that others": f"a reserve of {recorder.RESERVE_BYTES // MB} MB",
    "ids of commands": f"{recorder.KEEP_COMMANDS:_}".replace("_", " "),
    "trip files": f"{black_box.MOST_FILES} files, {black_box.MOST_BYTES // MB} MB; {black_box.MOST_WAITING} waiting",
    "messages for the store": f"({PumpLimits().queue_bytes // MB} MB)",
    "batches ready": f"{storer._AHEAD} beside",
    "what the store refused": {10: "a tenth"}[archive._ASIDE_PART],
}


@pytest.mark.parametrize("what", SAID)
def test_each_cap_on_the_page_is_the_one_in_the_code(what: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what}")]
    assert SAID[what] in row.split("|")[3]


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: watch.alarm)
def test_each_alarm_of_a_bound_stands_beside_its_counter(watch: Watch) -> None:
    if watch.counter in {"mqtt_taken_over", "spool_errors"}:  # no bound
        return
    (row,) = [line for line in PAGE.splitlines() if f"`{watch.alarm}`" in line]
    assert f"`{watch.counter}`" in row


def test_each_counter_on_the_page_is_counted_somewhere() -> None:
    root = Path(__file__).resolve().parents[3]
    code = "".join(path.read_text() for room in ("edge_agent", "collector") for path in (root / room).rglob("*.py"))
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
    counters = {name for row in rows for name in row[5].replace("`", "").replace(",", "").split()}
    assert len(counters) > 12
    assert not [name for name in counters if f'"{name.split(".")[-1]}"' not in code and f"{name} " not in code]
