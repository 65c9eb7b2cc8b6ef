"""The dashboard System health: is everything heard, stored, in time, and nothing dropped?"""

from __future__ import annotations

from cellguard.dashboards.layout import Dashboard, Row
from cellguard.dashboards.panel import Panel
from cellguard.dashboards.query import Query, changes, high, last, mean, series

STEP = "5s"
"""health comes once a second: every point covers several."""
FRESH_S = 10
COLLECTOR_STEP = "30s"
"""A collector's own health comes every few seconds, as its settings say."""

_SITE = '"site" =~ /^${site:regex}$/ AND $timeFilter'


def dashboard() -> Dashboard:
    """The whole of it."""
    rows = (
        Row("Freshness", _freshness()),
        Row("Spool and books", _spool()),
        Row("Latency", _latency()),
        Row("Drops and troubles", _drops()),
        Row("Collector", _collector()),
    )
    return Dashboard("cellguard-health", "System health", "The chain from the bus to the store.", rows)


def _freshness() -> tuple[Panel, ...]:
    about = "Rows stored a second. A module sends one a SYNC; a line that falls or breaks is a source that is silent."
    modules = series("module", {"n": f'COUNT("CMA_Voltage") / {FRESH_S}'}, by="module", alias="module $tag_module")
    single = (
        series("inverter", {"inverter": f'COUNT("current") / {FRESH_S}'}),
        series("arduino", {"arduino": f'COUNT("temp1") / {FRESH_S}'}),
    )
    fixed = [_fixed(query) for query in (modules, *single)]
    return (
        Panel("Modules heard", (fixed[0],), unit="rows/s", step=f"{FRESH_S}s", about=about),
        Panel("Inverter and Arduino heard", tuple(fixed[1:]), unit="rows/s", step=f"{FRESH_S}s", about=about),
        Panel("Clock", (changes("health", {"clock": "clock"}),), "state-timeline", width=24, height=4),
    )


def _fixed(query: Query) -> Query:
    """Counted over a fixed time, so that the rate holds at every zoom."""
    return Query(query.text.replace("$__interval", f"{FRESH_S}s"), query.alias)


def _spool() -> tuple[Panel, ...]:
    books = {name: last(f"books_{name}") for name in ("produced", "stored", "spooled")}
    return (
        _panel("Books", books, about="Rows and events: produced = stored + spooled + gaps + quarantined + on the way."),
        _panel("Spool on disk", {"spool": last("spool_bytes")}, "B"),
        _panel("Waiting", {"without receipt": high("queue_unreceipted"), "on the way": high("in_flight")}),
        _panel("Ring of the guard", {"ring": high("ring_bytes")}, "B"),
    )


def _latency() -> tuple[Panel, ...]:
    frames = {name: mean(f"latency_ms_{name}") for name in ("p50", "p99", "max")}
    cycle = {name: mean(f"cycle_ms_{name}") for name in ("p50", "p99", "max")}
    return (
        _panel("From the frame to the decision", frames, "ms"),
        _panel("Cycle of the guard", cycle, "ms"),
    )


def _drops() -> tuple[Panel, ...]:
    drops = {
        "rows dropped by the guard": last("dropped_rows"),
        "events dropped by the guard": last("dropped_events"),
        "in gaps": last("books_gaps"),
        "gaps of unknown size": last("unknown_gaps"),
        "quarantined": last("books_quarantined"),
    }
    troubles = {
        "SYNCs skipped": last("skipped_syncs"),
        "inverter silent": last("silent_turns"),
        "sent again": last("resent"),
        "CAN opened": last("can_opens"),
        "commands refused": last("commands_refused"),
    }
    return (
        _panel("Dropped", drops, about="All of these should stay flat."),
        _panel("Troubles", troubles, about="Counts since the start."),
        _panel("Memory of the guard", {"RSS": last("rss_kb")}, "kB"),
    )


def _collector() -> tuple[Panel, ...]:
    stored = {"received": last("received"), "messages stored": last("stored_messages"), "receipts": last("receipts")}
    bad = {name: last(name) for name in ("dropped", "unreadable", "quarantined", "retries", "errors")}
    return (
        _of_collectors("Messages", stored),
        _of_collectors("Dropped and refused", bad),
        _of_collectors("Queue", {"fill": high("queue_fill")}),
        _of_collectors("Writing to the store", {"p50": mean("store_ms_p50"), "max": high("store_ms_max")}, "ms"),
        _of_collectors("By the minute", {"minutes": last("derived_minutes"), "failures": last("derived_failures")}),
    )


def _panel(title: str, columns: dict[str, str], unit: str = "", about: str = "") -> Panel:
    return Panel(title, (series("health", columns),), unit=unit, step=STEP, about=about)


def _of_collectors(title: str, columns: dict[str, str], unit: str = "") -> Panel:
    chosen = ", ".join(f'{expression} AS "{label}"' for label, expression in columns.items())
    text = f'SELECT {chosen} FROM "collector" WHERE {_SITE} GROUP BY time($__interval), "collector" fill(null)'
    return Panel(title, (Query(text, "$tag_collector $col"),), unit=unit, step=COLLECTOR_STEP, width=8)
