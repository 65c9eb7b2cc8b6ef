"""What a running guard takes over of changed settings, and what only a restart loads. Pure but for reading the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_agent.config import EdgeConfig, fingerprint
from edge_agent.guard.codecs.dbc_text import read
from edge_agent.guard.core_settings import Bus, core_settings, dbc_path
from edge_agent.guard.safety.interface import Reload
from shared.errors import ConfigError

SECTIONS = frozenset({"limits", "safety", "cooling", "commands"})
KEYS = frozenset({("schedule", "autonomous")})
"""All that is used by nobody but the safety core; devices and link are built from the rest."""


def reloader(running: EdgeConfig, bus: Bus, load: Callable[[], EdgeConfig]) -> Callable[[], Reload]:
    """How a guard that was started with `running` reads its settings again.

    The function returned raises ConfigError when they are wrong, or when something changed that needs a restart.
    """

    def reread() -> Reload:
        wanted = load()
        if changed := [*needs_restart(running, wanted), *_other_dbc(wanted, bus)]:
            allowed = ", ".join([*(f"[{name}]" for name in sorted(SECTIONS)), *(f"[{one}] {key}" for one, key in KEYS)])
            raise ConfigError(
                ", ".join(changed), "changed", f"reload takes over {allowed}; restart the guard for the rest"
            )
        return Reload(core_settings(wanted, bus), fingerprint(wanted))

    return reread


def needs_restart(running: EdgeConfig, wanted: EdgeConfig) -> Iterator[str]:
    """The keys that differ and that are not the safety core's alone."""
    before, after = running.model_dump(mode="json"), wanted.model_dump(mode="json")
    for section in sorted(set(after) - SECTIONS):
        old, new = before[section], after[section]
        if not isinstance(old, dict) or not isinstance(new, dict):
            yield from [f"[{section}]"] * (old != new)
            continue
        for key in new:
            if (section, key) not in KEYS and old.get(key) != new[key]:
                yield f"[{section}] {key}"


def _other_dbc(wanted: EdgeConfig, bus: Bus) -> Iterator[str]:
    if read(dbc_path(wanted)).sha != bus.sha:
        yield f"the file {dbc_path(wanted)}"
