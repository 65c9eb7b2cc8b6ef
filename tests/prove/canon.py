"""When two situations count as one: instants become ages in ticks, clamped past the largest limit that looks at them."""

from __future__ import annotations

from typing import Any

from edge_agent.guard.model import Level, State
from edge_agent.guard.safety.sequences import CALM_SAMPLES, connecting
from edge_agent.guard.safety.state import Programme, Supervisor
from tests.prove.plant import ALL, DEAD, LIVE, MAINS, OFF, STALLED, TICK_S, Model, World, permitted
from tests.prove.properties import OPEN_LOST_S, UNCONFIRMED_S
from tests.prove.senses import recent

PER_S = round(1 / TICK_S)
FINE_S, LINK_WATCH_S, BROKER_S, OVERRUNS_S, COOLING_S, REST_S = 30, 10, 10, 60, 300, 30
WELD_B_S = 16
SCHEDULE_ENDS_S = (2, 14)
ENERGISED = frozenset({State.CONNECTING, State.READY, State.RUN, State.HOLD})
STATES = {state: number for number, state in enumerate(State)}


def age(now: float, t: float | None, most: int) -> int:
    """Ticks since `t`, clamped; -1 for no instant at all."""
    if t is None:
        return -1
    ticks = (now - t) * PER_S
    return int(ticks) if ticks < most else most


class Clocks:
    """Long clocks are told apart only near their limits; between them `jump` says how many ticks may be skipped."""

    __slots__ = ("jump",)

    def __init__(self) -> None:
        self.jump = 0

    def coarse(self, ticks: int, *limits_s: float) -> int:
        """A class for an age: exact for its first two ticks and around each limit, one class in between."""
        if ticks < 2:
            return ticks
        for number, limit_s in enumerate(limits_s):
            limit = int(limit_s * PER_S)
            if ticks < limit - 2:
                self._may_jump(limit - 2 - ticks)
                return 10 * number + 2
            if ticks <= limit + 1:
                return 10 * number + 5 + ticks - limit
        return 99

    def _may_jump(self, ticks: int) -> None:
        self.jump = ticks if not self.jump else min(self.jump, ticks)


