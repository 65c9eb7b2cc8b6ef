"""Seeded defects: where in the production source, what it becomes, and which properties must notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One defect: in `module` of guard.safety the text `old`, which stands there once, becomes `new`.

    `killers`: the properties of which one must be violated first. `domain`, `kinds`, `faults`: the search that shows it; kinds
    and faults left out are the domain's own.
    """

    name: str
    module: str
    old: str
    new: str
    killers: tuple[str, ...]
    domain: str = "main"
    kinds: tuple[str, ...] = ()
    faults: int | None = None


SUPERVISOR: tuple[Mutant, ...] = (
    Mutant("boot opens without waiting for zero", "supervisor", "if not quiet and not over:", "if False:", ("P2",), kinds=("kill",)),
    Mutant(
        "boot waits for zero for ever", "supervisor",
        "over = turn.now - turn.phase.since > turn.settings.wait_s", "over = False", ("P6",), kinds=("kill", "ignores"),
    ),
    Mutant("a crash while armed is forgotten", "supervisor", "if durable.armed:", "if False:", ("P8",), kinds=("kill",)),
    Mutant("latches on disk are dropped", "supervisor", "for name in durable.latches]", "for name in ()]", ("P5",), kinds=("kill",)),
    Mutant(
        "a restored weld is only a FAULT", "supervisor",
        "Level.CRITICAL if name.startswith(UNCONFIRMED) else Level.FAULT", "Level.FAULT", ("P1", "P6"), "every tick", ("weld", "kill"), 3,
    ),
    Mutant(
        "missing data does not hold", "supervisor",
        "    if why:\n        turn.enter(State.HOLD, why=why)\n    return bool(why)", "    return False", ("P7",),
    ),
    Mutant(
        "HOLD lasts for ever", "supervisor",
        "if turn.now - turn.phase.since > turn.settings.hold_s:", "if False:", ("P7",), kinds=("can",),
    ),
    Mutant(
        "HOLD goes on to RUN by itself", "supervisor",
        'turn.enter(State.READY, why=("fresh again",))', 'turn.enter(State.RUN, why=("fresh again",))', ("P7",), kinds=("can",),
    ),
    Mutant(
        "a lease outlives HOLD", "supervisor",
        "if turn.state not in {State.RUN, State.READY} and turn.drive.lease_until > NEVER:", "if False:", ("P7",), "lease",
    ),
    Mutant(
        "a schedule runs on through HOLD", "supervisor",
        "if turn.state is State.HOLD:\n        turn.programme = paused(turn.programme, turn.now)", "if turn.state is State.HOLD:\n        pass", ("P7",), "schedule",
    ),
    Mutant(
        "a schedule outlives the opening", "supervisor",
        "elif turn.state is not State.RUN and turn.state is not State.READY:", "elif False:", ("P7",), "schedule",
    ),
    Mutant(
        "LATCHED ends by itself", "supervisor",
        "if not turn.latches and turn.phase.since < turn.now:", "if turn.phase.since < turn.now:", ("P5",), kinds=("danger",),
    ),
    Mutant("closing leaves no marker", "supervisor", "        armed = True\n", "        pass\n", ("P8", "P14"), "healthy"),
    Mutant(
        "the marker goes before the opening is confirmed", "supervisor",
        "elif turn.state in {State.STANDBY, State.LATCHED} and turn.all_open() and turn.watch.link is None:",
        "elif turn.state in {State.STOPPING, State.STANDBY, State.LATCHED}:", ("P8",), "healthy",
    ),
    Mutant(
        "the marker goes before the link has fallen", "supervisor",
        " and turn.all_open() and turn.watch.link is None:", " and turn.all_open():", ("P1", "P6"), kinds=("weld", "kill"),
    ),
    Mutant(
        "closing goes on without fresh data", "supervisor",
        "    if turn.facts.unknown:\n        turn.shut(turn.facts.unknown)\n        return\n", "", ("P7", "P9"), kinds=("can",),
    ),
)  # fmt: skip

