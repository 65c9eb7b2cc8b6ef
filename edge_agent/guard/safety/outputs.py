"""What the board is told: relays by state and step, pump and fan by hand or by heat, and who wanted each."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.guard.model import OUTPUT_NAMES, RELAYS, Output, State
from edge_agent.guard.safety.sequences import MAIN, relays_wanted
from edge_agent.guard.safety.turn import CONNECTED, Turn

COOLING_AFTER_S = 300.0
HOT, COOL = 2, 0
PUMP, FAN = int(Output.PUMP), int(Output.FAN)


def settle(turn: Turn) -> None:
    """Work out the mask of this turn."""
    _cool(turn)
    outputs = turn.outputs
    relays = _relays(turn)
    pump, fan = (bool(by) or outputs.cooling for by in (outputs.pump, outputs.fan))
    if int(relays) | pump * PUMP | fan * FAN == int(outputs.mask):
        return
    mask = relays | Output(pump * PUMP | fan * FAN)
    by = tuple(
        _by(turn, name) if (mask ^ outputs.mask) & output else old
        for (output, name), old in zip(OUTPUT_NAMES.items(), outputs.by, strict=True)
    )
    _tell(turn, mask, by)
    turn.outputs = replace(turn.outputs, mask=mask, by=by, changed=turn.now)


def _tell(turn: Turn, mask: Output, by: tuple[str, ...]) -> None:
    for (output, name), who in zip(OUTPUT_NAMES.items(), by, strict=True):
        if (mask ^ turn.outputs.mask) & output:
            turn.events.append({"kind": "output", "output": name, "commanded": int(bool(mask & output)), "by": who})


def _by(turn: Turn, name: str) -> str:
    outputs = turn.outputs
    if name in {"pump", "fan"}:
        by_hand: str = getattr(outputs, name)
        return by_hand or ("cooling" if outputs.cooling or not outputs.closer else outputs.closer)
    return outputs.closer if turn.state is not State.STOPPING else "shutdown"


def _relays(turn: Turn) -> Output:
    if turn.settings.profile == "switch":
        shut = turn.state in {State.BOOT, State.STOPPING, State.LATCHED}
        return Output.NONE if shut else turn.outputs.switched
    if turn.state in CONNECTED:
        return MAIN
    if turn.state in {State.CONNECTING, State.STOPPING}:
        return relays_wanted(turn)
    return turn.outputs.switched & RELAYS if turn.state is State.SERVICE else Output.NONE


def _cool(turn: Turn) -> None:
    """On at once when hot or unknown; off after five minutes of cool."""
    outputs, heat = turn.outputs, turn.facts.heat
    if heat == HOT:
        if not outputs.cooling or outputs.cool_since is not None:
            turn.outputs = replace(outputs, cooling=True, cool_since=None)
    elif heat != COOL:
        if outputs.cool_since is not None:
            turn.outputs = replace(outputs, cool_since=None)
    elif outputs.cooling:
        if outputs.cool_since is None:
            turn.outputs = replace(outputs, cool_since=turn.now)
        elif turn.now - outputs.cool_since >= COOLING_AFTER_S:
            turn.outputs = replace(outputs, cooling=False, cool_since=None)