class Canon:
    """Makes the key of a situation for one domain. `details`: which optional parts of the state are told apart."""

    def __init__(self, model: Model, details: frozenset[str]) -> None:
        self._model = model
        self._rows = connecting(model.settings) if model.settings.profile == "contactor" else ()
        self._details = details
        self._hold = int(model.settings.hold_s * PER_S) + 1
        self._changed = 2 if model.settings.precharge == "measured" else 11
        lost_s = model.settings.hold_s + OPEN_LOST_S
        self._lost = (lost_s, lost_s + model.deadman_s)
        self._wait = int(model.settings.wait_s * PER_S) + 2

    def key(self, state: Supervisor | None, world: World, now: float) -> tuple[tuple[Any, ...], int]:
        """The key, and how many ticks a jump may skip (0: none)."""
        clocks = Clocks()
        drives = state is None or (state.drive.mode, state.drive.setpoint) != OFF
        plant = self._plant(world, now, clocks, drives=drives)
        if state is None or world.agent == DEAD:
            return plant, clocks.jump
        key = (
            plant
            + self._senses(world, now, clocks, energised=state.phase.state in ENERGISED)
            + self._agent(state, world, now, clocks)
        )
        if self._details:
            key += self._optional(state, world, now, clocks)
        return key, clocks.jump

    def _plant(self, world: World, now: float, clocks: Clocks, *, drives: bool) -> tuple[Any, ...]:
        closed = world.closed
        watched = world.agent == LIVE
        feeding = now - world.fed_t < TICK_S
        danger = (
            age(now, world.danger_t, 20 if world.pins_stuck or world.usb_cut or world.deaf else 10) if closed else 0
        )
        if closed and world.welded & MAINS == MAINS and world.danger_t is not None:
            danger = 30 + clocks.coarse(age(now, world.danger_t, 999), WELD_B_S)
        return (
            world.danger, world.rule_zero, world.blocked, world.hot, world.broker, world.can_cut, world.line_cut, world.usb_cut,
            world.late, world.agent, world.welded, world.precharge_fails, world.link_held, world.ignores, world.stage_stuck,
            world.deaf, world.pins_stuck, world.disk,
            world.pins, world.armed, world.held, 0 if feeding else age(now, world.fed_t, 8) if world.pins else 9,
            world.new_session, age(world.mute_until, now, 3) if world.mute_until > now else -1,
            int(world.register[0]), world.register[1], age(now, world.timer_t, 5) if world.register[0] else 9,
            world.current, world.link, world.dirty and (world.register != OFF or drives), world.record.armed, bool(world.record.latches), danger,
            clocks.coarse(age(now, world.lost_t, 99), *self._lost) if closed and world.lost_t is not None else 0,
            age(now, world.zero_t, 6) if world.current else 0,
            age(now, world.live_t, 10) if closed else 0,
            age(now, world.started_t, 18), world.asked, world.crashed and not watched, world.excused and bool(world.welded), world.estop,
        )  # fmt: skip

    def _senses(self, world: World, now: float, clocks: Clocks, *, energised: bool) -> tuple[Any, ...]:
        seen, board, current, link = world.inverter, world.board, world.current_sample, world.link_sample
        return (
            world.can_fresh, 0 if world.can_fresh else age(now, world.can_since, 2), world.danger_seen, world.line_fresh,
            0 if world.line_fresh else age(now, world.line_since, 2), age(now, seen.t, 3), seen.mode, seen.setpoint,
            current and recent(self._model, world, now) and current.value, link and link.value if world.line_fresh else None,
            -2 if world.port_open else -1 if permitted(self._model, world, now) else age(now, world.port_lost_t, 8), world.usb_fresh, 0 if world.usb_fresh else age(now, world.usb_since, 2),
            age(now, board.t, 8 if energised else 3), board.boot == world.boot, board.armed, board.held, board.pins and int(board.pins) & ALL,
            0 if world.wrong_t is None else clocks.coarse(age(now, world.wrong_t, 99), UNCONFIRMED_S), now - world.refused_t <= 3.5 and world.current, now - world.deaf_t <= 4.0 and world.current, now - world.untold_t <= 3.5 and world.current, age(now, world.late_line_t, 2), age(now, world.late_usb_t, 2),
        )  # fmt: skip

    def _agent(self, state: Supervisor, world: World, now: float, clocks: Clocks) -> tuple[Any, ...]:
        phase, drive, outputs, watch = state.phase, state.drive, state.outputs, state.watch
        where = phase.state
        programme = state.programme
        running = programme.state == "running"
        leased = now < drive.lease_until
        mismatch = world.line_fresh and (
            world.inverter.setpoint != drive.setpoint or world.inverter.mode != int(drive.mode)
        )
        closed = int(outputs.mask) & MAINS == MAINS
        latches = state.latches
        return (
            STATES[where], *self._phase(state, world, now, clocks),
            int(drive.mode), drive.setpoint, age(now, drive.changed, (8 if closed else 3) if mismatch else 1), age(now, drive.ramped, 1),
            age(now, drive.epoch_at, 3) if mismatch else 3, drive.opened == world.inverter.opened,
            (drive.manual, age(drive.lease_until, now, 9)) if leased else 0,
            drive.charge_a, drive.discharge_a,
            int(outputs.mask) & ALL, age(now, outputs.changed, self._changed), int(outputs.switched), outputs.boot == world.board.boot,
            bool(outputs.boot), age(now, outputs.wrong_since, 3),
            (programme.step, self._elapsed(programme, now, clocks)) if running
            else (programme.step, programme.elapsed_s > 1.0) if programme.state == "paused" else 0,
            state.vault.record.armed, where is State.CONNECTING and state.vault.written < state.vault.ticket, state.vault.failed, len(watch.overruns),
            None if watch.link is None else clocks.coarse(age(now, watch.link.opened, 99), LINK_WATCH_S),
            age(now, state.turned, 9) if world.agent == STALLED else 0, age(now, watch.unseen, self._wait),
            bool(latches), any(latch.level is Level.CRITICAL for latch in latches),
            clocks.coarse(age(now, watch.fine_since, 999), FINE_S) if latches else watch.fine_since is None,
            clocks.coarse(age(now, world.fine_t, 999), FINE_S) if latches else 0,
        )  # fmt: skip

    @staticmethod
    def _elapsed(programme: Programme, now: float, clocks: Clocks) -> int:
        ticks = int((programme.elapsed_s + now - programme.resumed) * PER_S)
        return clocks.coarse(ticks, *SCHEDULE_ENDS_S)

    def _phase(self, state: Supervisor, world: World, now: float, clocks: Clocks) -> tuple[Any, ...]:
        """The memory that the state under way uses, and nothing of the others."""
        phase = state.phase
        where = phase.state
        if where in {State.STOPPING, State.BOOT}:
            sample = world.current_sample
            return (
                0 if phase.step else age(now, phase.since, self._wait), phase.origin is State.BOOT, phase.step,
                age(now, phase.step_since, 9 if world.board.seq == 0 else 3) if phase.step == 2 else 0, phase.tries,
                0 if phase.step else min(phase.calm, CALM_SAMPLES), not phase.step and phase.calm_zero, not phase.step and sample is not None and phase.calm_seq == sample.seq,
                phase.mark_v if phase.step < 2 else 0,
            )  # fmt: skip
        if where is State.CONNECTING and self._rows:
            row = self._rows[phase.step]
            ticks = age(now, phase.step_since, 999)
            limits = (REST_S, int(row.limit_s)) if row.name == "rest" else (int(row.limit_s),)
            since = clocks.coarse(ticks, *limits) if row.limit_s > 10 else min(ticks, int(row.limit_s * PER_S) + 14)
            return (
                phase.step,
                since,
                world.checked if world.welded else 0,
                phase.tries,
                phase.mark_v,
                age(now, phase.held_since, 1),
            )
        if where is State.HOLD:
            return age(now, phase.since, self._hold), frozenset(phase.why)
        if where in {State.STANDBY, State.LATCHED}:
            contacts = world.pins or world.closed
            return (clocks.coarse(age(now, phase.since, 99), WELD_B_S) if contacts else age(now, phase.since, 1),)
        return ()

    def _optional(self, state: Supervisor, world: World, now: float, clocks: Clocks) -> tuple[Any, ...]:
        found: list[Any] = []
        outputs, watch = state.outputs, state.watch
        if "cooling" in self._details:
            cool = None if outputs.cool_since is None else clocks.coarse(age(now, outputs.cool_since, 9999), COOLING_S)
            found += [outputs.cooling, cool, bool(outputs.pump), bool(outputs.fan), int(outputs.mask)]
        if "broker" in self._details:
            lost = watch.broker_lost
            found.append(None if lost is None else clocks.coarse(age(now, lost, 99), BROKER_S))
        if "lease" in self._details:
            stale = state.drive.setpoint and now >= state.drive.lease_until
            found.append(age(now, world.asked_t, 14) if stale and state.programme.state != "running" else 0)
        if "pending" in self._details:
            for pending in state.pending:
                left = max(0, int((pending.until - now) * PER_S))
                if left > 2:
                    clocks._may_jump(left - 2)
                found.append((pending.target, pending.expects, min(left, 3), pending.wanted, pending.mask))
        return tuple(found)
