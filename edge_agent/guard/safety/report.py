"""The bodies of `state/safety`, `state/outputs`, `state/schedule` and `degraded`, built only when an ingredient moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_agent.guard.model import OUTPUT_NAMES, Level
from edge_agent.guard.safety.facts import Facts
from edge_agent.guard.safety.freshness import Freshness
from edge_agent.guard.safety.interface import Settings
from edge_agent.guard.safety.schedule import elapsed_s
from edge_agent.guard.safety.state import NEVER, Supervisor

Body = dict[str, object]


class Picture(NamedTuple):
    """Everything the bodies are made of."""

    settings: Settings
    state: Supervisor
    facts: Facts
    worst: Level
    freshness: Freshness
    now: float


class Report(NamedTuple):
    """One topic: what it depends on, cheap to compare, and how it is written."""

    ingredients: Callable[[Picture], object]
    body: Callable[[Picture], Body]


def _safety_ingredients(picture: Picture) -> object:
    state, facts = picture.state, picture.facts
    return (
        state.phase.state, state.latches, state.watch.window_until, picture.worst, facts.unknown, facts.zero, facts.trips,
        facts.charge, facts.discharge,
    )  # fmt: skip


def _safety(picture: Picture) -> Body:
    state, facts = picture.state, picture.facts
    latches = [latch.id for latch in state.latches]
    present = (*(trip.id for trip in facts.trips), *facts.unknown, *facts.zero)
    body: Body = {
        "state": state.phase.state.value,
        "level": picture.worst.name,
        "latches": latches,
        "blocked": {
            "charge": list(facts.charge),
            "discharge": list(facts.discharge),
            "close": list(dict.fromkeys((*latches, *present))),
        },
        "profile": picture.settings.profile,
        "energise": picture.settings.energise,
    }
    if state.watch.window_until > NEVER:
        body["armed_until_mono_us"] = round(state.watch.window_until * 1e6)
    return body


def _outputs(picture: Picture) -> Body:
    """A read-back is null where nothing reads back."""
    pins, outputs = picture.facts.board.pins, picture.state.outputs
    return {
        name: {
            "commanded": int(bool(outputs.mask & output)),
            "readback": None if pins is None else int(bool(pins & output)),
            "by": by,
        }
        for (output, name), by in zip(OUTPUT_NAMES.items(), outputs.by, strict=True)
    }


def _schedule_ingredients(picture: Picture) -> object:
    """Of a schedule that runs only the elapsed seconds move: once a second is enough for them."""
    programme = picture.state.programme
    running = programme.state == "running"
    return programme, int(picture.now - programme.resumed) if running else 0


def _schedule(picture: Picture) -> Body:
    """`step` counts from 1 within its round, `round` from 1."""
    programme = picture.state.programme
    file = programme.file
    if file is None:
        nothing = dict.fromkeys(("step", "steps", "round", "rounds"), 0)
        return {"state": "idle", "file": None, **nothing, "elapsed_s": 0.0, "setpoint": 0.0, "unit": None}
    return {
        "state": programme.state,
        "file": file.name,
        "step": programme.step + 1,
        "steps": len(file.steps),
        "round": programme.round + 1,
        "rounds": programme.rounds,
        "elapsed_s": round(elapsed_s(programme, picture.now), 1),
        "setpoint": file.steps[programme.step].setpoint if programme.state == "running" else 0.0,
        "unit": file.unit,
    }


def _degraded_ingredients(picture: Picture) -> object:
    """Silence at the start becomes an alarm only after a while, so time itself is an ingredient then."""
    patient = picture.freshness.patient(picture.now)
    return picture.freshness.version, patient, picture.state.vault.failed


def _degraded(picture: Picture) -> Body:
    failed = picture.state.vault.failed
    return {"why": [*picture.freshness.sentences(picture.now), *([f"latch file: {failed}"] if failed else [])]}


REPORTS = {
    "state/safety": Report(_safety_ingredients, _safety),
    "state/outputs": Report(lambda picture: (picture.state.outputs, picture.facts.board.pins), _outputs),
    "state/schedule": Report(_schedule_ingredients, _schedule),
    "degraded": Report(_degraded_ingredients, _degraded),
}


class Reporter:
    """Remembers what was said last."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[object, Body]] = {}

    def changed(self, picture: Picture) -> dict[str, Body]:
        """The bodies that differ from those said last."""
        found: dict[str, Body] = {}
        for topic, report in REPORTS.items():
            ingredients = report.ingredients(picture)
            before, old = self._said.get(topic, (None, None))
            if before == ingredients and old is not None:
                continue
            body = report.body(picture)
            self._said[topic] = (ingredients, body)
            if body != old:
                found[topic] = body
        return found


def everything(picture: Picture) -> dict[str, Body]:
    """All bodies, for a link that has just connected."""
    return {topic: report.body(picture) for topic, report in REPORTS.items()}
