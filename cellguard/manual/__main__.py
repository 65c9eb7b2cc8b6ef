"""`python -m cellguard.manual`: writes the made pages into `docs/`; with `--check` only says whether they are as they must be."""

from __future__ import annotations

import sys
from pathlib import Path

from cellguard.manual import alarms, command_line, settings, states, stored, topics

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {
    "alarms.md": alarms.page,
    "states.md": states.page,
    "reference/config.md": settings.page,
    "reference/topics.md": topics.page,
    "reference/cli.md": command_line.page,
    "reference/stored.md": stored.page,
}


def stale(folder: Path = DOCS) -> list[str]:
    """The pages that do not say what the tables say."""
    return [name for name, page in PAGES.items() if not _is(folder / name, page())]


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """Write, or check; 1 when a page differs from the tables."""
    if "--check" in sys.argv[1:]:
        for name in (found := stale()):
            print(f"docs/{name} differs from the tables: python -m cellguard.manual", file=sys.stderr)  # noqa: T201 a tool
        return int(bool(found))
    for name, page in PAGES.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
