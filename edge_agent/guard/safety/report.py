"""The bodies of `state/safety`, `state/outputs`, `state/schedule` and `degraded`, without their time."""

from __future__ import annotations

from edge_agent.guard.model import OUTPUT_NAMES, Level
from edge_agent.guard.safety.facts import Facts
from edge_agent.guard.safety.interface import Settings
from edge_agent.guard.safety.schedule import elapsed_s
from edge_agent.guard.safety.state import NEVER, Supervisor

Body = dict[str, object]


def safety(settings: Settings, state: Supervisor, facts: Facts, worst: Level) -> Body:
    """`state/safety`."""
    latches = [latch.id for latch in state.latches]
    held = (*facts.unknown, *facts.zero)
    body: Body = {
        "state": state.phase.state.value,
        "level": worst.name,
        "latches": latches,
        "blocked": {
            "charge": list(facts.charge),
            "discharge": list(facts.discharge),
            "close": list(dict.fromkeys((*latches, *(trip.id for trip in facts.trips), *held))),
        },
        "profile": settings.profile,
        "energise": settings.energise,
    }
    if state.watch.window_until > NEVER:
        body["armed_until_mono_us"] = round(state.watch.window_until * 1e6)
    return body


def outputs(state: Supervisor, facts: Facts) -> Body:
    """`state/outputs`; a read-back is null where nothing reads back."""
    pins, mask = facts.board.pins, state.outputs.mask
    return {
        name: {
            "commanded": int(bool(mask & output)),
            "readback": None if pins is None else int(bool(pins & output)),
            "by": by,
        }
        for (output, name), by in zip(OUTPUT_NAMES.items(), state.outputs.by, strict=True)
    }


def schedule(state: Supervisor, now: float) -> Body:
    """`state/schedule`; `step` counts from 1."""
    programme = state.programme
    file = programme.file
    if file is None:
        return {"state": "idle", "file": None, "step": 0, "steps": 0, "elapsed_s": 0.0, "setpoint": 0.0, "unit": None}
    running = programme.state == "running"
    return {
        "state": programme.state,
        "file": file.name,
        "step": programme.step + 1,
        "steps": len(file.steps),
        "elapsed_s": round(elapsed_s(programme, now), 1),
        "setpoint": file.steps[programme.step].setpoint if running else 0.0,
        "unit": file.unit,
    }
