"""Seeded random faults, each from RUN at a random current, each in a fork of a rig that is connected already."""

from __future__ import annotations

import gc
import json
import os
import random
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from edge_agent.guard.model import Level, State
from tests.evidence.kinds import BACK, BACK_NO_TIMER, KINDS, STUCK, TIMERS, WELDED, Kind
from tests.evidence.world import World, clocked

PROFILES = ("ideal", "lab-2021")
AT_REST = "at rest"
LEAST_A, MOST_A = 5.0, 60.0
SMALL_A = 2.0
SETTLED_S = 1.5
SURE_A = 5.6
"""Below max(2 A, 4σ) a current may count as none (SAFETY §3)."""
CONTACT_S = 0.02
"""How late a contact follows its coil; it is not the agent's."""


class Outcome(NamedTuple):
    """What the truth says of one fault. Times in s from the fault, None: it did not happen."""

    kind: str
    number: int
    profile: str
    amps: float
    zero_s: float | None
    open_s: float | None
    load_a: float
    by: str
    critical: bool
    latches: list[str]
    state: str
    complaints: list[str]


def prepared() -> dict[str, World]:
    """A rig of each profile in READY, and one in STANDBY."""
    worlds = {}
    for number, profile in enumerate(PROFILES):
        world = World(11 + number, profile)
        with clocked(world):
            world.connect()
        worlds[profile] = world
    worlds[AT_REST] = world = World(13)
    with clocked(world):
        world.rest()
    return worlds


def campaign(count: int, seed: int, workers: int = 1, first: int = 0) -> Iterator[Outcome]:
    """So many faults from number `first` on, each kind in turn."""
    worlds = prepared()
    gc.collect()
    gc.freeze()
    running: list[int] = []
    for number in range(first, first + count):
        running.append(_forked(worlds, number, seed))
        if len(running) >= workers:
            yield _collected(running.pop(0))
    for pipe in running:
        yield _collected(pipe)


def _forked(worlds: dict[str, World], number: int, seed: int) -> int:
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return reading
    status = 1
    try:
        os.write(writing, json.dumps(one(worlds, number, seed)).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - the edge of a process: its parent only sees that nothing came
        traceback.print_exc()
    finally:
        os._exit(status)


def _collected(pipe: int) -> Outcome:
    with os.fdopen(pipe, "rb") as answer:
        text = answer.read()
    os.wait()
    return Outcome(*json.loads(text))


def one(worlds: dict[str, World], number: int, seed: int) -> Outcome:
    """Throw one fault; the world is used up."""
    dice = random.Random(f"{seed}.{number}")
    kind, profile = KINDS[number % len(KINDS)], dice.choice(PROFILES)
    profile = AT_REST if kind.standby else profile
    world = worlds[profile]
    amps = 0.0 if kind.standby else round(dice.choice((-1, 1)) * dice.uniform(LEAST_A, MOST_A), 1)
    with clocked(world):
        world.rig.faults.inject("inverter.comm_timer", {"refresh": dice.choice(TIMERS)})
        world.run(dice.uniform(0.0, 1.0))
        if not kind.standby:
            world.drive((600.0, amps))
            world.run(abs(amps) / 50.0 + 1.0 + dice.uniform(0.0, 1.0))
            assert abs(world.rig.plant.current_a - amps) < 1.0, (world.rig.plant.current_a, amps)
        began: list[float] = []

        def strike() -> None:
            began.append(world.now)
            kind.act(world, dice)
            if kind.standby:
                world.command("contactor", "E", action="close")

        world.at(world.now + dice.uniform(0.0, 0.5), strike)
        world.run(kind.promise.watch_s + 0.5, lambda: _settled(world, kind))
        assert began, "the fault was never thrown"
        return judged(world, kind, began[0], Outcome(kind.name, number, profile, amps, *_NOTHING))


def _settled(world: World, kind: Kind) -> bool:
    """LATCHED for a while: nothing more is to come. With restarts, and with welds that are found late, all of it is watched."""
    agent = world.agent
    if agent is None or not kind.promise.latched or kind.promise in {BACK, BACK_NO_TIMER, STUCK}:
        return False
    phase = agent.core.state.phase
    return phase.state is State.LATCHED and world.now - phase.since > SETTLED_S


_NOTHING = (None, None, 0.0, "", False, [], "", [])


def judged(world: World, kind: Kind, t0: float, outcome: Outcome) -> Outcome:
    """What the truth says against what was promised."""
    rows = world.truth.since(t0)
    zeros = [row for row in rows if row["what"] in {"inverter.setpoint", "inverter.mode"} and row["value"] == 0]
    opens = [row for row in rows if row["what"] == "circuit.closed" and row["value"] == 0]
    agent = world.agent
    latches = () if agent is None else agent.core.state.latches
    critical = any(latch.level is Level.CRITICAL for latch in latches)
    if agent is not None:
        critical |= any(e["kind"] == "alarm" and e["level"] == "CRITICAL" for e in agent.events)
    found = outcome._replace(
        zero_s=float(zeros[0]["t_mono"]) - t0 if zeros else None,
        open_s=float(opens[0]["t_mono"]) - t0 if opens else None,
        load_a=abs(float(opens[0]["circuit_current_a"])) if opens else 0.0,
        by=str(opens[0]["by"]) if opens else "",
        critical=critical,
        latches=[latch.id for latch in latches],
        state="" if agent is None else agent.state,
    )
    closed = [row for row in rows if row["what"] == "circuit.closed" and row["value"] == 1]
    # with relay 1 welded, the weld check itself closes the circuit: that is how it is found
    again = ["closed again"] if closed and kind.promise is not WELDED else []
    return found._replace(complaints=[*_complaints(found, kind), *again])


def _complaints(found: Outcome, kind: Kind) -> Iterator[str]:
    promise = kind.promise
    if promise.kept:
        if found.open_s is not None or found.latches:
            yield f"a healthy rig tripped: {found.latches}"
        return
    if promise.zero_s is not None and (found.zero_s is None or found.zero_s > promise.zero_s):
        yield f"zero after {found.zero_s} s, promised {promise.zero_s}"
    if promise.open_s is not None and (found.open_s is None or found.open_s > promise.open_s + CONTACT_S):
        yield f"open after {found.open_s} s, promised {promise.open_s}"
    # a current of about the noise's own size cannot be told from none; that it did not obey is then not seen
    if promise.critical and not found.critical and not (promise.loaded and abs(found.amps) < SURE_A):
        yield "CRITICAL was not said"
    if found.load_a >= SMALL_A and not promise.loaded:
        yield f"opened under {found.load_a:.1f} A by {found.by}"
    if promise.latched and found.state != "LATCHED":
        yield f"ends in {found.state}, not LATCHED"
