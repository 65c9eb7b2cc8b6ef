from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guard.codecs.inverter import MODE, SETPOINT
from edge_agent.guard.codecs.inverter_writes import (
    LONGEST_REWRITE_S,
    MAX_CHARGE,
    MAX_DISCHARGE,
    MAX_POWER,
    MAX_V,
    MIN_V,
    SECURITY,
    TIMER,
    Belief,
    InverterLimits,
    Write,
    limit_writes,
    next_write,
    wanted,
)
from edge_agent.guard.model import InverterOrder, Mode

LIMITS = InverterLimits()
OFF = InverterOrder(Mode.OFF, 0.0, 1e9, 1)
DRIVE = InverterOrder(Mode.CURRENT, -20.0, 1e9, 1)
LIMIT_ADDRESSES = [MAX_V, MIN_V, MAX_CHARGE, MAX_DISCHARGE, MAX_POWER]


def obey(belief: Belief, order: InverterOrder, registers: dict[int, int], now: float = 0.0) -> list[Write]:
    """Carry out everything that is to be written, on an inverter that takes it all."""
    done = []
    while (write := belief.next_write(order, now)) is not None:
        belief.begin(write)
        registers[write.address] = write.counts
        assert belief.confirm(write, write.counts)
        done.append(write)
        assert len(done) < 50
    return done


def looked(belief: Belief, registers: dict[int, int]) -> str:
    return belief.polled(registers.get(MODE, 0), registers.get(SETPOINT, 0))


def test_the_first_zero_order_writes_code_timer_zero_off_and_then_the_limits() -> None:
    done = obey(Belief(LIMITS), OFF, {})
    assert done[:4] == [(SECURITY, 125), (TIMER, 20), (SETPOINT, 0), (MODE, 0)]
    assert [write.address for write in done[4:]] == LIMIT_ADDRESSES


def test_the_limits_are_those_of_the_lab_and_charging_is_negative() -> None:
    assert limit_writes(LIMITS) == (
        (MAX_V, 12583),
        (MIN_V, 8650),
        (MAX_CHARGE, -5209),
        (MAX_DISCHARGE, 5209),
        (MAX_POWER, 6553),
    )


def test_mistake_16_the_communication_timer_is_two_seconds() -> None:
    assert Write(TIMER, 20) in obey(Belief(LIMITS), OFF, {})


def test_mistake_14_a_changed_mode_is_setpoint_zero_then_mode_then_setpoint() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    power = InverterOrder(Mode.POWER, 5.0, 1e9, 1)
    assert obey(belief, power, registers) == [(SETPOINT, 0), (MODE, 1), (SETPOINT, 1092)]


def test_a_changed_setpoint_in_the_same_mode_is_one_write() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    assert obey(belief, DRIVE, registers) == [(MODE, 2), (SETPOINT, -1042)]
    assert obey(belief, DRIVE._replace(setpoint=-25.0), registers) == [(SETPOINT, -1302)]


def test_off_writes_the_setpoint_first_and_the_mode_after_it() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    assert belief.is_urgent(OFF, 0.0)
    assert obey(belief, OFF, registers) == [(SETPOINT, 0), (MODE, 0)]
    assert not belief.is_urgent(OFF, 0.0)


def test_a_zero_in_the_same_mode_is_urgent_too() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    assert belief.is_urgent(DRIVE._replace(setpoint=0.0), 0.0)
    assert obey(belief, DRIVE._replace(setpoint=0.0), registers) == [(SETPOINT, 0)]


def test_energy_is_not_written_before_the_registers_were_looked_at() -> None:
    belief = Belief(LIMITS)
    assert belief.next_write(DRIVE, 0.0) is None
    belief.polled(0, 0)
    assert belief.next_write(DRIVE, 0.0) == (SECURITY, 125)


def test_a_tripped_mode_is_not_written_again_without_a_new_epoch() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    assert belief.polled(0, 0) == "lost_mode"
    assert belief.next_write(DRIVE, 1.0) is None
    assert belief.next_write(DRIVE._replace(setpoint=-10.0), 1.0) is None
    assert belief.next_write(DRIVE._replace(epoch=2), 1.0) == (SECURITY, 125)


def test_after_a_trip_a_zero_is_written_from_the_start_and_then_energy_may_be_ordered() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    belief.polled(0, 0)
    assert obey(belief, OFF, registers)[0] == (SECURITY, 125)
    looked(belief, registers)
    assert obey(belief, DRIVE, registers)[-1] == (SETPOINT, -1042)


def test_a_write_without_answer_is_looked_at_and_believed_when_it_shows() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    change = DRIVE._replace(setpoint=-25.0)
    write = belief.next_write(change, 1.0)
    assert write is not None
    belief.begin(write)
    belief.unanswered(write, 1.0)
    assert belief.next_write(change, 1.0) is None
    assert belief.polled(2, write.counts) == ""
    assert belief.next_write(change, 1.0) is None


def test_a_write_without_answer_that_did_not_arrive_is_written_again() -> None:
    belief, registers = Belief(LIMITS), {}
    obey(belief, OFF, registers)
    looked(belief, registers)
    obey(belief, DRIVE, registers)
    change = DRIVE._replace(setpoint=-25.0)
    write = belief.next_write(change, 1.0)
    assert write is not None
    belief.begin(write)
    belief.unanswered(write, 1.0)
    belief.polled(2, -1042)
    assert belief.next_write(change, 1.0) == write


