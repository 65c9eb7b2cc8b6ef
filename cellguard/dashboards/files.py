"""The dashboards as files: what each contains, and writing those that are not as they must be."""

from __future__ import annotations

import json
from pathlib import Path

from cellguard.dashboards import alarms, health, modules, pack, trial
from cellguard.dashboards.layout import document

FOLDER = Path("deploy/grafana/dashboards")
FILES = {
    "pack.json": pack.dashboard,
    "modules.json": modules.dashboard,
    "test-run.json": trial.dashboard,
    "alarms.json": alarms.dashboard,
    "health.json": health.dashboard,
}


def rendered() -> dict[str, str]:
    """File name → its text."""
    return {name: json.dumps(document(make()), indent=2, ensure_ascii=False) + "\n" for name, make in FILES.items()}


def write(folder: Path) -> list[str]:
    """Write every file that differs; their names. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in rendered().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
            changed.append(name)
    return changed
