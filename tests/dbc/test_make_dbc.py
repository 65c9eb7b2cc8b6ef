"""The project's own DBC: generated from its table, read strictly, holding the message set of the rig."""

from __future__ import annotations

import cantools.database
import pytest

import dbc
from dbc import make_dbc


@pytest.fixture(scope="module")
def parsed() -> cantools.database.Database:
    database = cantools.database.load_file(dbc.path(), encoding="utf-8", strict=True)
    assert isinstance(database, cantools.database.Database)
    return database


def test_regenerating_gives_the_bytes_that_are_stored() -> None:
    assert dbc.path().read_bytes() == make_dbc.text().encode("utf-8")


def test_every_frame_of_fifteen_modules_has_its_identifier(parsed: cantools.database.Database) -> None:
    first = {
        "pdo1": 0x180,
        "pdo2": 0x280,
        "pdo3": 0x380,
        "pdo4": 0x480,
        "pdo5": 0x190,
        "pdo6": 0x290,
        "pdo7": 0x390,
        "pdo8": 0x490,
        "SDO_Req": 0x600,
        "SDO_Resp": 0x580,
    }
    found = {(one.name, one.frame_id, one.length) for one in parsed.messages if one.name.startswith("BMU")}
    assert found == {(f"BMU{n:02}_{frame}", base + n, 8) for frame, base in first.items() for n in range(1, 16)}


@pytest.mark.parametrize(
    ("name", "can_id", "length"),
    [
        ("SYNC", 0x080, 1),
        ("EMERGENCY", 0x09C, 0),
        ("Display_pdo1", 0x271, 8),
        ("Display_pdo2", 0x371, 8),
        ("SendyneReq", 0x0A100101, 1),
        ("SendyneResp", 0x0A100100, 8),
    ],
)
def test_the_other_frames_have_their_identifier(
    parsed: cantools.database.Database, name: str, can_id: int, length: int
) -> None:
    message = parsed.get_message_by_name(name)
    assert (message.frame_id, message.length) == (can_id, length)
    assert message.is_extended_frame is (can_id > 0x7FF)


def test_temperatures_carry_their_unit_in_utf_8(parsed: cantools.database.Database) -> None:
    signals = parsed.get_message_by_name("BMU07_pdo6").signals
    assert {(one.unit, one.is_signed) for one in signals} == {("°C", True)}


def test_the_real_values_of_a_module_at_rest_decode(parsed: cantools.database.Database) -> None:
    frame = (-963).to_bytes(2, "little", signed=True) + (4733).to_bytes(2, "little") + bytes([172, 175, 19, 25])
    found = parsed.decode_message("BMU01_pdo1", frame, decode_choices=False)
    assert found == pytest.approx(
        {
            "CMA_Current": -96.3,
            "CMA_Voltage": 47.33,
            "Min_Cell_Voltage": 3.92,
            "Max_Cell_Voltage": 3.95,
            "CMA_Min_Temp": 19,
            "CMA_Max_Temp": 25,
        }
    )


def test_the_isolation_monitor_is_big_endian(parsed: cantools.database.Database) -> None:
    found = parsed.decode_message("SendyneResp", bytes.fromhex("0000 1234 00 5678 00"))
    assert found == {"Sendyne_Data_V1": 0x1234, "Sendyne_Data_V2": 0x5678}
