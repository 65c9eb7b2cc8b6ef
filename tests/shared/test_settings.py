from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from shared.errors import EXIT_CONFIG, ConfigError
from shared.settings import RelativePath, Section, load


class Node(Section):
    name: str
    folder: RelativePath | None = None


class Limit(Section):
    warning: tuple[float, float] = (0.0, 1.0)
    action: Literal["trip", "warn"] = "trip"


class Can(Section):
    bitrate: Annotated[int, Field(ge=10_000, le=1_000_000)] = 500_000
    modules: Literal["auto"] | int = "auto"
    enabled: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Can:
        if self.modules == 13:
            raise ValueError("13 modules are not sold")
        return self


class Settings(Section):
    node: Node
    can: Can = Can()
    limits: dict[str, Limit] = Field(default_factory=dict)


def written(folder: Path, text: str, name: str = "rig.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, Settings, environ=environ or {})
    assert caught.value.exit_code == EXIT_CONFIG
    return str(caught.value)


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    path = written(tmp_path / "a", '[node]\nname = "x"\nfolder = "schedules"\n')
    overlay = written(tmp_path / "b", '[node]\nfolder = "other"\n')
    assert load(path, Settings, environ={}).node.folder == tmp_path / "a" / "schedules"
    assert load(path, Settings, environ={}, overlays=[overlay]).node.folder == tmp_path / "b" / "other"


def test_overlays_merge_key_by_key(tmp_path: Path) -> None:
    path = written(tmp_path, '[node]\nname = "x"\n[limits.cell]\nwarning = [1, 2.5]\naction = "warn"\n')
    overlay = written(tmp_path, "[limits.cell]\nwarning = [3, 4]\n[can]\nmodules = 8\n", "overlay.toml")
    settings = load(path, Settings, environ={}, overlays=[overlay])
    assert settings.limits["cell"] == Limit(warning=(3.0, 4.0), action="warn")
    assert settings.can.modules == 8


def test_the_environment_overrides_and_leaves_other_programs_alone(tmp_path: Path) -> None:
    path = written(tmp_path, '[node]\nname = "x"\n')
    environ = {
        "CELLGUARD_NODE__NAME": "007",
        "CELLGUARD_CAN__BITRATE": "250000",
        "CELLGUARD_LIMITS__CELL__WARNING": "[1, 2]",
        "CELLGUARD_STORE__KIND": "influx",
        "CELLGUARD_INFLUX_URL": "ignored",
        "PATH": "ignored",
    }
    settings = load(path, Settings, environ=environ)
    assert (settings.node.name, settings.can.bitrate) == ("007", 250_000)
    assert settings.limits["cell"].warning == (1.0, 2.0)


def test_an_unknown_section_in_the_environment_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, '[node]\nname = "x"\n')
    assert "CELLGUARD_NOED__NAME" in refusal(path, {"CELLGUARD_NOED__NAME": "y"})
    assert "CELLGUARD_CAN__BITRATE in the environment: [can] bitrate" in refusal(path, {"CELLGUARD_CAN__BITRATE": "1"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[can]\nbitrate = 5", ["[node]: allowed: this key is required", "[can] bitrate: given 5; allowed: at least 10000"]),
        ('[node]\nname = "x"\n[can]\nbitrat = 5', ["[can] bitrat: given 5", "did you mean bitrate?"]),
        ('[node]\nname = "x"\n[can]\nmodules = "all"', ["[can] modules: given \"all\"; allowed: 'auto' or a whole number"]),
        ('[node]\nname = "x"\n[can]\nmodules = 13', ["[can]: allowed: 13 modules are not sold"]),
        ('[node]\nname = "x"\n[can]\nenabled = 1', ["[can] enabled: given 1; allowed: true or false"]),
        ('[node]\nname = "x"\n[can]\nbitrate = 5e5', ["[can] bitrate", "given 500000.0", "whole number"]),
        ("[node]\nname = 3", ["[node] name: given 3; allowed: text in quotes"]),
        ('[node]\nname = "x"\n[limits.a]\nwarning = [nan, 2]', ["[limits.a.warning] 0", "NaN", "finite"]),
        ('[node]\nname = "x"\n[limits.a]\naction = "boom"', ["[limits.a] action: given \"boom\"; allowed: 'trip' or 'warn'"]),
        ('[node]\nname = "x"\nname = "y"', ["rig.toml: line 3", "each key once"]),
        ("[node\n", ["rig.toml: line 1"]),
        ("node = 3", ["[node]: given 3; allowed: a table"]),
    ],
)  # fmt: skip
def test_every_violation_says_place_value_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = refusal(written(tmp_path, text))
    assert all(part in message for part in parts), message
    assert all("rig.toml" in line for line in message.splitlines())


def test_unreadable_files_are_configuration_errors(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.toml")
    path = tmp_path / "cp1252.toml"
    path.write_bytes(b'[node]\nname = "\xb0C"\n')
    assert "line 2: given the byte 0xb0; allowed: UTF-8" in refusal(path)
