from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cantools
import pytest

from simulator.bmu import ModuleReading, answer_sdo, pack_pdos
from simulator.can_bus import Frame

Make = Callable[..., Any]
ENABLE = bytes.fromhex("2F05180100000000")


def reading(**changes: Any) -> ModuleReading:
    fields: dict[str, Any] = {
        "current_a": -96.3,
        "voltage_v": 47.30,
        "min_cell_v": 3.94,
        "max_cell_v": 3.95,
        "status": 67,
        "soc_pct": 74.5,
        "soh_pct": 100.0,
        "cells_v": (3.94, 3.95) * 6,
        "cells_soc_pct": (74.0, 75.0) * 6,
        "sensors_c": (22.0, 20.0, 20.0, 20.0, -5.4, 20.0, 21.0),
        "charged_as": 498.9,
        "discharged_as": 377251.0,
    }
    return ModuleReading(**{**fields, **changes})


def test_the_eight_payloads_are_laid_out_as_the_rig_says() -> None:
    assert [payload.hex() for payload in pack_pdos(reading())] == [
        "3dfc" + "7a12" + "ae" + "af" + "fb" + "16",
        "4300" + "95" + "64" + "00000000",
        "aeafaeafaeafaeaf",
        "aeafaeaf" + "0000" + "0000",
        "f2010000" + "a3c10500",
        "16141414fb1415" + "00",
        "94969496" * 2,
        "94969496" + "0000" + "0000",
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("current_a", 1e9), ("voltage_v", -5.0), ("min_cell_v", 99.0), ("soc_pct", -10.0)]
)
def test_what_does_not_fit_is_clamped_not_wrapped(field: str, value: float) -> None:
    payloads = pack_pdos(reading(**{field: value}))
    current, voltage, lowest = struct.unpack_from("<hHB", payloads[0])
    expected = {"current_a": (current, 32767), "voltage_v": (voltage, 0), "min_cell_v": (lowest, 255)}
    got, want = expected.get(field, (payloads[1][2], 0))
    assert got == want


@pytest.mark.parametrize(
    ("request_hex", "answer_hex", "enables"),
    [
        ("2F05180100000000", "6005180100000000", True),
        ("2F05180200000000", "8005180200000206", False),
        ("2F00200000000000", "8000200000000206", False),
        ("4005180100000000", "4f05180100000000", False),
        ("FF05180100000000", "8005180101000405", False),
    ],
)
def test_an_sdo_request_gets_its_answer(request_hex: str, answer_hex: str, enables: bool) -> None:
    assert answer_sdo(bytes.fromhex(request_hex)) == (bytes.fromhex(answer_hex), enables)


def test_every_module_answers_a_sync_with_five_pdos_lowest_identifier_first(bench: Make) -> None:
    frames = bench(modules=15).sync()
    assert len(frames) == 15 * 5
    assert [frame.can_id for frame in frames] == sorted(frame.can_id for frame in frames)
    assert {frame.can_id for frame in frames} == {
        base + n for base in (0x180, 0x280, 0x380, 0x480, 0x190) for n in range(1, 16)
    }


def test_the_extra_pdos_come_once_enabled_and_only_from_that_module(bench: Make) -> None:
    rig = bench(modules=3)
    rig.rig.bus.submit_host(Frame(0x602, ENABLE), rig.now)
    rig.run(0.01)
    assert rig.frames == [Frame(0x582, bytes.fromhex("6005180100000000"))]
    extra = [frame.can_id for frame in rig.sync() if frame.can_id & 0x90 == 0x90 and frame.can_id > 0x200]
    assert extra == [0x292, 0x392, 0x492]


def test_nobody_answers_a_request_to_a_module_that_is_not_there_or_half_a_request(bench: Make) -> None:
    rig = bench(modules=3)
    for frame in (Frame(0x604, ENABLE), Frame(0x601, ENABLE[:4]), Frame(0x601, ENABLE, extended=True)):
        rig.rig.bus.submit_host(frame, rig.now)
    rig.run(0.05)
    assert rig.frames == []


def test_minus_means_discharge_to_a_bmu(bench: Make) -> None:
    rig = bench(modules=8)
    rig.close_circuit()
    rig.start_inverter(35.0, timer_s=100)
    rig.run_fed(1.0, 0x0C)
    frame = next(frame for frame in rig.sync() if frame.can_id == 0x181)
    assert struct.unpack_from("<h", frame.data)[0] == pytest.approx(-350, abs=1)


def test_sum_and_cells_of_the_ideal_profile_agree(bench: Make) -> None:
    frames = {frame.can_id: frame.data for frame in bench(modules=1).sync()}
    cells = [raw * 0.01 + 2.2 for raw in frames[0x381] + frames[0x481][:4]]
    assert len(cells) == 12
    assert sum(cells) == pytest.approx(struct.unpack_from("<H", frames[0x181], 2)[0] * 0.01, abs=0.06)


def test_the_projects_dbc_reads_back_what_was_measured() -> None:
    database = cantools.database.load_file(Path(__file__).parents[2] / "dbc" / "bms.dbc")
    decoded: dict[str, Any] = {}
    for pdo, payload in enumerate(pack_pdos(reading()), start=1):
        decoded.update(database.get_message_by_name(f"BMU07_pdo{pdo}").decode(payload, decode_choices=False))
    by_signal = {name.removeprefix("BMU07_"): value for name, value in decoded.items()}
    expected = {
        "CMA_Current": -96.3,
        "CMA_Voltage": 47.30,
        "Min_Cell_Voltage": 3.94,
        "Max_Cell_Voltage": 3.95,
        "CMA_Min_Temp": -5,
        "CMA_Max_Temp": 22,
        "CMA_Status": 67,
        "SOC": 74.5,
        "SOH": 100,
        "Cell_12_Voltage": 3.95,
        "Cell_13_Voltage": 2.20,
        "CMA_Temp5": -5,
        "Charge_Ah_from_BMU": 498,
        "Discharge_Ah_from_BMU": 377251,
        "Cell12_SOC": 75.0,
    }
    assert {name: by_signal[name] for name in expected} == pytest.approx(expected)
