"""The loop around a scripted core: every output is attempted, nothing that tells can stop it, its end is orderly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent.guard.board_permit import BoardPermit
from edge_agent.guard.durable import Writer
from edge_agent.guard.estop_input import EstopInput
from edge_agent.guard.health import About, Window
from edge_agent.guard.inbox import Inbox
from edge_agent.guard.link_door import SOCKET_NAME, LinkDoor
from edge_agent.guard.local import SOCKET_NAME as LOCAL_NAME
from edge_agent.guard.local import LocalDoor
from edge_agent.guard.loop import Loop, Parts
from edge_agent.guard.model import InverterOrder, Mode, NoData, Opened, Output, OutputOrder, Reading
from edge_agent.guard.notify import Notifier
from edge_agent.guard.orders import Orders
from edge_agent.guard.rows import Rows, Schema
from edge_agent.guard.safety.interface import Actions, Answer, Command, Durable, DurableWrite, Inputs, ScheduleStep
from edge_agent.local_client import ask
from shared import ipc

Soon = Callable[[Callable[[], object]], None]
Connector = Callable[[Path], Any]
INVERTER = Schema("inverter", (("poll", ("power",)),), cycled=False)


@dataclass
class ScriptedCore:
    """Does in each turn what the script says, and remembers what it was given."""

    script: Callable[[Inputs, float], Actions] = lambda _inputs, _now: Actions()
    given: list[Inputs] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def turn(self, inputs: Inputs, now: float) -> Actions:
        self.given.append(inputs)
        self.times.append(now)
        return self.script(inputs, now)

    def snapshot(self, now: float) -> Mapping[str, Mapping[str, object]]:
        return {"state/safety": {"state": "STANDBY", "at": now}}

    def commands(self) -> list[Command]:
        return [command for inputs in self.given for command in inputs.commands]


@dataclass
class Actuator:
    """Takes every order; with `broken` it raises after having taken it."""

    broken: bool = False
    masks: list[OutputOrder] = field(default_factory=list)
    setpoints: list[InverterOrder] = field(default_factory=list)

    def order_outputs(self, order: OutputOrder) -> None:
        self.masks.append(order)
        if self.broken:
            raise OSError("the board is on fire")

    def order_inverter(self, order: InverterOrder) -> None:
        self.setpoints.append(order)
        if self.broken:
            raise OSError("the inverter is on fire")


class Running:
    """A loop on a thread of its own, with real doors, writer and rows."""

    def __init__(self, core: ScriptedCore, folder: Path, **parts: Any) -> None:
        self.core = core
        self.folder = folder
        self.inbox = Inbox()
        orders = Orders(self.inbox, folder / "schedules", lambda: pytest.fail("not asked"))
        self.link = LinkDoor(folder, {"session": "00c0ffee"}, orders)
        self.local = LocalDoor(folder, orders)
        self.writer = Writer(folder / "state", self.inbox.wake)
        self.notifier = Notifier({})
        about = About({"version": "1"}, ["can", "inverter"])
        made = Parts(self.inbox, self.link, self.local, self.writer, Rows([INVERTER]), about, self.notifier, **parts)
        self.loop = Loop(core, made)
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.loop.run()))
        for thread in (self.link, self.local, self.writer, self.thread):
            thread.start()

    def end(self) -> int:
        self.loop.stop("test")
        self.thread.join(10.0)
        for thread in (self.link, self.local, self.writer):
            thread.stop()
        self.notifier.close()
        return self.codes[0]


@pytest.fixture
def start(runtime_dir: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(core: ScriptedCore, **parts: Any) -> Running:
        running.append(Running(core, runtime_dir, **parts))
        return running[-1]

    yield begin
    for one in running:
        if not one.codes:
            one.end()


def at_rest(_inputs: Inputs, _now: float) -> Actions:
    return Actions(states={"state/safety": {"state": "STANDBY"}})


def poll(value: float = 1.0) -> Reading:
    return Reading("inverter", "poll", time.monotonic(), (value,), (value,))


def test_the_core_is_asked_at_least_every_50_ms_and_its_clock_never_goes_back(
    start: Callable[..., Running], soon: Soon
) -> None:
    core = ScriptedCore(at_rest)
    start(core)
    soon(lambda: len(core.times) > 10)
    steps = [later - sooner for sooner, later in zip(core.times, core.times[1:], strict=False)]
    assert min(steps) > 0.0
    assert sorted(steps)[len(steps) // 2] < 0.06


def test_an_arrival_wakes_the_loop_and_many_are_handled_in_one_turn(start: Callable[..., Running], soon: Soon) -> None:
    core = ScriptedCore(at_rest)
    running = start(core)
    soon(lambda: core.times)
    for _ in range(500):
        running.inbox.put([poll()])
    soon(lambda: sum(len(inputs.arrivals) for inputs in core.given) == 500)
    assert sum(bool(inputs.arrivals) for inputs in core.given) < 100


def test_every_output_is_attempted_even_when_the_others_fail(start: Callable[..., Running], soon: Soon) -> None:
    def order(_inputs: Inputs, now: float) -> Actions:
        outputs, inverter = OutputOrder(Output.PUMP, now + 0.2), InverterOrder(Mode.OFF, 0.0, now + 0.2)
        return Actions(outputs, inverter, states={"state/safety": {"state": "STANDBY"}})

    broken, sound, inverter = Actuator(broken=True), Actuator(), Actuator(broken=True)
    running = start(ScriptedCore(order), outputs=[broken, sound], inverter=inverter)
    soon(lambda: len(sound.masks) > 3)
    assert broken.masks
    assert inverter.setpoints
    assert running.end() == 0, "a broken actuator is no failure of the core"


def test_when_the_core_fails_no_token_is_renewed_and_zero_is_attempted_once(
    start: Callable[..., Running], soon: Soon
) -> None:
    def fail_at_last(_inputs: Inputs, now: float) -> Actions:
        if len(core.given) > 3:
            raise ZeroDivisionError
        return Actions(OutputOrder(Output.RELAY1, now + 0.2), InverterOrder(Mode.CURRENT, -35.0, now + 0.2))

    core, board, inverter = ScriptedCore(fail_at_last), Actuator(), Actuator()
    running = start(core, outputs=[board], inverter=inverter)
    soon(lambda: running.codes)
    assert running.end() == 1
    assert [order.setpoint for order in inverter.setpoints] == [-35.0, -35.0, -35.0, 0.0]
    assert inverter.setpoints[-1].mode is Mode.OFF
    assert inverter.setpoints[-1].valid_until < time.monotonic() + 2.0
    assert len(board.masks) == 3, "the relays are the dead-man's: it opens them when the current is gone"


def test_what_cannot_be_told_does_not_stop_the_guarding(start: Callable[..., Running], soon: Soon) -> None:
    def tell_nonsense(_inputs: Inputs, _now: float) -> Actions:
        good = {"state/safety": {"state": "STANDBY"}}
        return Actions(states=good if len(core.given) > 5 else {"state/safety": None})  # type: ignore[dict-item]  # on purpose

    core = ScriptedCore(tell_nonsense)
    running = start(core)
    soon(lambda: len(core.given) > 10)
    assert running.end() == 0


def test_an_orderly_end_opens_first_and_waits_until_it_is_open(start: Callable[..., Running], soon: Soon) -> None:
    def open_slowly(_inputs: Inputs, _now: float) -> Actions:
        asked = sum(command.target == "contactor" for command in core.commands())
        turns_since = sum(1 for inputs in core.given if asked and not inputs.commands)
        return Actions(states={"state/safety": {"state": "STANDBY" if asked and turns_since > 15 else "RUN"}})

    core = ScriptedCore(open_slowly)
    running = start(core)
    soon(lambda: core.given)
    assert running.end() == 0
    (command,) = core.commands()
    assert (command.klass, command.body, command.local) == ("S", {"action": "open"}, True)
    assert running.core.given[-1].commands == []


def test_an_end_that_does_not_come_to_rest_is_given_up_after_3_s_and_said(
    start: Callable[..., Running], soon: Soon
) -> None:
    core = ScriptedCore(lambda _inputs, _now: Actions(states={"state/safety": {"state": "STOPPING"}}))
    running = start(core)
    soon(lambda: core.given)
    started = time.monotonic()
    assert running.end() == 1
    assert 2.5 < time.monotonic() - started < 5.0


def test_rows_events_states_and_answers_reach_link(start: Callable[..., Running], link_peer: Connector) -> None:
    def answer(inputs: Inputs, _now: float) -> Actions:
        answers = tuple(Answer(one.id, one.target, "done", "STANDBY", took_ms=3) for one in inputs.commands)
        events = ({"kind": "alarm", "alarm": "x", "mono_us": 5},) if inputs.arrivals else ()
        return Actions(answers=answers, events=events, states={"state/safety": {"state": "STANDBY"}})

    core = ScriptedCore(answer)
    running = start(core)
    peer = link_peer(running.folder / SOCKET_NAME)
    peer.greet()
    running.inbox.put([Opened("inverter", 1.0, "an inverter"), poll(3.5)])

    def tells(packet: bytes) -> bool:
        return packet[:1] == ipc.STATE and b'"info"' in packet and b"an inverter" in packet

    seen = peer.until(lambda packet: packet[:1] == ipc.EVENT)
    assert ipc.unpack_event(seen[-1]).mono_us == 5
    info = ipc.parse_object((next(filter(tells, seen), None) or peer.until(tells)[-1])[1:])
    assert info["body"]["devices"]["inverter"] == "an inverter"
    body = {"id": "a1", "target": "pump", "actor": "alice", "body": {"on": True}}
    peer.send(ipc.pack_json(ipc.COMMAND, body))
    answered = peer.json(ipc.ANSWER)
    assert (answered["id"], answered["status"], answered["took_ms"]) == ("a1", "done", 3)
    assert "actor" not in answered
    event = ipc.unpack_event(peer.until(lambda packet: packet[:1] == ipc.EVENT)[-1]).body
    assert (event["kind"], event["actor"], event["command"]) == ("command", "alice", {"on": True})


def test_health_tells_cycle_latency_memory_and_every_counter(
    start: Callable[..., Running], link_peer: Connector
) -> None:
    core = ScriptedCore(at_rest)
    running = start(core, counters={"can": lambda: {"overflow": 7}})
    running.inbox.put([poll()])
    peer = link_peer(running.folder / SOCKET_NAME)
    packet = peer.until(lambda packet: b'"cycle_ms":{"p50"' in packet)[-1]
    health = ipc.parse_object(packet[1:])["body"]
    assert health["counters"]["can"] == {"overflow": 7}
    assert health["rss_kb"] > 1000
    assert {"p50", "p99", "max"} <= set(health["cycle_ms"])
    assert health["counters"]["loop"]["turns"] > 0


def test_status_of_the_local_door_is_answered_without_the_core(start: Callable[..., Running]) -> None:
    core = ScriptedCore(at_rest)
    running = start(core)
    answer = ask(running.folder / LOCAL_NAME, {"target": "status"}, 5.0)
    assert answer["states"]["state/safety"]["state"] == "STANDBY"  # type: ignore[index]  # JSON
    assert "rss_kb" in answer["health"]  # type: ignore[operator]  # JSON
    assert core.commands() == []


def test_a_durable_order_comes_back_as_written(start: Callable[..., Running], soon: Soon) -> None:
    def arm(_inputs: Inputs, _now: float) -> Actions:
        first = len(core.given) == 1
        return Actions(
            durable=DurableWrite(4, Durable(armed=True)) if first else None,
            states={"state/safety": {"state": "STANDBY"}},
        )

    core = ScriptedCore(arm)
    start(core)
    soon(lambda: core.given and core.given[-1].written == 4)
    assert (core.given[0].written, core.given[-1].write_failed) == (0, "")


def test_a_schedule_is_read_outside_the_loop_and_a_wrong_one_is_said_with_its_line(
    start: Callable[..., Running], runtime_dir: Path, link_peer: Connector, soon: Soon
) -> None:
    (runtime_dir / "schedules").mkdir()
    (runtime_dir / "schedules" / "good.csv").write_text("\ufeffInterval [s],Current [A]\n300,-35\n", encoding="utf-8")
    (runtime_dir / "schedules" / "bad.csv").write_text("Interval [s],Current [A]\n300,fast\n", encoding="utf-8")
    core = ScriptedCore(at_rest)
    running = start(core)
    peer = link_peer(running.folder / SOCKET_NAME)
    for name in ("good", "bad", "none"):
        body = {"action": "start", "file": f"{name}.csv"}
        peer.send(ipc.pack_json(ipc.COMMAND, {"id": name, "target": "schedule", "actor": "x", "body": body}))
        soon(lambda name=name: any(command.id == name for command in core.commands()))  # type: ignore[misc]  # a lambda with a default
    good, bad, none = core.commands()
    assert good.schedule is not None
    assert good.schedule.steps == (ScheduleStep(300.0, -35.0),)
    assert "line 2" in bad.trouble
    assert "none.csv" in none.trouble


def test_the_board_may_be_opened_once_the_current_is_small_or_the_time_is_over() -> None:
    given: list[float] = []
    permit = BoardPermit(
        lambda *, allowed=True: given.append(float(allowed)), inverter=True, noise_a=1.4, wait_s=2.5, now=100.0
    )
    index = 7  # current in the inverter's list
    values = [0.0] * 23
    values[index] = 40.0
    permit.see([Reading("inverter", "poll", 100.1, tuple(values), tuple(values))])
    permit.at(102.4)
    assert not given
    values[index] = 5.0
    permit.see([Reading("inverter", "poll", 100.1, tuple(values), tuple(values), ((index, "out_of_range"),))])
    assert not given
    permit.see([Reading("inverter", "poll", 100.2, tuple(values), tuple(values))])
    permit.at(103.0)
    assert given == [1.0]


def test_the_board_may_be_opened_at_once_without_an_inverter_and_after_waiting_with_a_dead_one() -> None:
    given: list[str] = []
    BoardPermit(
        lambda *, allowed=True: given.append(f"none {allowed}"), inverter=False, noise_a=1.4, wait_s=2.5, now=5.0
    ).at(5.0)
    dead = BoardPermit(
        lambda *, allowed=True: given.append(f"dead {allowed}"), inverter=True, noise_a=1.4, wait_s=2.5, now=5.0
    )
    dead.at(7.4)
    assert given == ["none True"]
    dead.at(7.5)
    assert given == ["none True", "dead True"]


def test_a_lost_board_is_opened_again_only_without_current_or_after_waiting_for_zero() -> None:
    given: list[bool] = []
    permit = BoardPermit(
        lambda *, allowed=True: given.append(allowed), inverter=True, noise_a=1.4, wait_s=2.5, now=100.0
    )
    values = [0.0] * 23
    calm = Reading("inverter", "poll", 100.1, tuple(values), tuple(values))
    loaded = calm._replace(values=(*values[:7], 40.0, *values[8:]))
    permit.see([calm])
    permit.see([NoData("arduino", "", 200.0, "lost", "unplugged"), loaded])
    permit.see([NoData("arduino", "", 200.5, "absent", "no such port")])
    permit.at(203.4)
    assert given == [True, False]
    permit.see([calm])
    assert given == [True, False, True]
    permit.see([NoData("arduino", "", 300.0, "lost", "unplugged"), loaded])
    permit.at(303.5)
    assert given[3:] == [False, True]


def test_an_emergency_stop_that_cannot_be_read_counts_as_pressed() -> None:
    estop = EstopInput()
    assert not estop.pressed
    estop.see([Reading("gpio", "estop", 1.0, (1,), (1.0,))])
    assert estop.pressed
    estop.see([Reading("gpio", "estop", 1.1, (0,), (0.0,)), poll()])
    assert not estop.pressed
    estop.see([NoData("gpio", "", 1.2, "lost")])
    assert estop.pressed


def test_percentiles_cover_the_last_10_s_and_the_worst_is_kept() -> None:
    window = Window()
    window.add(1.0, 0.0)
    for tick in range(2000):
        window.add(0.001 * (tick % 100), 20.0 + tick * 0.01)
    body = window.body()
    assert (body["p50"], body["p99"], body["max"], body["worst"]) == (50.0, 99.0, 99.0, 1000.0)
    assert body["count"] <= 1000


def test_about_tells_a_device_that_is_gone_and_the_modules_that_answered() -> None:
    about = About({"version": "1"}, ["can"])
    about.changed = False
    about.see([Reading("module-03", "pdo1", 1.0, (1,), (1.0,)), NoData("can", "", 2.0, "lost", "unplugged")])
    assert about.changed
    assert about.body() == {"version": "1", "devices": {"can": "lost: unplugged"}, "modules": [3]}


def test_systemd_is_told_ready_and_then_alive_once_a_second(runtime_dir: Path) -> None:
    import socket  # noqa: PLC0415 - only this test is systemd

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(5.0)
        systemd.bind(str(runtime_dir / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(runtime_dir / "notify")})
        notifier.ready()
        for now in (10.0, 10.5, 11.0, 11.2):
            notifier.alive(now)
        notifier.stopping()
        said = [systemd.recv(100) for _ in range(4)]
        notifier.close()
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]
