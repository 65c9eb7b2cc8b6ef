from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbc
from edge_agent.guard.catalog import Groups
from edge_agent.guard.codecs.bmu import reader
from edge_agent.guard.codecs.dbc import groups, load
from edge_agent.guard.model import NoData, Reading

PDO1 = bytes.fromhex("00002e12aeaf1719")
PDO3 = bytes([174, 175, 173, 174, 175, 174, 174, 173])
PDO4 = bytes([174, 174, 175, 173, 0, 0, 0, 0])
PDO6 = bytes([23, 24, 25, 23, 24, 23, 24, 0])


@cache
def project_modules() -> Groups:
    """Not a fixture: hypothesis would print all of it."""
    return groups(load(dbc.path()), r"BMU(?P<module>\d\d)_")


def test_an_ordinary_frame_is_a_reading_with_counts_and_values(modules: Groups) -> None:
    reading = reader("module-01", "pdo1", modules[1]["pdo1"], 12)(PDO1, 7.5)
    assert reading == Reading("module-01", "pdo1", 7.5, (0, 0x122E, 174, 175, 23, 25), (0.0, 46.54, 3.94, 3.95, 23, 25))


def test_cells_that_are_not_populated_are_said_to_be_absent_not_empty(modules: Groups) -> None:
    reading = reader("module-01", "pdo4", modules[1]["pdo4"], 12)(PDO4, 0.0)
    assert reading.bad == ((4, "not_populated"), (5, "not_populated"))
    assert reading.raw[4:] == (0, 0)


def test_a_cell_that_should_be_absent_but_shows_a_voltage_is_flagged(modules: Groups) -> None:
    data = PDO4[:4] + bytes([174, 0, 0, 0])
    assert reader("module-01", "pdo4", modules[1]["pdo4"], 12)(data, 0.0).bad == ((4, "invalid"), (5, "not_populated"))


def test_mistake_03_cell_12_is_checked_like_every_other(modules: Groups) -> None:
    read = reader("module-01", "pdo4", modules[1]["pdo4"], 12)
    for index in range(4):
        data = bytearray(PDO4)
        data[index] = 0xFF
        assert (index, "out_of_range") in read(bytes(data), 0.0).bad


def test_mistake_04_counts_come_along_so_that_2_80_v_can_be_compared_exactly(modules: Groups) -> None:
    reading = reader("module-01", "pdo3", modules[1]["pdo3"], 12)(bytes([60] * 8), 0.0)
    assert reading.raw == (60,) * 8
    assert reading.values == (2.8,) * 8


@pytest.mark.parametrize("part", [f"pdo{number}" for number in range(1, 9)])
def test_mistake_22_an_all_ones_frame_is_no_reading_in_any_part(modules: Groups, part: str) -> None:
    answer = reader("module-03", part, modules[3][part], 12)(b"\xff" * 8, 1.0)
    assert answer == NoData("module-03", part, 1.0, "all_ones", "ff" * 8)


@pytest.mark.parametrize("part", ["pdo1", "pdo3"])
def test_an_all_zeros_frame_is_no_reading_where_that_cannot_be(modules: Groups, part: str) -> None:
    answer = reader("module-03", part, modules[3][part], 12)(bytes(8), 1.0)
    assert (type(answer), answer.reason) == (NoData, "all_zeros")


@pytest.mark.parametrize("part", ["pdo2", "pdo5", "pdo7", "pdo8"])
def test_mistake_26_fields_of_zeros_are_normal_elsewhere(modules: Groups, part: str) -> None:
    assert type(reader("module-03", part, modules[3][part], 12)(bytes(8), 1.0)) is Reading


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_frame_of_the_wrong_length_is_no_reading(modules: Groups, length: int) -> None:
    answer = reader("module-03", "pdo1", modules[3]["pdo1"], 12)(bytes(range(1, length + 1)), 1.0)
    assert (type(answer), answer.reason) == (NoData, "wrong_length")


@pytest.mark.parametrize(("celsius", "good"), [(-40, True), (-41, False), (120, True), (121, False), (-1, True)])
def test_temperatures_outside_minus_40_to_120_are_not_believed(modules: Groups, celsius: float, good: bool) -> None:
    data = bytes([celsius & 0xFF]) + PDO6[1:]
    assert reader("module-01", "pdo6", modules[1]["pdo6"], 12)(data, 0.0).bad == (
        () if good else ((0, "out_of_range"),)
    )


def test_a_frame_after_a_bad_one_is_judged_afresh(modules: Groups) -> None:
    read = reader("module-01", "pdo3", modules[1]["pdo3"], 12)
    bad = bytes([0]) + PDO3[1:]
    assert [read(data, 0.0).bad for data in (PDO3, bad, bad, PDO3)] == [
        (),
        ((0, "out_of_range"),),
        ((0, "out_of_range"),),
        (),
    ]


@settings(deadline=None)
@given(st.sampled_from([f"pdo{number}" for number in range(1, 9)]), st.binary(max_size=10), st.integers(1, 14))
def test_no_frame_whatever_its_bytes_raises_or_loses_its_source(part: str, data: bytes, cells: int) -> None:
    answer = reader("module-05", part, project_modules()[5][part], cells)(data, 2.0)
    assert answer[:3] == ("module-05", part, 2.0)
    if type(answer) is Reading:
        assert len(answer.raw) == len(answer.values) == len(project_modules()[5][part].spec.signals)


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8), st.integers(1, 14))
def test_the_quick_screen_and_the_full_judgement_agree(data: bytes, cells: int) -> None:
    answer = reader("module-05", "pdo3", project_modules()[5]["pdo3"], cells)(data, 2.0)
    if type(answer) is NoData:
        assert data in {bytes(8), b"\xff" * 8}
        return
    expected = tuple(
        (index, "out_of_range" if index < cells else "invalid" if count else "not_populated")
        for index, count in enumerate(data)
        if index >= cells or count in {0, 255}
    )
    assert answer.bad == expected
