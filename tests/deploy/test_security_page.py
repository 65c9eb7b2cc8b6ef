"""docs/security.md promises only what a test shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests").rglob("test_*.py"))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 25


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_page_names_exists(name: str) -> None:
    assert f"def {name}(" in TESTS


@pytest.mark.parametrize("row", ROWS)
def test_every_threat_has_a_control_and_a_proof(row: str) -> None:
    threat, control, proof = (cell.strip() for cell in row.strip("|").split("|"))

    assert threat
    assert control
    assert "`test_" in proof or "the same" in proof
