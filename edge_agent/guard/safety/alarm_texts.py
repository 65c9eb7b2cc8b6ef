"""Every alarm the guard can raise and what is said about it: `docs/alarms.md` is made from these rows."""

from __future__ import annotations

from edge_agent.guard.safety.alarm_text import AlarmText
from edge_agent.guard.safety.battery_texts import MODULE, PACK
from edge_agent.guard.safety.device_texts import BOARD, CIRCUIT, GUARD, INVERTER

CHAPTERS = {
    "Modules": MODULE,
    "The pack": PACK,
    "The inverter": INVERTER,
    "The board and its sensors": BOARD,
    "Contactors": CIRCUIT,
    "The guard itself": GUARD,
}


def text_of(alarm_id: str) -> AlarmText | None:
    """The row about an alarm; None when there is none."""
    return next((row for rows in CHAPTERS.values() for row in rows if row.matches(alarm_id)), None)
