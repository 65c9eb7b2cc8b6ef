"""Broken messages with a fixed seed at every door of collector and link; `python -m tests.fuzz` sends a million."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzz.doors import DOORS

MESSAGES = 8_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("door", DOORS)
def test_no_broken_message_does_harm_and_unharmed_ones_still_pass(door: type[Any], tmp_path: Path) -> None:
    one, random = door(tmp_path), Random(7)
    for _ in range(MESSAGES):
        one.knock(random)
    assert one.accepted > MESSAGES // 50
