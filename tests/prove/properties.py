"""P1 to P12 of the safety page as functions of one transition; each returns what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.guard.model import RELAYS, Level, Mode, Output, State
from edge_agent.guard.safety.state import Supervisor
from tests.prove.edges import NOTHING, REST, Edge
from tests.prove.plant import ALL, DEAD, LIVE, MAINS, R1, R2, STALLED, TICK_S

SLACK_S = TICK_S
OPEN_B_S = 3.5 + SLACK_S
OPEN_WELDED_S = 15.5 + SLACK_S
OPEN_STUCK_S = 8.5 + SLACK_S
AFTER_DEADMAN_S = 0.5 + SLACK_S
OPEN_LOST_S = 5.0
"""on top of hold_s"""
UNCONFIRMED_S = 9.0
REST_OPEN_S = 4.0
BOOT_ENDS_S = 8.0
FINE_S = 30.0
BOARD_LOST_S = 3.0 + SLACK_S
BROKER_S = 10.0 + SLACK_S
GAP_S = 1.0
ENERGISING = frozenset({
    "close", "discharge", "charge", "power", "start", "resume", "relay 1 on", "relay 2 on", "relay 3 on", "reset",
    "reset remotely",
})  # fmt: skip
CLOSING = frozenset({State.CONNECTING, State.SERVICE})
CONNECTED = frozenset({State.READY, State.RUN, State.HOLD})
ENERGISED = CONNECTED | {State.CONNECTING}
SHUT = frozenset({State.BOOT, State.STOPPING, State.LATCHED})
LOCAL_ONLY = ("relays.weld", "arduino.ground_fault")
FINAL = frozenset({"done", "failed", "expired"})
FIRST = frozenset({"accepted", "rejected"})


def critical(state: Supervisor) -> bool:
    """Whether the agent says that its protection was not confirmed."""
    return any(latch.level is Level.CRITICAL for latch in state.latches)


def relays(state: Supervisor | None) -> int:
    """The relays it orders closed."""
    return 0 if state is None else int(state.outputs.mask) & ALL


def _for(t: float | None, now: float) -> float:
    return -1.0 if t is None else now - t


def p1(edge: Edge) -> str:
    """Danger held → open within B, or CRITICAL; a dead agent's circuit opens by the dead-man."""
    state, world, now = edge.after
    deaf = _unheeded(edge)
    if deaf or not world.closed:
        return deaf
    if edge.before.now == now:
        return ""
    if state is None or world.agent != LIVE or state.phase.state is State.BOOT:
        hardware_fails = world.pins_stuck or world.welded & MAINS
        if now - world.live_t > edge.model.deadman_s + AFTER_DEADMAN_S and not hardware_fails:
            return f"closed {now - world.live_t:g} s after an agent last acted"
        return ""
    stuck = world.pins_stuck or edge.before.world.pins_stuck
    unheard = world.usb_cut or world.deaf or now - world.deaf_t <= edge.model.deadman_s
    limit_s = OPEN_WELDED_S if world.welded & MAINS == MAINS else OPEN_STUCK_S if stuck or unheard else OPEN_B_S
    if _for(world.danger_t, now) > limit_s and not critical(state) and not world.excused:
        return f"danger for {_for(world.danger_t, now):g} s, the circuit is closed and nothing is CRITICAL"
    return ""


def _unheeded(edge: Edge) -> str:
    """Every danger latches and shuts at once, and so does every order to open."""
    state = edge.after.state
    if state is None or edge.told is NOTHING:
        return ""
    held = {latch.id for latch in state.latches}
    wanted = {trip.id for trip in edge.facts.trips}
    accepted = {answer.target for answer in edge.decision.answers if answer.status == "accepted"}
    if edge.told.estop or "estop" in accepted:
        wanted.add("estop")
    if not wanted <= held:
        return f"not latched: {', '.join(sorted(wanted - held))}"
    ordered = "estop" in accepted or any(command.body.get("action") == "open" for command in edge.asked)
    if (wanted or ordered) and state.phase.state not in SHUT | {State.STANDBY}:
        return f"ordered open, but {state.phase.state.value}"
    return ""


