from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from edge_agent.guard.devices import DRIVERS, driver, runner
from edge_agent.guard.devices.runner import Runner
from edge_agent.guard.model import NoData, Opened, Reading
from edge_agent.guard.ports import Arrival, NotYet
from shared.errors import DeviceError

WaitUntil = Callable[..., object]
READING = Reading("toy", "part", 0.0, (1,), (1.0,))


class Box:
    """An inbox that keeps everything."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []

    def put(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals += arrivals

    def of(self, kind: type[Arrival]) -> list[Arrival]:
        return [one for one in self.arrivals if type(one) is kind]


class Toy:
    """A device that does what its script says: a list of what `open` and `read` raise or return, the last for ever."""

    source = "toy"

    def __init__(self, opens: list[object], reads: list[object]) -> None:
        self.opens, self.reads = opens, reads
        self.closed = 0
        self._pause = threading.Event()

    def open(self) -> str:
        return str(self._next(self.opens))

    def read(self) -> list[Arrival]:
        self._pause.wait(0.005)
        found = self._next(self.reads)
        assert isinstance(found, list)
        return found

    def close(self) -> None:
        self.closed += 1

    def counters(self) -> dict[str, int]:
        return {"toys": 1}

    @staticmethod
    def _next(script: list[object]) -> object:
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Toy], tuple[Runner, Box]]]:
    monkeypatch.setattr(runner, "FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(runner, "LONGEST_DELAY_S", 0.1)
    started: list[Runner] = []

    def started_on(toy: Toy) -> tuple[Runner, Box]:
        box = Box()
        made = Runner(toy, box)
        made.start()
        started.append(made)
        return made, box

    yield started_on
    for one in started:
        one.stop()
        assert not one.alive


def test_readings_of_an_opened_device_reach_the_inbox(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil
) -> None:
    made, box = run(Toy(["hello"], [[], [READING]]))
    wait_until(lambda: READING in box.arrivals, 2.0, "a reading")
    assert box.arrivals[0][::2] == ("toy", "hello")
    assert type(box.arrivals[0]) is Opened
    assert made.counters() == {"toys": 1, "opens": 1}


def test_mistake_18_an_absent_device_is_said_and_tried_again_until_it_is_there(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil
) -> None:
    made, box = run(Toy([DeviceError("not there"), DeviceError("not there"), "here"], [[READING]]))
    wait_until(lambda: READING in box.arrivals, 2.0, "a reading")
    said = box.of(NoData)
    assert [(one.source, one.part, one.reason, one.detail) for one in said] == [("toy", "", "absent", "not there")] * 2
    assert made.counters()["absent"] == 2


def test_a_lost_device_is_closed_said_and_opened_again(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil
) -> None:
    toy = Toy(["here"], [[READING], DeviceError("pulled"), [READING]])
    _, box = run(toy)
    wait_until(lambda: len(box.of(Opened)) == 2, 2.0, "the second opening")
    assert [(one.reason, one.detail) for one in box.of(NoData)] == [("lost", "pulled")]
    assert toy.closed >= 1


@pytest.mark.parametrize("where", ["open", "read"])
def test_a_defect_of_a_driver_does_not_end_its_thread_and_is_told(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil, where: str
) -> None:
    defect = ZeroDivisionError("a defect")
    toy = Toy([defect, "here"], [[READING]]) if where == "open" else Toy(["here"], [defect, [READING]])
    made, box = run(toy)
    wait_until(lambda: READING in box.arrivals, 2.0, "a reading after the defect")
    (said,) = box.of(NoData)
    assert "ZeroDivisionError" in said.detail
    assert made.counters()["driver_failures"] == 1


def test_the_delay_grows_while_a_device_stays_away_and_is_short_again_after_it_held(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STEADY_S", 0.05)
    _, box = run(Toy([DeviceError("away")] * 6 + ["here"], [[READING]] * 30 + [DeviceError("pulled"), [READING]]))
    wait_until(lambda: len(box.of(Opened)) == 2, 4.0, "the second opening")
    at = [one.t_mono for one in box.of(NoData)]
    assert at[5] - at[4] > 2 * (at[1] - at[0])
    assert box.of(Opened)[1].t_mono - at[-1] < at[5] - at[4]


def test_a_device_that_may_not_be_opened_yet_is_asked_again_at_once(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FIRST_DELAY_S", 5.0)
    made, box = run(Toy([NotYet("wait"), NotYet("wait"), "here"], [[READING]]))
    wait_until(lambda: READING in box.arrivals, 2.0, "a reading")
    assert box.of(NoData) == [], "nothing is wrong: nothing for an alarm"
    assert made.counters()["awaited"] == 2


def test_stopping_interrupts_a_long_delay_and_closes(
    run: Callable[..., tuple[Runner, Box]], wait_until: WaitUntil
) -> None:
    toy = Toy([DeviceError("away")], [[]])
    made, box = run(toy)
    made._delay_s = 60.0
    wait_until(lambda: box.of(NoData), 2.0, "the first complaint")
    made.stop()
    assert not made.alive
    assert toy.closed >= 1


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_of_the_table_can_be_loaded_and_names_its_source(name: str) -> None:
    assert driver(name).source == name.partition("-")[0]
