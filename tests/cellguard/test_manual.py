"""The reference names everything there is: each setting, topic, command, answer code, signal and driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellguard.main import COMMANDS as COMMAND_LINE
from cellguard.manual import command_line, settings, topics
from edge_agent.config import EdgeConfig
from edge_agent.guard.core_settings import core_settings, read_bus
from edge_agent.guard.safety.core import Core
from edge_agent.guard.safety.interface import Durable
from edge_agent.guard.safety.interlocks import REASONS
from edge_agent.guard.safety.rules import DEFAULTS
from shared.messages import COMMANDS
from shared.signals import ARDUINO, INVERTER

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", settings.FILES)
def test_each_setting_has_a_meaning_and_no_meaning_is_left_over(file: str) -> None:
    model, meanings = settings.FILES[file]

    assert {one.name for one in settings.every_setting(model)} == set(meanings)


def test_every_section_row_and_driver_stands_on_the_settings_page() -> None:
    page = settings.page()
    sections = {f"### `[{name}]`" for name in EdgeConfig.model_fields if name != "limits"}
    drivers = [
        path.relative_to(CHECKOUT).as_posix()
        for folder in ("edge_agent/guard/devices", "collector/sinks")
        for path in (CHECKOUT / folder).glob("*.py")
        if path.name != "__init__.py"
    ]

    assert [one for one in (*sections, *(f"`{rule}`" for rule in DEFAULTS)) if one not in page] == []
    assert len(drivers) > 10
    assert [one for one in drivers if f"| `{one}` | " not in page] == []


def test_every_state_that_the_guard_publishes_is_a_topic_of_the_page() -> None:
    config = EdgeConfig()
    core = Core(core_settings(config, read_bus(config)), Durable(), 0.0)
    named = {topic.name for topic in topics.NODE}

    published = {name for name in core.snapshot(1.0) if name.startswith("state/")}
    assert {"state/safety", "state/outputs", "state/schedule"} <= published
    # what is degraded goes into `status`
    assert published - {"state/degraded"} <= named


def test_every_command_code_and_signal_stands_on_the_topics_page() -> None:
    page = topics.page()

    wanted = [*COMMANDS, *REASONS, *topics.LINK_CODES, *(one.name for one in (*INVERTER, *ARDUINO))]
    assert [one for one in wanted if f"| `{one}` |" not in page] == []
    assert "| `relay1` | `on` `true` · `false` | true: E, false: S |" in page


def test_every_command_of_the_command_line_has_its_chapter_with_its_options() -> None:
    page, commands = command_line.page(), command_line.every_command()

    assert {f"cellguard {name}" for name in COMMAND_LINE} <= set(commands)
    assert "cellguard edge install" in commands
    assert [one for one in commands if f"# `{one}" not in page] == []
    assert "| `--purge` | " in page
    assert "--help` |" not in page