def p2(edge: Edge) -> str:
    """No relay is opened under load unless the inverter refuses zero past T_wait."""
    if not edge.broken:
        return ""
    world, now = edge.before.world, edge.after.now
    within_s = edge.model.settings.wait_s + 2 * TICK_S
    # nobody told it zero, and it has no timer that would
    untold = world.line_cut or world.agent != LIVE or now - world.untold_t <= within_s
    refuses = (
        world.ignores
        or world.stage_stuck
        or now - world.refused_t <= within_s
        or (untold and not edge.model.comm_timer)
    )
    if edge.broken == "reset":
        return ""
    if edge.broken == "deadman":
        apart = not edge.model.comm_timer or now - world.deaf_t <= edge.model.deadman_s + SLACK_S or world.deaf
        return "" if refuses or apart else "the dead-man opened under load"
    waited_s = _for(world.zero_t, now)
    if refuses and waited_s >= edge.model.settings.wait_s:
        state = edge.after.state
        return "" if state is None or critical(state) else "opened under load without saying so"
    return f"opened under load by {edge.broken}, zero ordered {waited_s:g} s before, inverter {'refuses' if refuses else 'obeys'}"


def p3(edge: Edge) -> str:
    """Main + never closes onto an uncharged link."""
    world = edge.before.world
    if edge.model.settings.precharge != "measured" or world.welded or not edge.closing & R1:
        return ""
    if edge.after.world.pins & R2 and world.link < edge.model.link_full:
        return f"relay 1 closed at link level {world.link} of {edge.model.link_full}"
    return ""


def p4(edge: Edge) -> str:
    """An unconfirmed relay → CRITICAL and latched."""
    state, world, now = edge.after
    before = edge.before.state
    if state is None or edge.told is NOTHING:
        return ""
    if before is not None and before.phase.state is not State.READY and state.phase.state is State.READY:
        return _unconfirmed_ready(edge)
    wrong_s = _for(world.wrong_t, now)
    if wrong_s > UNCONFIRMED_S and not (critical(state) and state.phase.state in SHUT):
        return f"pins differ from the order for {wrong_s:g} s without CRITICAL"
    return ""


def _unconfirmed_ready(edge: Edge) -> str:
    """READY needs the closed mask read back; a relay that was welded before must have been found."""
    settings, world, before = edge.model.settings, edge.after.world, edge.before.state
    if (
        settings.profile != "contactor"
        or before is None
        or settings.arduino is None
        or settings.arduino.protocol == "v1"
    ):
        return ""
    if before.phase.state is not State.RUN and (world.board.pins is None or int(world.board.pins) & ALL != MAINS):
        return "READY without the closed relays read back"
    if before.phase.state is State.CONNECTING and world.checked and settings.link_voltage != "none":
        return f"READY although relays {world.checked:#x} were welded before"
    return ""


def p5(edge: Edge) -> str:
    """A latch is left only by a valid reset that names it, and survives in the record."""
    before, after, world = edge.before.state, edge.after.state, edge.after.world
    if after is None:
        return ""
    if before is None:
        lost = set(world.record.latches) - {latch.id for latch in after.latches}
        return f"not held after the restart: {', '.join(sorted(lost))}" if lost else ""
    if edge.told is NOTHING:
        return ""
    ids = {latch.id for latch in after.latches}
    if set(after.vault.record.latches) != ids:
        return "the record does not hold the latches"
    if ids and after.phase.state not in SHUT:
        return f"latched, but {after.phase.state.value}"
    lost = {latch.id for latch in before.latches} - ids
    return _unlatched(edge, lost) if lost else ""


def _unlatched(edge: Edge, lost: set[str]) -> str:
    named = {
        command.body.get("latch"): command for command in edge.asked if command.body.get("action") == "reset_latch"
    }
    if not lost <= set(named):
        return f"left without a reset naming it: {', '.join(sorted(lost - set(named)))}"
    world, now, before = edge.after.world, edge.after.now, edge.before.state
    if before is not None and before.phase.state is not State.LATCHED:
        return f"left in {before.phase.state.value}"
    if edge.facts.trips or edge.facts.unknown or _for(world.fine_t, now) < FINE_S:
        return f"left after {max(0.0, _for(world.fine_t, now)):g} s of fine rules"
    if world.board.pins is None or world.board.pins & RELAYS or world.board.t < now - 1.0:
        return "left without the open relays read back"
    remote = [name for name in lost if name.startswith(LOCAL_ONLY) and not named[name].local]
    return f"left remotely: {', '.join(remote)}" if remote else ""


