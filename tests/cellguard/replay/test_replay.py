"""A recorded trip, run again: the same with its own settings, other with others, and a sentence for every bad file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellguard.replay import trip_file
from shared.errors import ConfigError
from tests.cellguard.replay.conftest import event

HOT = "module-03.temperature_high"


def verdict_of(output: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(output.splitlines()[-1])["verdict"]
    return found


def test_the_same_settings_trip_by_the_same_rule_in_the_same_order(recorded: Any, cellguard: Any) -> None:
    done = cellguard("replay", str(recorded().write()), "--json")

    verdict = verdict_of(done.stdout)
    assert done.returncode == 0, verdict
    assert verdict["replayed"] == [HOT]
    assert verdict["replayed_order"] == ["state STOPPING", "relay1 off", "relay2 off", "state LATCHED"]
    assert abs(verdict["later_s"]) < 0.2


def test_a_window_that_begins_in_a_hold_is_followed_from_the_run_that_tripped(recorded: Any, cellguard: Any) -> None:
    trip = recorded()
    trip.events[0]["after_s"] = 10.5
    trip.events += [
        event(-11.0, "state", **{"from": "HOLD", "to": "READY", "why": ["fresh again"], "after_s": 4.0, "latches": []}),
        event(-10.5, "state", **{"from": "READY", "to": "RUN", "why": ["demo.csv"], "after_s": 0.5, "latches": []}),
        event(-10.5, "output", output="inverter", mode="CURRENT", commanded=35.0, unit="A", by="schedule:demo.csv"),
    ]

    done = cellguard("replay", str(trip.write()), "--json")

    assert (done.returncode, verdict_of(done.stdout)["replayed"]) == (0, [HOT]), done.stdout


def test_it_shows_what_was_seen_decided_and_confirmed(recorded: Any, cellguard: Any) -> None:
    done = cellguard("replay", str(recorded().write()))

    assert f"{HOT} DANGER active: 55 °C, limit 50 (rule temperature, 4 samples in 0.60 s)" in done.stdout
    assert "RUN → STOPPING" in done.stdout
    assert "order   inverter 0 by stopping" in done.stdout
    assert "shows   relay1 0" in done.stdout
    assert done.stdout.endswith("the same\n")


def test_a_looser_limit_does_not_trip_and_a_tighter_one_trips_before(
    recorded: Any, cellguard: Any, tmp_path: Path
) -> None:
    file = str(recorded().write())
    other = tmp_path / "other.toml"

    other.write_text("[limits.temperature]\ndanger = 58.0\n")
    loose = cellguard("replay", file, "--config", str(other), "--json")
    assert (loose.returncode, verdict_of(loose.stdout)["replayed"]) == (0, [])
    assert "no trip with" in cellguard("replay", file, "--config", str(other)).stdout

    other.write_text("[limits.temperature]\nn = 1\nt_on_s = 0.0\n")
    quick = cellguard("replay", file, "--config", str(other), "--json")
    assert (quick.returncode, verdict_of(quick.stdout)["replayed"]) == (0, [HOT])
    assert verdict_of(quick.stdout)["later_s"] == pytest.approx(-0.6, abs=0.1)


def test_a_recording_that_the_rules_do_not_trip_on_exits_1(recorded: Any, cellguard: Any) -> None:
    trip = recorded()
    trip.rows = [row for row in trip.rows if row["source"] != "module-03"]
    trip.rows += [{**row, "source": "module-03"} for row in trip.rows if row["source"] == "module-04"]

    done = cellguard("replay", str(trip.write()))

    assert done.returncode == 1
    assert "replayed  no trip" in done.stdout
    assert done.stdout.endswith("not the same\n")


def test_a_lost_module_is_held_then_opened_as_recorded(recorded: Any, cellguard: Any) -> None:
    trip = recorded()
    gone = trip_of_silence(trip)

    done = cellguard("replay", str(gone), "--json")

    states = [one["to"] for line in done.stdout.splitlines()[:-1] if (one := orjson.loads(line))["kind"] == "state"]
    assert states[0] == "HOLD", done.stdout


def trip_of_silence(trip: Any) -> Path:
    """Module 5 says nothing any more from 3 s before."""
    for row in trip.rows:
        if row["source"] == "module-05":
            keep = len(row["t"]) - 35
            row["t"] = row["t"][:keep]
            row["v"] = {name: column[:keep] for name, column in row["v"].items()}
    path: Path = trip.write("silence.jsonl.gz")
    return path


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda trip: trip.head.update(kind="other"), "line 1"),
        (lambda trip: trip.head.update(layout=2), "line 1"),
        (lambda trip: trip.events.append({"lane": "event"}), "an event or a telemetry message"),
        (lambda trip: trip.rows.append({"lane": "tele", "t0": 1, "t": [0], "v": {"a": []}}), "line 17"),
        (lambda trip: trip.head["config"].update(pack={"series": 0}), "[pack] series"),
        (lambda trip: trip.head["catalog"]["module"]["CMA_Voltage"].pop("part"), "CMA_Voltage"),
    ],
)
def test_a_file_that_is_wrong_is_said_to_be_wrong_where(
    recorded: Any, cellguard: Any, bend: Callable[[Any], None], said: str
) -> None:
    trip = recorded()
    bend(trip)

    done = cellguard("replay", str(trip.write()))

    assert done.returncode == 78, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_cut_short_and_an_absent_one_are_sentences(recorded: Any, cellguard: Any, tmp_path: Path) -> None:
    whole = recorded().write()
    short = tmp_path / "short.jsonl.gz"
    short.write_bytes(whole.read_bytes()[:-200])

    for path in (short, tmp_path / "absent"):
        done = cellguard("replay", str(path))
        assert done.returncode == 78
        assert str(path) in done.stderr


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | st.from_regex(rb'\{"lane":"(event|tele)","t(s|0)":[0-9"]{1,4}\}', fullmatch=True))
)
def test_no_bytes_whatever_break_the_reader(tmp_path: Path, lines: list[bytes]) -> None:
    head = orjson.dumps({"kind": "trip", "layout": 1, "ts": 1, "config": {}, "catalog": {}, "info": {}})
    path = tmp_path / "any.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join([head, *lines])))
    with suppress(ConfigError):  # whatever else is raised fails the test
        assert trip_file.read(path).ts == 1
