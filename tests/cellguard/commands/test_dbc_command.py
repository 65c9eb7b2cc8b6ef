"""`cellguard dbc`: what its commands print and how they refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

import dbc
from cellguard.commands.dbc import command
from shared.errors import EXIT_CONFIG, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

OWN = str(dbc.path())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def refusal(*arguments: str) -> ConfigError:
    error = run(*arguments).exception
    assert isinstance(error, ConfigError)
    assert error.exit_code == EXIT_CONFIG
    return error


def test_check_prints_its_figures_as_one_json_object() -> None:
    result = run("check", OWN, "--frames", "5", "--json")
    assert result.return_value == 0
    assert json.loads(result.stdout) == {
        "messages": 156,
        "signals": 965,
        "compiled": 156,
        "fallback": [],
        "mismatches": 0,
    }


def test_check_names_what_cantools_decodes(tmp_path: Path) -> None:
    path = tmp_path / "long.dbc"
    path.write_text('BO_ 257 Long: 12 A\n SG_ a : 0|72@1+ (1,0) [0|0] "" A\n', encoding="utf-8")
    assert json.loads(run("check", str(path), "--json").stdout)["fallback"] == ["Long"]
    assert "decoded by cantools: Long" in run("check", str(path)).stdout
    assert "Long, 12 bytes  (decoded by cantools)" in run("show", str(path)).stdout


def test_show_lists_the_projects_own_messages_without_a_file() -> None:
    lines = run("show").stdout.splitlines()
    assert "0x181 BMU01_pdo1, 8 bytes" in lines
    assert "    CMA_Current: 16 bits signed, x 0.1 + 0 A, -3276.8 .. 3276.7" in lines
    assert lines[-1].startswith("156 messages, 0 decoded by cantools")


@pytest.mark.parametrize("can_id", ["0x181", "385", "0X181"])
def test_decode_prints_a_flat_object_of_numbers(can_id: str) -> None:
    result = run("decode", OWN, can_id, "3dfc7d12acaf1319", "--json")
    assert json.loads(result.stdout) == {
        "CMA_Current": -96.3,
        "CMA_Voltage": 47.33,
        "Min_Cell_Voltage": 3.92,
        "Max_Cell_Voltage": 3.95,
        "CMA_Min_Temp": 19,
        "CMA_Max_Temp": 25,
    }


@pytest.mark.parametrize("can_id", ["0x0A100100", "168821000", "2316304640"])
def test_an_id_above_0x7ff_is_extended(can_id: str) -> None:
    result = run("decode", OWN, "0x0A100100" if can_id == "168821000" else can_id, "00 00 12 34 00 56 78 00", "--json")
    assert json.loads(result.stdout) == {"Sendyne_Data_V1": 0x1234, "Sendyne_Data_V2": 0x5678}


def test_decode_prints_units_for_people() -> None:
    assert "CMA_Voltage = 47.33 V\n" in run("decode", OWN, "0x181", "3dfc7d12acaf1319").stdout


@pytest.mark.parametrize(
    ("arguments", "where", "given"),
    [
        (("decode", OWN, "0x7FE", "00"), "ID", "0x7FE"),
        (("decode", OWN, "pdo1", "00"), "ID", "'pdo1'"),
        (("decode", OWN, "0x", "00"), "ID", "'0x'"),
        (("decode", OWN, "0x20000000", "00"), "ID", "'0x20000000'"),
        (("decode", "--", OWN, "-1", "00"), "ID", "'-1'"),
        (("decode", OWN, "0x181", "2F"), "HEX", "'2F' (BMU01_pdo1: 1 bytes, expected 8)"),
        (("decode", OWN, "0x181", "2F0"), "HEX", "'2F0'"),
        (("decode", OWN, "0x181", "not hex"), "HEX", "'not hex'"),
    ],
)
def test_a_malformed_frame_is_a_configuration_error(arguments: tuple[str, ...], where: str, given: str) -> None:
    error = refusal(*arguments)
    assert error.where == where
    assert error.given == given
    assert error.allowed


@pytest.mark.parametrize("name", ["show", "check"])
def test_a_file_that_is_no_dbc_is_a_configuration_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "no.dbc"
    path.write_text("time,value\n1,2\n", encoding="utf-8")
    assert refusal(name, str(path)).where == f"{path} line 1"
    assert refusal(name, str(tmp_path / "absent.dbc")).where == str(tmp_path / "absent.dbc")