def p6(edge: Edge) -> str:
    """STANDBY and LATCHED: nothing closed, or CRITICAL. BOOT orders zero, feeds nothing, and ends."""
    state, world, now = edge.after
    if state is None or edge.told is NOTHING:
        return ""
    where = state.phase.state
    if where is State.BOOT and (state.drive.mode is not Mode.OFF or state.drive.setpoint or relays(state)):
        return "BOOT orders something else than zero"
    if where is State.BOOT and _for(world.started_t, now) > edge.model.settings.wait_s + 1.0:
        return f"BOOT for {_for(world.started_t, now):g} s without opening"
    if _for(world.started_t, now) > BOOT_ENDS_S + SLACK_S:
        return f"not up {_for(world.started_t, now):g} s after the start"
    if where in REST:
        return _at_rest(edge)
    return ""


def _at_rest(edge: Edge) -> str:
    state, world, now = edge.after
    assert state is not None
    if relays(state):
        return f"{state.phase.state.value} orders relays closed"
    rest_s = now - state.phase.since
    if state.drive.setpoint or state.drive.mode is not Mode.OFF:
        return f"{state.phase.state.value} drives the inverter"
    if world.pins and rest_s > REST_OPEN_S and not critical(state):
        return f"pins closed in {state.phase.state.value} for {rest_s:g} s, nothing CRITICAL"
    seen = edge.facts.link is not None or edge.model.settings.link_voltage == "none"
    if world.closed and seen and rest_s > OPEN_WELDED_S and not critical(state) and not world.excused:
        return f"circuit closed in {state.phase.state.value} for {rest_s:g} s, nothing CRITICAL"
    return ""


def p7(edge: Edge) -> str:
    """A required source lost → zero at once, then open within B'; RUN only by a command."""
    before, (state, world, now) = edge.before.state, edge.after
    if state is None or edge.told is NOTHING:
        return ""
    facts = edge.facts
    if (facts.unknown or facts.zero) and state.drive.setpoint:
        return "a setpoint without fresh data"
    where, settings = state.phase.state, edge.model.settings
    if (
        where in ENERGISED
        and settings.arduino is not None
        and now - world.board.t > BOARD_LOST_S
        and world.board.pins is not None
    ):
        return f"{where.value}, the board silent for {now - world.board.t:g} s"
    if _for(world.broker_t, now) > BROKER_S and state.programme.state == "running" and not settings.autonomous:
        return f"a schedule runs {_for(world.broker_t, now):g} s after the broker went"
    # a board that does not hear opens by its dead-man
    limit_s = (
        settings.hold_s
        + OPEN_LOST_S
        + (edge.model.deadman_s if world.usb_cut or world.deaf or world.pins_stuck else 0.0)
    )
    if world.closed and _for(world.lost_t, now) > limit_s and not world.welded & MAINS and not critical(state):
        return f"closed {_for(world.lost_t, now):g} s after a source was lost"
    if (
        before is not None
        and before.phase.state is not State.RUN
        and state.phase.state is State.RUN
        and not world.asked
    ):
        return "RUN without a command since the last stop"
    return ""


def p8(edge: Edge) -> str:
    """A crash while connected comes back LATCHED: the marker is durable before a relay closes."""
    before, (state, world, now) = edge.before, edge.after
    if state is None:
        return ""
    if before.state is None:
        return (
            "it crashed with relays ordered closed and comes back unlatched"
            if before.world.crashed and not state.latches
            else ""
        )
    gap_s = now - before.state.turned
    if (
        GAP_S < gap_s < float("inf")
        and before.state.phase.state in ENERGISED
        and not state.latches
        and edge.told is not NOTHING
    ):
        return f"nothing was judged for {gap_s:g} s, and no latch"
    connected = state.phase.state in ENERGISED
    if connected and relays(state) and not (world.record.armed and state.vault.record.armed):
        return "relays ordered closed before the marker was durable"
    if before.state.vault.record.armed and not state.vault.record.armed and (world.pins or relays(state)):
        return "the marker is taken away while relays are closed"
    return ""


def p9(edge: Edge) -> str:
    """A relay closes only in a closing step of a live agent, never onto a danger."""
    before, state = edge.before.state, edge.after.state
    closed = _closes(edge, before) if edge.closing else ""
    if closed or state is None or before is None or edge.told is NOTHING:
        return closed
    if edge.model.settings.energise == "local" and _remotely(edge):
        return f"{_remotely(edge)} accepted from afar"
    return _kept(edge, before, state) or _orders_closed(edge, before, state)


