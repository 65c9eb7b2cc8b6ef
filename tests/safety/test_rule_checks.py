"""Limits are judged before they are used: each violation names its key, its number and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.guard.safety.interface import InverterSettings, LimitOverride, Settings
from edge_agent.guard.safety.rule_checks import check


def test_the_defaults_pass_their_own_check(settings_of: Any) -> None:
    assert check(settings_of()) == []
    assert check(settings_of(series=15, cells=14)) == []


@pytest.mark.parametrize(
    ("key", "override", "says"),
    [
        ("cell_voltage", LimitOverride(danger=(2.9, 4.2)), ["danger 2.9", "below warning 2.8"]),
        ("cell_voltage", LimitOverride(warning=(2.8, 4.3)), ["danger 4.2", "above warning 4.3"]),
        ("cell_voltage", LimitOverride(warning=4.1), ["warning 4.1", "a pair [low, high]"]),
        ("cell_voltage", LimitOverride(hysteresis=0.001), ["hysteresis 0.001", "0.01"]),
        ("cell_voltage", LimitOverride(hysteresis=0.9), ["apart"]),
        ("cell_voltage", LimitOverride(n=20), ["n 20", "sync_period_s 0.2", "decides after"]),
        ("cell_voltage_fast", LimitOverride(danger=(2.75, 4.25)), ["2.75", "cell_voltage"]),
        ("temperature", LimitOverride(danger=39.0), ["danger 39.0", "above warning 40.0"]),
        ("temperature", LimitOverride(danger=(1.0, 50.0)), ["a single number"]),
        ("temperature", LimitOverride(hysteresis=0.0), ["hysteresis 0.0"]),
        ("temperature_low", LimitOverride(danger=6.0), ["danger 6.0", "below warning 5.0"]),
        ("cell_sum", LimitOverride(warning=0.001), ["warning 0.001", "resolution of CMA_Voltage"]),
        ("ground_fault", LimitOverride(danger=1.0), ["no threshold"]),
        ("nonsense", LimitOverride(), ["no such rule"]),
    ],
)
def test_a_wrong_limit_is_named_with_its_key_its_number_and_what_is_allowed(
    settings_of: Any, key: Any, override: Any, says: Any
) -> None:
    found = check(settings_of(limits={key: override}))
    assert found
    assert any(all(text in sentence for text in [f"[limits.{key}]", *says]) for sentence in found), found


def test_a_slow_bus_breaks_the_reaction_budget_and_says_so(settings_of: Any) -> None:
    found = check(settings_of(sync_period_s=1.0))
    assert any("sync_period_s 1.0" in sentence and "at most" in sentence for sentence in found)


def test_a_slow_poll_breaks_the_reaction_budget_and_says_so(settings_of: Any) -> None:
    found = check(settings_of(inverter=InverterSettings(poll_period_s=1.0)))
    assert any("poll_period_s 1.0" in sentence for sentence in found)


def test_a_dbc_without_a_cell_is_a_gap_in_the_coverage(settings_of: Any) -> None:
    settings: Settings = settings_of()
    parts = {**settings.module_parts, "pdo4": settings.module_parts["pdo4"][:2]}
    assert check(replace(settings, module_parts=parts)) == [
        "[pack] cells 12: the DBC has no Cell_11_Voltage to judge",
        "[pack] cells 12: the DBC has no Cell_12_Voltage to judge",
    ]


def test_a_current_that_is_not_judged_cannot_be_given_the_role(settings_of: Any) -> None:
    found = check(settings_of(pack_current=("module-01.CMA_Current",)))
    assert found == [
        "[signals] pack_current ['module-01.CMA_Current']: ['inverter.current'], the one current that is judged"
    ]
