"""`docs/reference/stored.md`: every measurement in the store with its tags and fields, taken from the tables that write them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cellguard.dashboards.catalog import signals
from collector.lines import NUMBER_FIELDS, STATE_NAMES, TEXT_FIELDS
from collector.minutes import MARK, REDUCERS, SUFFIX
from collector.states import KINDS, NUMBERS, TEXTS

_HEAD = """# What is in the store

Made by `python -m cellguard.manual` from the tables that write it; a test fails when they differ.

One database (a bucket), InfluxDB line protocol, asked in InfluxQL. Every number is a float. Times are UTC in ns; those of a node are its
own µs × 1000. A bad value is an absent field. The same message stored twice is the same point.
"""
_RECORDS = """## Records

What the books count: each row of telemetry and each event once. Time of a row = its sample; time of an event = its µs × 1000 + the last
three digits of its number.
"""
_STATES = """## States

Stored beside the records from the retained topics `state/…`, and the collector's own health. Not in the books: a state that is missed is
gone. Time = the `ts` of the message.
"""
_MINUTES = f"""## By the minute

Minimum, mean and maximum of every signal: measurement `module{SUFFIX}`, `inverter{SUFFIX}`, `arduino{SUFFIX}`, tags as the raw one, time =
the minute's start, fields {", ".join(f"`SIGNAL_{reducer}`" for reducer in REDUCERS)}. Made from the stored rows, made again when rows come
late ([why this way](../decisions/0006-minutes-from-the-store.md)). `{MARK}` says which minutes are not finished: those whose `stored` and
`reduced` differ.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, _RECORDS, *_telemetry(), *_events(), _STATES, *_states(), _MINUTES])


def _telemetry() -> Iterator[str]:
    for measurement, units in signals().items():
        tag, own = (", `module` (`01`…)", ", with the project's own DBC") if measurement == "module" else ("", "")
        names = ", ".join(f"`{name}`{f' {unit}' if unit else ''}" for name, unit in units.items())
        yield f"### `{measurement}`\nTags `site`, `node`{tag}. Fields{own}: {names}.\n"


def _events() -> Iterator[str]:
    numbers, texts = (", ".join(f"`{name}`" for name in names) for names in (NUMBER_FIELDS, TEXT_FIELDS))
    renamed = ", ".join(f"`{old}` as `{new}`" for old, new in STATE_NAMES.items())
    yield "### `event`"
    yield "Tags `site`, `node`, `kind`. The field `text` has everything of the event as JSON. As fields of their own, where an event has"
    yield f"them: numbers {numbers}; texts {texts}. A list of texts is one text, joined by `; `. Events of kind `state` have"
    yield f"{renamed}.\n"
    yield "### `alarm`"
    yield "Tags `site`, `node`, `alarm`, `level`. Field `active` (1 or 0) and the fields of the event, without the two that are tags.\n"
    yield "### `gap`"
    yield "Tags `site`, `node`. The fields of the event: what was made and is not here.\n"


def _states() -> Iterator[str]:
    for measurement in (*KINDS, "collector"):
        tags = "`site`, `collector`" if measurement == "collector" else "`site`, `node`"
        numbers = ", ".join(f"`{name}`" for name in NUMBERS.get(measurement, {}))
        texts = ", ".join(f"`{name}`" for name in TEXTS.get(measurement, ()))
        parts = [f"numbers {numbers}"] * bool(numbers) + [f"texts {texts}"] * bool(texts)
        yield f"### `{measurement}`\nTags {tags}. Fields: {'; '.join(parts)}.\n"
