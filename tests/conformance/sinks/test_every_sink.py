"""What every store has to do; a new sink joins by one more parameter of `subject`."""

from __future__ import annotations

import math

import pytest

from collector.sinks.ports import SetAside, StoreUnavailable
from tests.conformance.sinks.conftest import Messages, Subject


def test_what_is_written_is_read_back_cell_by_cell_and_bad_values_are_absent(
    subject: Subject, messages: Messages
) -> None:
    record = messages.telemetry("module-03", CMA_Voltage=[47.33, 47.0], CMA_Temp3=[None, -1.0])
    power = messages.telemetry("inverter", power=[-15.72])
    sink = subject.sink()
    assert list(sink.write([record, power]).stored) == [record, power]
    sink.close()
    first = record.t_min
    assert subject.cells() == {
        (first, "module-03", "CMA_Voltage", 47.33),
        (first + 200_000, "module-03", "CMA_Voltage", 47.0),
        (first + 200_000, "module-03", "CMA_Temp3", -1.0),
        (power.t_min, "inverter", "power", -15.72),
    }


def test_writing_again_stores_once_in_the_same_sink_and_after_a_restart(subject: Subject, messages: Messages) -> None:
    records = [messages.telemetry(CMA_Voltage=[47.0 + 0.01 * k for k in range(5)]) for _ in range(20)]
    events = [messages.event(state="RUN"), messages.event("output", output="pump")]
    first = subject.sink()
    first.write(records + events)
    assert len(first.write(records + events).stored) == 22
    first.close()
    second = subject.sink()
    assert len(second.write(records).stored) == 20
    second.close()
    assert len(subject.cells()) == 100
    assert len(subject.event_times_ns()) == 2


def test_a_sink_that_was_never_closed_has_lost_nothing_of_what_it_called_stored(
    subject: Subject, messages: Messages
) -> None:
    dead, alive = subject.sink(), subject.sink()
    dead.write([messages.telemetry()])
    alive.write([messages.telemetry()])
    assert len(subject.cells()) == 6
    dead.close()
    alive.close()


def test_an_unreachable_store_raises_unavailable_and_takes_the_same_batch_later(
    subject: Subject, messages: Messages
) -> None:
    records = [messages.telemetry() for _ in range(3)]
    sink = subject.sink()
    sink.write(records[:1])
    sink.close()
    subject.take_away()
    with pytest.raises(StoreUnavailable):
        sink.write(records)
    subject.bring_back()
    assert len(sink.write(records).stored) == 3
    sink.close()
    assert len(subject.cells()) == 9


def test_numbers_keep_every_digit(subject: Subject, messages: Messages) -> None:
    values = [0.1 + 0.2, 1e-300, 1.7976931348623157e308, 3, 0.0, -2.5e-9, math.pi]
    record = messages.telemetry("arduino", temp1=values)
    sink = subject.sink()
    sink.write([record])
    sink.close()
    assert sorted(cell[3] for cell in subject.cells()) == sorted(values)


def test_events_of_the_same_microsecond_stay_apart(subject: Subject, messages: Messages) -> None:
    records = [messages.event(state="RUN") for _ in range(3)]
    sink = subject.sink()
    sink.write([record._replace(body={**record.body, "ts": messages.T0}, t_min=messages.T0) for record in records])
    sink.close()
    assert subject.event_times_ns() == [messages.T0 * 1000 + seq for seq in (1, 2, 3)]


def test_alarms_and_gaps_with_every_kind_of_text_are_stored(subject: Subject, messages: Messages) -> None:
    hostile = 'quote " backslash \\ comma , equals = newline \n end\\'
    records = [
        messages.event("alarm", alarm="module-03.cell-07.voltage_high", level="DANGER", state="active", value=4.3, reason=hostile),
        messages.event("alarm", alarm="inverter.fault", level="FAULT", state="cleared", value=None, limit=None),
        messages.event("gap", **{"from": 12, "to": None}, why=hostile),
        messages.event("command", target="pump", body={"on": True}, state=7),
    ]  # fmt: skip
    sink = subject.sink()
    assert len(sink.write(records).stored) == 4
    sink.close()
    assert len(subject.event_times_ns()) == 4


def test_setting_aside_and_an_empty_batch_are_harmless_and_counted(subject: Subject, messages: Messages) -> None:
    record = messages.telemetry()
    sink = subject.sink()
    assert not sink.write([]).stored
    sink.set_aside([SetAside(record.identity, "not JSON", b"\xff\x00")])
    sink.set_aside([SetAside(record.identity, "not JSON", b"\xff\x00")])
    counters = sink.counters()
    assert counters["set_aside"] == 2
    assert all(isinstance(value, int | float) for value in counters.values())
    sink.close()
    sink.close()