SEQUENCES: tuple[Mutant, ...] = (
    Mutant(
        "main + closes onto any link", "sequences",
        "near = abs(link.value - pack_v) < near_v(pack_v)", "near = True", ("P3",), "healthy",
    ),
    Mutant(
        "no precharge at all", "sequences",
        '    Step("precharge", MINUS_AND_PRECHARGE, 5.0, _precharged, _precharge_late, never),\n    _PLUS',
        "    _PLUS", ("P3",), "healthy",
    ),
    Mutant(
        "precharge has half a second", "sequences",
        'Step("precharge", MINUS_AND_PRECHARGE, 5.0,', 'Step("precharge", MINUS_AND_PRECHARGE, 0.5,', ("P14",), "healthy",
    ),
    Mutant(
        "the weld check sees nothing", "sequences",
        "        if not _risen(turn):\n            return False\n", "        if True:\n            return False\n", ("P4",),
        kinds=("weld",),
    ),
    Mutant(
        "closing begins on a live link", "sequences",
        "and facts.link.value <= live_v(turn)", "", ("P4", "P14"), kinds=("weld", "link"),
    ),
    Mutant(
        "a link that stays up is no weld", "sequences",
        '        turn.shut(("the link stays up after opening",), (("relays.weld_main", Level.CRITICAL),))', "        pass",
        ("P1", "P6"), kinds=("weld",),
    ),
    Mutant(
        "a link is not watched after a crash", "sequences",
        "crashed = turn.phase.origin is State.BOOT and turn.vault.record.armed", "crashed = False", ("P1", "P6"),
        kinds=("weld", "kill"),
    ),
    Mutant(
        "any current counts as small", "turn", "return small_current_a(self.settings)", "return 1000.0", ("P2",), kinds=("stage",),
    ),
    Mutant(
        "any samples count as rest", "sequences", "    return phase.calm >= CALM_SAMPLES and", "    return True or", ("P2",),
        kinds=("stage",),
    ),
    Mutant(
        "opening does not wait for zero", "sequences",
        "return not turn.outputs.mask & RELAYS or turn.all_open() or calm(turn)", "return True", ("P2",), "healthy",
    ),
    Mutant(
        "opening waits for zero for ever", "sequences",
        "elif turn.now - turn.phase.since > turn.settings.wait_s:", "elif False:", ("P1", "P7"),
        kinds=("ignores", "stage", "danger", "can"),
    ),
    Mutant(
        "opening under load is not said", "sequences",
        "    if loaded(turn):\n", "    if False:\n", ("P2",), kinds=("ignores", "stage"),
    ),
    Mutant(
        "an opening needs no read-back", "sequences",
        "    if not turn.all_open():\n        return False\n    current, since", "    current, since", ("P4", "P6", "P1"), "every tick", ("stuck", "usb"),
    ),
    Mutant(
        "opening is repeated for ever", "sequences", "elif turn.phase.tries < RESENDS:", "elif True:", ("P1", "P4", "P6"),
        kinds=("stuck", "deaf"),
    ),
    Mutant(
        "an unconfirmed opening is not said", "sequences",
        '    else:\n        turn.latch("relays.unconfirmed", Level.CRITICAL)\n', "    else:\n", ("P1", "P4", "P6"), kinds=("stuck", "deaf"),
    ),
    Mutant(
        "an absent board after a crash is fine", "sequences",
        "if turn.vault.record.armed or turn.latches:", "if False:", ("P4", "P6"), kinds=("kill", "usb", "stuck"),
    ),
    Mutant(
        "closing does not wait for the disk", "sequences",
        "    if vault.written < vault.ticket or not vault.record.armed:\n        return False\n", "", ("P8",), kinds=("disk",),
    ),
    Mutant(
        "closed without read-back", "sequences",
        "    def done(turn: Turn) -> bool:\n        return turn.confirmed(relays)\n",
        "    def done(_turn: Turn) -> bool:\n        return True\n", ("P3", "P4"), kinds=("stuck", "deaf"),
    ),
    Mutant(
        "relay 2 stays closed", "sequences",
        'Step("open_minus", Output.NONE, 1.0', 'Step("open_minus", Output.RELAY2, 1.0', ("P14",), "healthy",
    ),
    Mutant(
        "preparing has no time for the link to bleed", "sequences",
        'Step("prepare", Output.NONE, 60.0, _ready', 'Step("prepare", Output.NONE, 0.0, _ready', ("P14",), "healthy",
    ),
)  # fmt: skip

