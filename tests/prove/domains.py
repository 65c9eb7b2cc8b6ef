"""The searches of one proof: the main one to three faults, and what it leaves out, each with fewer."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.guard.safety.interface import ArduinoSettings, InverterSettings, LimitOverride, Settings
from tests.prove.explorer import Domain
from tests.prove.plant import Model

SETTINGS = Settings(
    module_parts={},
    inverter_signals=(),
    arduino_signals=(),
    commission_count=8,
    inverter=InverterSettings(lease_s=1.5),
    arduino=ArduinoSettings(),
    hold_s=3.0,
    ramp_a_per_s=1000.0,
    limit_rise_a_per_s=1000.0,
    limits={"overrun": LimitOverride(warning=(None, 0.6))},
)
"""Short where the configuration allows it, so that limits are few ticks away; a tick itself is no overrun."""

EVERYTHING = (
    "danger", "can", "line", "usb", "kill", "stall", "weld", "precharge", "link", "ignores", "stage", "deaf", "stuck", "disk",
    "reset",
)  # fmt: skip
LISTED = ("danger", "can", "line", "usb", "kill", "weld", "precharge", "ignores", "reset", "disk")
"""What the safety page lists."""
WITH = ("weld", "precharge", "disk")
_THREE = Model(SETTINGS, stale_s=0.0, steady_s=0.0, deadman_s=3.5)
_DRIVE = replace(SETTINGS, inverter=InverterSettings(lease_s=4.0), ramp_a_per_s=50.0)

DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain("healthy", Model(SETTINGS, link_full=6), ("late",), 0, "schedule", healthy=True),
        Domain("uncommissioned", Model(replace(SETTINGS, commission_count=None)), (), 0),
        Domain("local only", Model(replace(SETTINGS, energise="local")), (), 0, "local"),
        Domain("lease", Model(_DRIVE), ("can", "blocks", "rule_zero"), 1, "lease", frozenset({"lease"})),
        Domain("schedule", Model(SETTINGS), ("can", "broker", "usb"), 1, "schedule", frozenset({"broker"})),
        Domain("service", Model(SETTINGS), ("weld", "kill", "stuck"), 2, "service"),
        Domain("cooling", Model(SETTINGS), ("heat", "can", "kill"), 1, "cooling", frozenset({"cooling"})),
        Domain("commands", Model(SETTINGS), ("danger", "weld", "full", "estop"), 1, "all", frozenset({"pending"})),
        Domain(
            "no comm timer", Model(SETTINGS, comm_timer=False, dtr=True), ("kill", "stall", "line", "usb", "ignores", "danger"), 2
        ),
        Domain("every tick", Model(SETTINGS), EVERYTHING, 2),
        Domain("main", _THREE, LISTED, 3, anytime=1, through=WITH),
        Domain("main, others", _THREE, tuple(kind for kind in LISTED if kind not in WITH), 3, anytime=1),
    )
}  # fmt: skip
"""Every search by its name; the short ones are there for what the search to three faults leaves out."""

HALVES = ("main", "main, others")
"""Together the search to three faults: sets with one of `WITH` and sets without, one for each core."""
