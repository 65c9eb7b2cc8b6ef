"""A random trace through the production rule engine and through the slow oracle: after every sample both must say the same."""

from __future__ import annotations

import random

from edge_agent.guard.model import Level, Mode, NoData, Reading
from edge_agent.guard.safety.engine import Engine, Situation
from edge_agent.guard.safety.interface import Settings
from tests.evidence.lab import lab_settings
from tests.evidence.oracle import Row, Stream

CELLS = 2
GAPS_S = (0.05, 0.2, 0.2, 0.2, 0.21, 0.19, 0.4, 0.7)
LONGEST = 32
_SETTINGS: list[Settings] = []


def settings() -> Settings:
    """One module of two cells, so that a trace meets its few signals often; pressure with limits."""
    if not _SETTINGS:
        pressure = {"warning": (20.0, 120.0), "danger": (10.0, 140.0)}
        _SETTINGS.append(
            lab_settings(pack={"series": 1, "cells": CELLS}, can={"modules": 1}, limits={"pressure": pressure})
        )
    return _SETTINGS[0]


class Trace:
    """An engine, an oracle, and the dice that make up what they see."""

    def __init__(self, seed: object) -> None:
        self.dice = random.Random(f"trace {seed}")
        self.now = 100.0
        self.engine = Engine(settings(), self.now)
        self.closed = self.opened = False
        self.streams: dict[str, Stream] = {}
        self.said: list[object] = []

    def run(self) -> None:
        """Raises AssertionError with everything that was seen at the first difference."""
        for _ in range(self.dice.randint(8, LONGEST)):
            self.now += self.dice.choice(GAPS_S)
            self.gates()
            self.sample()
            self.engine.tick(Situation(self.closed, self.opened, None, Mode.OFF, 0.0), self.now)
            self.engine.facts()
            self.late()
            ours = {active.id: active.level for active in self.engine.actives}
            theirs = self.expected()
            assert ours == theirs, (self.now, ours, theirs, self.said)

    def gates(self) -> None:
        """Sometimes the relays move."""

    def sample(self) -> None:
        raise NotImplementedError

    def late(self) -> None:
        """What follows from the alarms themselves."""

    def rows(self) -> list[Row]:
        return [row for stream in self.streams.values() for row in stream.rows]

    def expected(self) -> dict[str, Level]:
        levels: dict[str, Level] = {}
        for row in self.rows():
            if row.active:
                levels[row.alarm] = max(row.level, levels.get(row.alarm, Level.OK))
        return levels

    def feed(self, reading: Reading | NoData) -> None:
        self.said.append(reading)
        self.engine.feed(reading)

    def walk(self, name: str, good: float, edges: tuple[float, ...]) -> float:
        """Mostly stays where it is; else jumps to somewhere near an edge, or back to what is good."""
        kept: dict[str, float] = self.__dict__.setdefault("kept", {})
        roll = self.dice.random()
        if name not in kept or roll < 0.12:
            kept[name] = good
        elif roll < 0.3:
            kept[name] = self.dice.choice(edges)
        return kept[name]