def test_an_epoch_that_comes_before_all_is_written_does_not_begin_anew() -> None:
    belief, registers = Belief(LIMITS), {}
    done: list[Write] = []
    for epoch in range(1, 20):
        write = belief.next_write(OFF._replace(epoch=epoch), 0.5 * epoch)
        if write is None:
            break
        belief.begin(write)
        registers[write.address] = write.counts
        belief.confirm(write, write.counts)
        done.append(write)
    assert len(done) == len({write.address for write in done}) == 9
    again = obey(belief, OFF._replace(epoch=20), registers, 10.0)
    assert again == done, "once all is written an epoch begins anew"


@pytest.mark.parametrize("event", ["ten seconds", "the line was opened again", "a loss"])
def test_what_was_written_long_ago_or_may_be_lost_is_written_again_at_the_next_epoch(event: str) -> None:
    belief = Belief(LIMITS)
    for _ in range(5):
        write = belief.next_write(OFF, 1.0)
        assert write is not None
        belief.begin(write)
        belief.confirm(write, write.counts)
    now = 2.0
    if event == "ten seconds":
        now = 1.0 + LONGEST_REWRITE_S
    elif event == "a loss":
        belief.lose()
    else:
        belief.opened()
    assert belief.next_write(OFF._replace(epoch=2), now) == (SECURITY, 125)


def test_limits_that_are_there_need_no_writing_and_are_looked_at_once_an_epoch() -> None:
    belief = Belief(LIMITS)
    first = limit_writes(LIMITS)[0]
    assert belief.next_write(OFF, 0.0) == (SECURITY, 125)
    assert not belief.should_look_at(Write(MODE, 0))
    assert belief.should_look_at(first)
    there = dict(limit_writes(LIMITS))
    belief.looked_at_limits({**there, MAX_CHARGE: -5210})
    assert not belief.should_look_at(first)
    assert [write.address for write in obey(belief, OFF, {})] == [SECURITY, TIMER, SETPOINT, MODE, MAX_CHARGE]
    belief.next_write(OFF._replace(epoch=2), 1.0)
    assert belief.should_look_at(first)


def test_on_the_way_to_zero_a_refused_write_is_passed_over() -> None:
    assert next_write(wanted(OFF), {}, LIMITS, refused={SECURITY, TIMER}) == (SETPOINT, 0)
    assert next_write(wanted(OFF), {}, LIMITS, refused={SECURITY, TIMER, SETPOINT}) == (MODE, 0)


def test_on_the_way_to_energy_nothing_comes_after_a_refused_limit() -> None:
    written = {SECURITY: 125, TIMER: 20, SETPOINT: 0, MODE: 0}
    assert next_write(wanted(DRIVE), written, LIMITS) == (MAX_V, 12583)
    assert next_write(wanted(DRIVE), written, LIMITS, refused={MAX_V}) is None


def test_a_voltage_limit_may_be_clamped_a_current_limit_and_a_setpoint_may_not() -> None:
    belief = Belief(LIMITS)
    assert belief.confirm(Write(MIN_V, 8650), 8847)
    assert not belief.confirm(Write(MAX_DISCHARGE, 5209), 5000)
    assert not belief.confirm(Write(SETPOINT, -1042), 0)
    assert not belief.confirm(Write(MODE, 2), 0)


def test_the_timer_may_have_begun_to_count_but_not_be_longer() -> None:
    belief = Belief(LIMITS)
    assert belief.confirm(Write(TIMER, 20), 19)
    assert not belief.confirm(Write(TIMER, 20), 333)
    assert not belief.confirm(Write(TIMER, 20), 0)


orders = st.builds(
    InverterOrder,
    st.sampled_from(Mode),
    st.sampled_from([0.0, -20.0, 35.0]),
    st.just(1e9),
    st.integers(1, 2),
)


@settings(deadline=None)
@given(st.lists(st.tuples(orders, st.sampled_from(["take", "lose", "refuse", "poll", "trip", "look"])), max_size=40))
def test_energy_is_never_written_while_the_inverter_may_be_in_another_mode(
    steps: list[tuple[InverterOrder, str]],
) -> None:
    belief, registers = Belief(LIMITS), {MODE: 0, SETPOINT: 0}
    for number, (order, what) in enumerate(steps):
        now = number * 0.1
        if what == "poll":
            looked(belief, registers)
        elif what == "trip":
            registers |= {MODE: 0, SETPOINT: 0}
        elif what == "look":
            belief.look_first()
        write = belief.next_write(order, now)
        if write is None or what in {"poll", "trip", "look"}:
            continue
        if write.address == MODE and write.counts != registers[MODE]:
            assert registers[SETPOINT] == 0, "the old setpoint would run in the new mode"
        belief.begin(write)
        if what == "take":
            registers[write.address] = write.counts
            belief.confirm(write, write.counts)
        elif what == "refuse":
            belief.refuse(write, now)
        else:
            belief.unanswered(write, now)
    while (write := belief.next_write(OFF._replace(epoch=9), 100.0)) is not None:
        belief.begin(write)
        registers[write.address] = write.counts
        belief.confirm(write, write.counts)
    assert (registers[MODE], registers[SETPOINT]) == (0, 0)