DRIVE: tuple[Mutant, ...] = (
    Mutant(
        "a setpoint outside RUN", "drive",
        "wanted = wish(turn) if turn.state is State.RUN else None", "wanted = wish(turn)", ("P10", "P6"), "lease",
    ),
    Mutant(
        "HOLD keeps its setpoint", "drive",
        "        _order(turn, mode, 0.0)\n    elif", "        _order(turn, mode, drive.setpoint)\n    elif", ("P7", "P10"), "lease",
    ),
    Mutant(
        "a blocked direction is open", "drive",
        "0.0 if blocked else min(most, now_a + rise_a)", "min(most, now_a + rise_a)", ("P10",), "lease",
    ),
    Mutant("a fallen limit is ramped to", "drive", "if allowed != drive.setpoint:", "if False:", ("P10",), "lease"),
    Mutant(
        "a new mode begins with its setpoint", "drive",
        "_order(turn, wanted.mode, 0.0)", "_order(turn, wanted.mode, wanted.setpoint)", ("P10",), "lease",
    ),
    Mutant(
        "the inverter stays on while opening", "drive",
        "mode = drive.mode if turn.state in {State.HOLD, State.RUN} else Mode.OFF", "mode = drive.mode", ("P2", "P6", "P14"), "healthy",
    ),
    Mutant(
        "a lease never ends", "drive",
        "if now < drive.lease_until else None", "if drive.lease_until > NEVER else None", ("P10",), "lease",
    ),
)  # fmt: skip

WATCHING: tuple[Mutant, ...] = (
    Mutant("the emergency stop input is not read", "watching", "    if turn.inputs.estop:\n", "    if False:\n", ("P1",), "commands"),
    Mutant("a board reset goes unnoticed", "watching", "if closed and outputs.boot:", "if False:", ("P9",), kinds=("reset",)),
    Mutant(
        "the dead-man goes unnoticed", "watching",
        "if closed and facts.held and facts.t > outputs.changed:", "if False:", ("P9",), kinds=("deaf",),
    ),
    Mutant(
        "a silent board is waited for", "watching",
        "and turn.now - facts.t > BOARD_LOST_S", "and turn.now - facts.t > 300.0", ("P7",), "every tick", ("usb",),
    ),
    Mutant("wrong pins go unnoticed", "watching", "    elif board.t - outputs.wrong_since > (", "    elif 0.0 > (", ("P4",), kinds=("stuck",)),
    Mutant(
        "dangers do not latch", "watching",
        "turn.shut((trip.id for trip in trips), trips)", "turn.shut(trip.id for trip in trips)", ("P1",), kinds=("danger",),
    ),
    Mutant(
        "dangers count only once connected", "watching",
        "    if trips:\n", "    if trips and turn.state in CONNECTED:\n", ("P1",), kinds=("danger",),
    ),
    Mutant(
        "fine is counted through dangers", "watching",
        "if not fine and turn.watch.fine_since is not None:", "if False:", ("P1", "P5"), kinds=("danger",),
    ),
    Mutant(
        "a stopped process goes on as if nothing was", "watching",
        "if gap_s > too_late_s or len(recent) >= MANY_OVERRUNS:", "if len(recent) >= MANY_OVERRUNS:", ("P8",), kinds=("stall",),
    ),
    Mutant(
        "what it opened blindly is asked about later", "watching",
        "if gap_s > BOARD_OPENED_S and turn.reads_back:", "if turn.reads_back:", ("P2",), "every tick", ("stall", "stage"),
    ),
    Mutant(
        "a schedule does not need the broker", "watching",
        "elif turn.now - watch.broker_lost >= BROKER_PATIENCE_S and not turn.settings.autonomous:", "elif False:", ("P7",), "schedule",
    ),
)  # fmt: skip

