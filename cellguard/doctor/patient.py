"""Everything the checks look at: what the node says over the broker, what the guard says at its own door, the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellguard.doctor.finding import Finding
from cellguard.tolerant import Body, number, table, text
from cellguard.view import View

if TYPE_CHECKING:
    from edge_agent.config import EdgeConfig

_RELAYS = ("relay1", "relay2", "relay3")
_AT_REST = {"STANDBY", "LATCHED", "SERVICE"}


@dataclass(frozen=True, slots=True)
class GuardWords:
    """The guard's `status`, twice, `seconds` apart, and what was gathered between.

    Attributes:
        trouble: why it did not answer, "" when it did.
        currents_a: the inverter's current, poll by poll, while the contactors were open.
    """

    trouble: str = ""
    first: Body = field(default_factory=dict)
    last: Body = field(default_factory=dict)
    seconds: float = 0.0
    currents_a: Sequence[float] = ()

    @property
    def info(self) -> Body:
        """What the guard tells in `info`: devices, modules, what is not fail-safe."""
        return table(self.last, "info")

    def device(self, source: str) -> str:
        """What the guard says of a device's link, "" when it has none."""
        return str(table(self.info, "devices").get(source, ""))

    def heard(self, source: str) -> Body:
        """Part → readings, changes, age_s of a source; {} when it was never heard."""
        return table(table(self.last, "seen"), source)

    def risen(self, source: str, part: str, what: str) -> float:
        """By how much a count of `seen` rose while we listened."""
        return number(table(self.heard(source), part), what) - number(
            table(table(table(self.first, "seen"), source), part), what
        )

    def counters(self, source: str) -> Body:
        """The counters of a device since the guard's start."""
        return table(table(table(self.last, "health"), "counters"), source)

    def counted(self, source: str) -> dict[str, int]:
        """The counters of a device that rose while we listened, and by how much."""
        before = table(table(table(self.first, "health"), "counters"), source)
        after = self.counters(source)
        return {
            name: int(number(after, name) - number(before, name)) for name in after if after[name] != before.get(name)
        }


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks look at.

    Attributes:
        broker: its address. `trouble`: why it does not answer, "" when it does.
        view: what was heard over the broker until `now`. `deaf`: why nobody listened there, "" when somebody did.
        config: this Pi's settings; None on any other computer.
        guard: what the guard said; None when nobody asked.
        folders: what must be writable, by name.
        measured: findings of what was measured on request or with the guard's permission, by the name of their check.
    """

    broker: str
    trouble: str
    view: View
    now: float
    folders: Mapping[str, Path]
    deaf: str = ""
    config: EdgeConfig | None = None
    guard: GuardWords | None = None
    measured: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def settings(self) -> EdgeConfig:
        """This Pi's settings, for checks that run only where there are any."""
        assert self.config is not None
        return self.config

    @property
    def words(self) -> GuardWords:
        """What the guard said, for checks that run only when it did."""
        assert self.guard is not None
        return self.guard


def values(words: GuardWords, source: str, part: str, names: Sequence[str]) -> dict[str, Any]:
    """The newest values of a part by name; those that are absent or no number are left out."""
    found = table(words.heard(source), part).get("values")
    pairs = zip(names, found, strict=False) if isinstance(found, list) else ()
    return {name: value for name, value in pairs if isinstance(value, int | float)}


def contactors_open(status: Body) -> bool:
    """No relay is commanded or read back closed, and the guard does not want to close one."""
    states = table(status, "states")
    outputs = table(states, "state/outputs")
    closed = any(table(outputs, relay).get(word) for relay in _RELAYS for word in ("commanded", "readback"))
    return bool(outputs) and not closed and text(table(states, "state/safety"), "state") in _AT_REST