def _closes(edge: Edge, before: Supervisor | None) -> str:
    if before is None or edge.before.world.agent in {DEAD, STALLED} or edge.closing & ~relays(before):
        return "a relay closed that no live agent orders closed"
    if before.phase.state not in CLOSING and edge.model.settings.profile != "switch":
        return f"a relay closed in {before.phase.state.value}"
    return ""


def _kept(edge: Edge, before: Supervisor, state: Supervisor) -> str:
    """A board that has forgotten its mask, or opened by itself, is never told the old one again."""
    old, seen = edge.before.world.board, edge.after.world.board
    opened = seen.pins is not None and not seen.pins & RELAYS
    forgot = (old.boot and seen.boot != old.boot) or (seen.held and not old.held)
    kept = relays(before) and relays(state) and opened and forgot
    return "an old mask is kept for a board that has opened" if kept else ""


def _orders_closed(edge: Edge, before: Supervisor, state: Supervisor) -> str:
    rising = relays(state) & ~relays(before)
    if not rising or edge.model.settings.profile == "switch":
        return ""
    if state.phase.state not in CLOSING:
        return f"a relay is ordered closed in {state.phase.state.value}"
    if state.latches or edge.facts.trips:
        return "a relay is ordered closed onto a danger"
    if state.phase.state is State.CONNECTING and edge.facts.unknown:
        return "a relay is ordered closed without fresh data"
    if state.phase.state is State.CONNECTING and state.vault.record.roster is None:
        return "a relay is ordered closed, and no module is commissioned"
    return ""


def _remotely(edge: Edge) -> str:
    """An energising command that came over the network and was accepted."""
    remote = {command.id for command in edge.asked if not command.local and command.id.partition("@")[0] in ENERGISING}
    return next(
        (answer.id for answer in edge.decision.answers if answer.id in remote and answer.status == "accepted"), ""
    )


def p10(edge: Edge) -> str:
    """A setpoint other than 0 only in RUN, inside what is allowed."""
    state = edge.after.state
    if state is None or not state.drive.setpoint or edge.told is NOTHING:
        return ""
    if state.phase.state is not State.RUN:
        return f"setpoint {state.drive.setpoint:g} in {state.phase.state.value}"
    if edge.facts.charge and state.drive.setpoint < 0:
        return "charging although it is blocked"
    if edge.facts.discharge and state.drive.setpoint > 0:
        return "discharging although it is blocked"
    if edge.before.state is not None and state.drive.mode is not edge.before.state.drive.mode:
        return "a new mode begins with a setpoint"
    world, now, inverter = edge.after.world, edge.after.now, edge.model.settings.inverter
    if inverter is not None and state.programme.state != "running" and now - world.asked_t > inverter.lease_s + SLACK_S:
        return f"a setpoint {now - world.asked_t:g} s after the last command"
    return ""


def p11(edge: Edge) -> str:
    """Cooling is on whenever hot or unknown."""
    state = edge.after.state
    cooling = Output.PUMP | Output.FAN
    if state is None or edge.told is NOTHING or edge.facts.heat != 2:
        return ""
    return "" if state.outputs.mask & cooling == cooling else "hot or unknown without cooling"


def p12(edge: Edge) -> str:
    """Each command is answered once first, and once more at its end."""
    before, state, now = edge.before.state, edge.after.state, edge.after.now
    if state is None or before is None or edge.told is NOTHING:
        return ""
    waiting = [pending.id for pending in before.pending]
    answers = edge.decision.answers
    ended = [answer.id for answer in answers if answer.status in FINAL]
    first = [answer.id for answer in answers if answer.status in FIRST]
    if sorted(first) != sorted(command.id for command in edge.asked):
        return f"first answers {first}"
    accepted = [answer.id for answer in answers if answer.status == "accepted"]
    left = [pending.id for pending in state.pending]
    if sorted([*ended, *left]) != sorted([*waiting, *accepted]):
        return f"waiting {waiting} + accepted {accepted}, but ended {ended} + still waiting {left}"
    overdue = [pending.id for pending in state.pending if now > pending.until]
    return f"overdue: {overdue}" if overdue else ""


PROPERTIES: dict[str, Callable[[Edge], str]] = {
    "P1": p1, "P2": p2, "P3": p3, "P4": p4, "P5": p5, "P6": p6, "P7": p7, "P8": p8, "P9": p9, "P10": p10, "P11": p11,
    "P12": p12,
}  # fmt: skip