OUTPUTS: tuple[Mutant, ...] = (
    Mutant(
        "HOLD opens under load", "outputs",
        "if turn.state in CONNECTED:", "if turn.state in CONNECTED - {State.HOLD}:", ("P2",), kinds=("can",),
    ),
    Mutant("cooling is not started", "outputs", "if heat == HOT:", "if heat > HOT:", ("P11",), "cooling"),
    Mutant("the fan is forgotten", "outputs", "Output(pump * PUMP | fan * FAN)", "Output(pump * PUMP)", ("P11",), "cooling"),
    Mutant("BOOT feeds the board", "core", "feed = self._state.phase.state is not State.BOOT", "feed = True", ("P2", "P6"), kinds=("kill",)),
)  # fmt: skip

COMMANDS: tuple[Mutant, ...] = (
    Mutant(
        "an emergency stop does not latch", "commands",
        '    turn.shut((f"emergency stop by {command.actor}",), (("estop", Level.DANGER),))',
        '    turn.shut((f"emergency stop by {command.actor}",))', ("P1",), "commands",
    ),
    Mutant(
        "open is only answered", "commands",
        '    if turn.state not in {State.STANDBY, State.LATCHED}:\n        turn.shut((f"opened by', '    if False:\n        turn.shut((f"opened by',
        ("P1",), "healthy",
    ),
    Mutant(
        "close starts again while closed", "commands",
        "    if turn.state is State.STANDBY:\n        turn.outputs", "    if True:\n        turn.outputs", ("P2", "P9"), "commands",
    ),
    Mutant(
        "a reset takes every latch", "commands",
        "tuple(latch for latch in turn.latches if latch.id != name)", "()", ("P5",), "commands",
    ),
    Mutant(
        "pause is never answered", "commands",
        '    turn.programme = paused(turn.programme, turn.now)\n    expect(turn, command, "zero")',
        "    turn.programme = paused(turn.programme, turn.now)", ("P12",), "commands",
    ),
    Mutant(
        "three seconds of fine rules are enough", "interlocks",
        "FINE_BEFORE_RESET_S = 30.0", "FINE_BEFORE_RESET_S = 3.0", ("P5",), kinds=("danger",),
    ),
    Mutant("a reset needs no open relays", "interlocks", "if not turn.all_open():", "if False:", ("P4", "P5"), kinds=("stuck", "danger")),
    Mutant(
        "a weld is reset from afar", "interlocks",
        "if name.startswith(LOCAL_LATCHES) and not command.local:", "if False:", ("P5",), "commands",
    ),
    Mutant(
        "a reset is possible while opening", "interlocks",
        '"E_STATE", "E_BUSY", "reset", A),\n    "alarm.ack"', '"E_STATE", "reset", "reset", A),\n    "alarm.ack"', ("P5",), "commands",
    ),
    Mutant(
        "two relays at once in SERVICE", "interlocks",
        "if any(turn.outputs.switched & RELAYS & OUTPUT_BITS[name] for name in others):", "if False:", ("P3",), "service",
    ),
    Mutant(
        "an uncommissioned pack closes", "interlocks",
        "if roster is None or len(roster) != settings.series:", "if False:", ("P9",), "uncommissioned",
    ),
    Mutant(
        "commands from afar need no window", "interlocks",
        "if verb in ENERGISING and not command.local and not _window_open(turn):", "if False:", ("P9",), "local only",
    ),
)  # fmt: skip

ANSWERS: tuple[Mutant, ...] = (
    Mutant(
        "an answer is given again and again", "waiting",
        "            turn.answer(pending, status, **more)\n", "            turn.answer(pending, status, **more)\n            left.append(pending)\n",
        ("P12",), "healthy",
    ),
    Mutant("an effect is waited for without end", "waiting", "elif turn.now > pending.until:", "elif False:", ("P12",), "commands"),
    Mutant(
        "done without accepted", "waiting",
        "    accept(turn, command)\n    turn.answer(Pending(", "    turn.answer(Pending(", ("P12",), "commands",
    ),
)  # fmt: skip

MUTANTS = (*SUPERVISOR, *SEQUENCES, *DRIVE, *WATCHING, *OUTPUTS, *COMMANDS, *ANSWERS)
