from __future__ import annotations

import math
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point

from collector.ingest import Record, ingest
from collector.lines import block, lines, number

T0 = 1_795_345_556_123_456
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFXYZ_0123456789.", min_size=1, max_size=20)
FLOATS = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.sampled_from([47.33, 3.92, -40.0])
)
NAMES_OF_SITES = st.text("abcXYZ019_.:-", min_size=1, max_size=12)


def telemetry(source: str, columns: dict[str, list[float | None]], site: str = "lab", node: str = "rig-1") -> Record:
    size = len(next(iter(columns.values()), [0]))
    body = {
        "spool": "a1b2c3d4",
        "lane": "tele",
        "seq": 1,
        "t0": T0,
        "t": [200_000 * k for k in range(size)],
        "v": columns,
    }
    return ingest(f"cellguard/v1/{site}/{node}/tele/{source}", orjson.dumps(body))


def event(kind: str, **body: object) -> Record:
    full = {"spool": "a1b2c3d4", "lane": "event", "seq": 12_345, "ts": T0, "kind": kind, **body}
    return ingest(f"cellguard/v1/lab/rig-1/event/{kind}", orjson.dumps(full))


def test_a_module_row_is_one_line_with_its_number_as_a_tag() -> None:
    record = telemetry("module-05", {"CMA_Voltage": [47.33, 47.0], "SOH": [100, 99.5]})
    assert lines(record).split("\n") == [
        "module,module=05,node=rig-1,site=lab CMA_Voltage=47.33,SOH=100 1795345556123456000",
        "module,module=05,node=rig-1,site=lab CMA_Voltage=47,SOH=99.5 1795345556323456000",
    ]


def test_a_bad_value_is_an_absent_field_and_a_row_without_good_values_has_no_line() -> None:
    record = telemetry("inverter", {"power": [None, 1.5, None], "mode": [2.0, None, None]})
    assert lines(record).split("\n") == [
        "inverter,node=rig-1,site=lab mode=2 1795345556123456000",
        "inverter,node=rig-1,site=lab power=1.5 1795345556323456000",
    ]
    assert lines(telemetry("inverter", {"power": [None]})) == ""
    assert (
        block([telemetry("inverter", {}), record, telemetry("inverter", {"power": [None]})]) == lines(record).encode()
    )


@given(
    st.dictionaries(NAMES, st.lists(FLOATS | st.none(), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["module-01", "module-15", "inverter", "arduino"]),
    NAMES_OF_SITES,
    NAMES_OF_SITES,
)
def test_every_line_says_what_the_clients_own_writer_says(
    columns: dict[str, list[float | None]], source: str, site: str, node: str
) -> None:
    record = telemetry(source, columns, site, node)
    expected = []
    for index in range(3):
        point = (
            Point(source.partition("-")[0]).tag("site", site).tag("node", node).time(T0 * 1000 + index * 200_000_000)
        )
        if source.startswith("module-"):
            point.tag("module", source[7:])
        for name in columns:
            value = record.body["v"][name][index]
            point.field(name, None if value is None else float(value))
        if text := point.to_line_protocol():
            expected.append(text)
    assert [_comparable(line) for line in lines(record).split("\n") if line] == [_comparable(line) for line in expected]


def _comparable(line: str) -> tuple[str, dict[str, float], str]:
    """Head, fields without their order, and time; 0 and -0 are one number."""
    head, fields, stamp = line.split(" ")
    pairs = (pair.split("=") for pair in fields.split(","))
    return head, {name: float(value) for name, value in pairs}, stamp


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_float_and_never_as_an_integer(value: float) -> None:
    assert float(number(value)) == value
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", number(value))


def test_more_distinct_values_than_are_remembered_are_all_written() -> None:
    values: list[float | None] = [k / 7 for k in range(2000)]
    for shift in range(40):
        shifted = [value + shift for value in values if value is not None]
        found = lines(telemetry("arduino", {"temp1": list(shifted)}))
        assert [float(line.split(" ")[1].removeprefix("temp1=")) for line in found.split("\n")] == shifted
    assert math.isclose(shifted[-1], 1999 / 7 + 39)


def test_an_alarm_is_an_event_and_an_alarm() -> None:
    record = event("alarm", alarm="module-03.cell-07.voltage_high", level="DANGER", state="active", value=4.21, limit=4.2,
                   unit="V", acked=None)  # fmt: skip
    first, second = lines(record).split("\n")
    assert first.startswith("event,kind=alarm,node=rig-1,site=lab limit=4.2,seq=12345,value=4.21,alarm=")
    assert second.startswith(
        "alarm,alarm=module-03.cell-07.voltage_high,level=DANGER,node=rig-1,site=lab active=1,limit=4.2,seq=12345,value=4.21"
    )
    assert first.endswith(" 1795345556123456345")
    assert second.endswith(" 1795345556123456345")


def test_no_field_of_an_alarm_is_named_like_a_tag_of_it() -> None:
    second = lines(event("alarm", alarm="module-03.stale", level="FAULT", state="active")).split("\n")[1]
    tags, fields = second.split(" ", 1)
    named = {pair.split("=")[0] for pair in tags.split(",")[1:]}
    assert named == {"alarm", "level", "node", "site"}
    assert not named & set(re.findall(r"(?:^|,)(\w+)=", fields))


def test_a_change_of_state_keeps_its_names_and_its_reasons() -> None:
    text = lines(event("state", **{"from": "RUN", "to": "LATCHED"}, why=["module-03.stale", "estop"], current_a=-34.9))
    fields = text.split(",text=")[0]
    assert 'from_state="RUN"' in fields
    assert 'to_state="LATCHED"' in fields
    assert 'why="module-03.stale; estop"' in fields
    assert "current_a=-34.9" in fields


def test_a_gap_is_an_event_and_a_gap() -> None:
    text = lines(event("gap", **{"from": 3, "to": None, "why": "spool full"}))
    assert '\ngap,node=rig-1,site=lab from=3,seq=12345,why="spool full" 1795345556123456345' in text


@pytest.mark.parametrize("value", [True, 7, 7.5, None, ["x"], {"a": 1}, "text"])
def test_a_field_of_an_event_keeps_one_type_whatever_is_sent(value: object) -> None:
    text = lines(event("command", state=value, value=value, target=value))
    fields = text.split(" ", 1)[1]
    assert not re.search(r"\b(state|target)=[^\"]", fields.split(",text=")[0])
    assert not re.search(r"\bvalue=[^-\d]", fields.split(",text=")[0])


def test_quotes_and_backslashes_stay_inside_their_text() -> None:
    text = lines(event("state", reason='say "no" \\ and end\\'))
    assert 'reason="say \\"no\\" \\\\ and end\\\\"' in text
