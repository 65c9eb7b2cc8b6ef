"""One row of what is said about an alarm: its meaning, its cause, what to do."""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_agent.guard.model import Level


class AlarmText(NamedTuple):
    """One alarm. `id`: NN stands for two digits. `rules`: rows of the rule table that raise it; else `level` is what it says.

    `side`: 0 the low, 1 the high column of the rules.
    """

    id: str
    meaning: str
    cause: str
    remedy: str
    rules: tuple[str, ...] = ()
    side: int = 1
    level: Level | None = None

    def matches(self, alarm_id: str) -> bool:
        """Whether this row is about that alarm."""
        return re.fullmatch(re.escape(self.id).replace("NN", r"\d\d"), alarm_id) is not None
