"""Every kind of fault that is thrown at the running agent: what it does to the rig, and by which promise it is judged."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.evidence.world import World

Dice = random.Random
Act = Callable[[World, Dice], None]
TIMERS = ("write41025", "any_write", "any_frame")
PASSING_S = 0.6


class Promise(NamedTuple):
    """What SAFETY promises, in s from the fault; None: nothing is promised.

    `critical`: CRITICAL must be said. `loaded`: the inverter refuses zero, so the relays may open under load.
    `kept`: the opposite promise, nothing may open and nothing latch.
    """

    name: str
    watch_s: float
    zero_s: float | None = None
    open_s: float | None = None
    critical: bool = False
    loaded: bool = False
    kept: bool = False
    latched: bool = True


SAMPLE_S = 0.25
"""Budgets count from the first violating sample; that comes up to one period after the fault."""
OBEYS = Promise("danger, inverter obeys", 9.0, 3.0 + SAMPLE_S, 3.0 + SAMPLE_S)
HALF = Promise("danger, inverter obeys or answers by half", 9.0, 3.0 + SAMPLE_S, 3.5 + SAMPLE_S)
SLOW = Promise("danger of a slow row", 10.0, 3.0 + 2.4, 3.0 + 2.4)
DISOBEYS = Promise("danger, inverter refuses zero", 10.0, None, 3.5 + SAMPLE_S, critical=True, loaded=True)
MUTE = Promise("danger, inverter mute", 10.0, 3.0, 3.5 + SAMPLE_S)
DEAD = Promise("agent dead", 9.0, 2.5, 4.0, latched=False)
BACK = Promise("agent killed and back, or stopped for 10 s", 16.0, 2.5, 4.0)
BACK_NO_TIMER = Promise("agent stopped for 10 s, timer never trips", 16.0, None, 4.0, critical=True, loaded=True)
DEAD_NO_TIMER = Promise("agent dead, timer never trips", 9.0, None, 4.0, loaded=True, latched=False)
LOST = Promise("source lost", 16.0, 3.0, 15.0)
LOST_NO_TIMER = Promise("inverter lost, timer never trips", 16.0, None, 15.0, critical=True, loaded=True)
RESET = Promise("Arduino reset", 9.0, 3.0, 3.0, critical=True, loaded=True)
STUCK = Promise("both main relays welded", 14.0, 3.25, None, critical=True)
REFUSED = Promise("fault before closing: main + never closes, LATCHED", 45.0)
WELDED = Promise("weld found before closing", 20.0, critical=True)
HEALTHY = Promise("healthy: nothing trips", 12.0, kept=True, latched=False)


class Kind(NamedTuple):
    """One kind of fault. `standby`: it is there before the contactors are asked to close."""

    name: str
    promise: Promise
    act: Act
    standby: bool = False


def _set(world: World, name: str, value: float) -> None:
    world.names.set({name: value})


def _fault(name: str, **given: object) -> Act:
    return lambda world, _dice: world.rig.faults.inject(name, given)


def _module(dice: Dice) -> int:
    return dice.randint(1, 8)


def _cell(low: float, high: float) -> Act:
    return lambda world, dice: _set(
        world, f"module.{_module(dice)}.cell.{dice.randint(1, 12)}.voltage_v", dice.uniform(low, high)
    )


def _celsius(low: float, high: float, what: str = "") -> Act:
    def act(world: World, dice: Dice) -> None:
        cell = f".cell.{dice.randint(1, 12)}" if what else ""
        _set(world, f"module.{_module(dice)}{cell}.temperature_c", dice.uniform(low, high))

    return act


def _module_voltage(world: World, dice: Dice) -> None:
    _set(world, f"module.{_module(dice)}.voltage_v", dice.choice((dice.uniform(49.1, 55), dice.uniform(25, 32.9))))


def _contradiction(world: World, dice: Dice) -> None:
    one, other = dice.sample(range(1, 9), 2)
    _set(world, f"module.{one}.cell.{dice.randint(1, 12)}.voltage_v", dice.uniform(4.12, 4.18))
    _set(world, f"module.{other}.cell.{dice.randint(1, 12)}.voltage_v", dice.uniform(2.72, 2.78))


def _min_max(world: World, dice: Dice) -> None:
    _set(world, f"module.{_module(dice)}.min_cell_v", dice.uniform(3.2, 3.5))


def _thermistor(world: World, dice: Dice) -> None:
    _set(world, f"arduino.adc.{dice.choice(('temp1', 'temp2'))}", dice.randint(60, 250))


def _raw(data: str, pdos: tuple[int, ...]) -> Act:
    return lambda world, dice: world.rig.faults.inject(
        "can.raw", {"module": _module(dice), "pdo": dice.choice(pdos), "data": data}
    )


def _on_module(name: str) -> Act:
    return lambda world, dice: world.rig.faults.inject(name, {"module": _module(dice)})


def _inverter_fault(world: World, dice: Dice) -> None:
    register, bit = dice.randint(30272, 30277), dice.randint(0, 15)
    bit = 6 if register == 30272 and bit in {0, 3} else bit
    world.rig.faults.inject("inverter.fault", {"register": register, "bit": bit})


def _refuse_all(world: World, _dice: Dice) -> None:
    for address in (41026, 41027):
        world.rig.faults.inject("inverter.refuse_write", {"address": address})


def _delay(world: World, dice: Dice) -> None:
    least = dice.uniform(0.7, 2.0)
    world.rig.faults.inject("inverter.delay", {"min_s": least, "max_s": least + 0.5})


def _passing(name: str, **given: object) -> Act:
    """Comes and goes within what the rig shows on a good day."""

    def act(world: World, dice: Dice) -> None:
        world.rig.faults.inject(name, given)
        world.at(world.now + dice.uniform(0.05, PASSING_S), lambda: world.rig.faults.heal(name, {}))

    return act


def _kill(world: World, _dice: Dice) -> None:
    world.kill()


def _kill_and_back(world: World, dice: Dice) -> None:
    world.kill()
    world.at(world.now + dice.uniform(0.05, 3.0), world.start)


def _crash_loop(world: World, dice: Dice) -> None:
    """Killed again and again while it starts."""
    t = world.now
    world.kill()
    for _ in range(4):
        t += dice.uniform(0.05, 1.0)
        world.at(t, world.start)
        t += dice.uniform(0.1, 2.0)
        world.at(t, world.kill)
    world.at(t + 0.5, world.start)


def _halt(attribute: str) -> Act:
    def act(world: World, _dice: Dice) -> None:
        agent = world.living
        setattr(agent, attribute, True)
        world.at(world.now + 10.0, lambda: setattr(agent, attribute, False))

    return act


def _weld(*numbers: int) -> Act:
    def act(world: World, _dice: Dice) -> None:
        for n in numbers:
            world.rig.faults.inject("relay.weld", {"n": n})

    return act


def _any_weld(world: World, dice: Dice) -> None:
    world.rig.faults.inject("relay.weld", {"n": dice.randint(1, 3)})


def _timer(rule: str) -> Act:
    return _fault("inverter.comm_timer", refresh=rule)


def _both(*acts: Act) -> Act:
    def act(world: World, dice: Dice) -> None:
        for one in acts:
            one(world, dice)

    return act


def _danger(world: World, dice: Dice) -> None:
    dice.choice((_cell(4.21, 4.6), _cell(2.3, 2.69), _celsius(51, 80)))(world, dice)


KINDS = (
    Kind("cell high", OBEYS, _cell(4.21, 4.6)),
    Kind("cell low", OBEYS, _cell(2.3, 2.69)),
    Kind("module temperature", OBEYS, _celsius(51, 90)),
    Kind("cell temperature", OBEYS, _celsius(51, 90, "cell")),
    Kind("module voltage", OBEYS, _module_voltage),
    Kind("cells contradict", OBEYS, _contradiction),
    Kind("can.raw of 4.30 V", OBEYS, _raw("D2" * 8, (3,))),
    Kind("can.duplicate", OBEYS, _on_module("can.duplicate")),
    Kind("inverter.fault", OBEYS, _inverter_fault),
    Kind("ground fault", OBEYS, lambda world, _dice: _set(world, "arduino.ground_fault", 1)),
    Kind("relay.weld, danger", OBEYS, _both(_any_weld, _danger)),
    Kind("refuse 41027, danger", HALF, _both(_fault("inverter.refuse_write", address=41027), _danger)),
    Kind("refuse 41026, danger", HALF, _both(_fault("inverter.refuse_write", address=41026), _danger)),
    Kind("refuse 41025, danger", OBEYS, _both(_fault("inverter.refuse_write", address=41025), _danger)),
    Kind("half of the replies corrupt, danger", HALF, _both(_fault("inverter.corrupt", probability=0.5), _danger)),
    Kind("min/max contradicts", SLOW, _min_max),
    Kind("thermistor hot", SLOW, _thermistor),
    Kind("ignore_setpoint, danger", DISOBEYS, _both(_fault("inverter.ignore_setpoint"), _danger)),
    Kind("refuse 41026 and 41027, danger", DISOBEYS, _both(_refuse_all, _danger)),
    Kind("inverter.silence, danger", MUTE, _both(_fault("inverter.silence"), _danger)),
    Kind("inverter.unplug, danger", MUTE, _both(_fault("inverter.unplug"), _danger)),
    Kind("replies too late, danger", MUTE, _both(_delay, _danger)),
    Kind("two welds, danger", STUCK, _both(_weld(1, 2), _danger)),
    Kind("agent killed", DEAD, _kill),
    Kind("agent killed, timer never trips", DEAD_NO_TIMER, _both(_timer("never_trips"), _kill)),
    Kind("agent killed and back", BACK, _kill_and_back),
    Kind("crash loop", BACK, _crash_loop),
    Kind("crash loop in danger", BACK, _both(_danger, _crash_loop)),
    Kind("agent stopped for 10 s", BACK, _halt("frozen")),
    Kind("loop stands still for 10 s", BACK, _halt("stalled")),
    Kind("agent stopped, timer never trips", BACK_NO_TIMER, _both(_timer("never_trips"), _halt("frozen"))),
    Kind("can.silence of one", LOST, _on_module("can.silence")),
    Kind("can.silence of all", LOST, _fault("can.silence", module="all")),
    Kind("can.unplug", LOST, _fault("can.unplug")),
    Kind("can.raw all ones", LOST, _raw("FF" * 8, (1, 3, 4))),
    Kind("can.raw all zeros", LOST, _raw("00" * 8, (1, 3))),
    Kind("can.raw too short", LOST, _raw("B2" * 5, (1, 3, 4))),
    Kind("inverter.silence", LOST, _fault("inverter.silence")),
    Kind("inverter.unplug", LOST, _fault("inverter.unplug")),
    Kind("inverter.delay", LOST, _delay),
    Kind("replies never come", LOST, _fault("inverter.delay", min_s=60.0, max_s=60.0)),
    Kind("inverter.corrupt", LOST, _fault("inverter.corrupt")),
    Kind(
        "inverter.silence, timer never trips", LOST_NO_TIMER, _both(_timer("never_trips"), _fault("inverter.silence"))
    ),
    Kind("arduino.silence", LOST, _fault("arduino.silence")),
    Kind("arduino.unplug", LOST, _fault("arduino.unplug")),
    Kind("arduino.noise without end", LOST, _fault("arduino.noise", rate=3000.0)),
    Kind("arduino.reset", RESET, _fault("arduino.reset")),
    Kind("precharge.fail", REFUSED, _fault("precharge.fail"), standby=True),
    Kind("relay.weld at rest", WELDED, _any_weld, standby=True),
    Kind("nothing at all", HEALTHY, lambda _world, _dice: None),
    Kind("silence that passes", HEALTHY, _passing("can.silence", module="all")),
    Kind("late replies", HEALTHY, _fault("inverter.delay", min_s=0.05, max_s=0.5, probability=0.02)),
    Kind("corrupt replies", HEALTHY, _fault("inverter.corrupt", probability=0.02)),
    Kind("noise on the Arduino's line", HEALTHY, _fault("arduino.noise", rate=5.0)),
    Kind("Arduino mute for a moment", HEALTHY, _passing("arduino.silence")),
    Kind("warm", HEALTHY, _celsius(41, 48)),
    Kind("can.freeze", HEALTHY, _on_module("can.freeze")),
    Kind("can.flood", HEALTHY, _fault("can.flood", id=0x7F0, rate=500.0)),
    Kind("relay.weld in operation", HEALTHY, _any_weld),
)
