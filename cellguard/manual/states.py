"""`docs/states.md`: the state diagram, the steps of the sequences and the matrix of commands. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edge_agent.guard.model import OUTPUT_NAMES, RELAYS, Output, State
from edge_agent.guard.safety.interface import Settings
from edge_agent.guard.safety.interlocks import COLUMNS, CONDITIONS, MATRIX, PROFILES, REASONS, A
from edge_agent.guard.safety.sequences import STOPPING, Step, connecting

TRANSITIONS: dict[tuple[State, State], str] = {
    (State.BOOT, State.STOPPING): "zero read back and no current, or T_wait over",
    (State.STOPPING, State.STANDBY): "open confirmed, nothing latched",
    (State.STOPPING, State.LATCHED): "anything latched",
    (State.STANDBY, State.CONNECTING): "contactor close",
    (State.STANDBY, State.SERVICE): "local service on",
    (State.STANDBY, State.STOPPING): "danger, estop",
    (State.SERVICE, State.STOPPING): "service off, danger, open, board lost",
    (State.CONNECTING, State.READY): "closed and read back",
    (State.CONNECTING, State.STOPPING): "a step failed, data lost, danger, open",
    (State.READY, State.RUN): "setpoint or schedule",
    (State.READY, State.HOLD): "data lost, or a rule asks for zero",
    (State.READY, State.STOPPING): "danger, open",
    (State.RUN, State.READY): "lease over, schedule done or paused",
    (State.RUN, State.HOLD): "data lost, or a rule asks for zero",
    (State.RUN, State.STOPPING): "danger, open",
    (State.HOLD, State.READY): "fresh again",
    (State.HOLD, State.STOPPING): "hold_s over, danger, open",
    (State.LATCHED, State.STANDBY): "every latch reset",
}
"""Every change of state there is and what leads to it; a test walks `step` at random and finds exactly these."""

CONDITIONS_SAY = {
    "close": "every source fresh, the commissioned modules are those of `[pack] series`; else E_STALE, E_NOT_COMMISSIONED"
    " (a danger has ended STANDBY before: E_BUSY, then E_LATCHED; a live link fails later, E_LINK_LIVE)",
    "setpoint": "within `[inverter]`'s limits and that direction not blocked; else E_LIMIT, E_BLOCKED_CHARGE,"
    " E_BLOCKED_DISCHARGE",
    "start": "the file is right, within the limits, its first direction not blocked; else E_FILE, E_LIMIT, E_BLOCKED_…",
    "resume": "a schedule is paused and its direction not blocked; else E_STATE, E_BLOCKED_…",
    "single": "no other relay on, the inverter off; else E_STATE",
    "board": "there is a board; else E_STALE",
    "cool": "not hot and nothing unknown; else E_THERMAL",
    "reset": "that latch is held, everything reads back open and every rule was fine for 30 s; else E_WRONG_LATCH,"
    " E_NOT_CONFIRMED, E_DANGER; welds and ground faults E_LOCAL_ONLY",
    "modules": "as many modules answer as `[pack] series` says; else E_NOT_COMMISSIONED",
    "known": "an alarm of that id was raised; else E_NO_ALARM",
}
"""What the conditions of the matrix ask, in words."""

_PLAIN = Settings(module_parts={}, inverter_signals=(), arduino_signals=())
_BLIND = replace(_PLAIN, link_voltage="none")
_SEQUENCES = (
    _PLAIN,
    replace(_PLAIN, precharge="inverter"),
    replace(_PLAIN, precharge="timed"),
    replace(_BLIND, precharge="inverter"),
    replace(_BLIND, precharge="timed"),
)

_HEAD = """# States

Made by `python -m cellguard.manual` from the guard's tables; a test fails when they differ.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_diagram(), *_connecting(), *_stopping(), *_matrix(), ""])


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> BOOT"
    for (source, target), why in TRANSITIONS.items():
        yield f"    {source.value} --> {target.value}: {why}"
    yield "```"
    yield "\nA danger or an emergency stop in STOPPING or LATCHED adds its latch and changes no state.\n"


def _connecting() -> Iterator[str]:
    yield "## Steps of CONNECTING\n"
    yield "Each step orders its relays and waits for its condition; over its time, or in trouble, everything opens again."
    for settings in _SEQUENCES:
        link = "no link voltage" if settings.link_voltage == "none" else "the link voltage is measured"
        yield f'\n`precharge = "{settings.precharge}"`, {link}:\n'
        yield from _steps(connecting(settings))


def _stopping() -> Iterator[str]:
    yield "\n## Steps of STOPPING\n"
    yield "Zero and mode off are ordered on entering; `zero` waits `[safety] wait_s` at most.\n"
    yield from _steps(STOPPING)


def _steps(rows: tuple[Step, ...]) -> Iterator[str]:
    yield "| step | relays | at most |"
    yield "|---|---|---|"
    for row in rows:
        yield f"| {row.name} | {_relays(row.relays)} | {f'{row.limit_s:g} s' if row.limit_s else 'wait_s'} |"


def _relays(mask: Output | None) -> str:
    if mask is None:
        return "as they are"
    closed = [name for output, name in OUTPUT_NAMES.items() if mask & RELAYS & output]
    return " + ".join(closed) or "all open"


def _matrix() -> Iterator[str]:
    yield "\n## Commands by state\n"
    yield "✓ accepted; a code is the refusal; a word in italics is a condition that decides.\n"
    yield from _table(MATRIX)
    for profile, rows in PROFILES.items():
        if rows:
            yield f"\nDifferent in profile `{profile}`:\n"
            yield from _table(rows)
    yield "\n| condition | asks |"
    yield "|---|---|"
    for name in CONDITIONS:
        yield f"| *{name}* | {CONDITIONS_SAY[name]} |"
    yield "\n| code | reason |"
    yield "|---|---|"
    for code, reason in REASONS.items():
        yield f"| {code} | {reason.replace('{state}', 'the state')} |"


def _table(rows: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield f"| command | {' | '.join(state.value for state in COLUMNS)} |"
    yield f"|---{'|---' * len(COLUMNS)}|"
    for verb, cells in rows.items():
        yield f"| {verb} | {' | '.join(map(_cell, cells))} |"


def _cell(cell: str) -> str:
    if cell == A:
        return "✓"
    return f"*{cell}*" if cell in CONDITIONS else cell
