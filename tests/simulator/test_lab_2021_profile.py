"""The numbers of the lab's rig of 2021 as reference/rig.md §8 lists them."""

from __future__ import annotations

import statistics
import struct
from collections.abc import Callable
from typing import Any

import pytest

from simulator.can_bus import Frame

Make = Callable[..., Any]
MODULES_V = [47.30, 47.26, 47.33, 47.15, 47.12, 47.21, 47.13, 47.15]
CURRENTS_A = [-96.3, -127.2, -82.7, -93.5, -157.0, -99.0, -95.1, -119.7]


def lab(bench: Make, **options: Any) -> Any:
    # 97 s lies in the first half of the twelve-second cycle of the status words and ADC counts
    return bench(**{"modules": 8, "profile": "lab-2021", "start": 97.0, **options})


def said(rig: Any) -> dict[int, bytes]:
    return {frame.can_id: frame.data for frame in rig.sync()}


def test_voltages_and_biased_currents_are_the_lists(bench: Make) -> None:
    frames = said(lab(bench))
    for n in range(8):
        current, volts = struct.unpack_from("<hH", frames[0x181 + n])
        assert current / 10 == pytest.approx(CURRENTS_A[n], abs=0.05)
        assert volts / 100 == pytest.approx(MODULES_V[n], abs=0.015)


def test_module_voltages_move_by_a_hundredth(bench: Make) -> None:
    rig = lab(bench)
    seen = {struct.unpack_from("<H", said(rig)[0x183], 2)[0] for _ in range(60)}
    assert 2 <= len(seen) <= 4


def test_cells_lie_between_3_92_and_3_95_with_a_spread_of_one_count_and_agree_with_sum_and_extremes(
    bench: Make,
) -> None:
    frames = said(lab(bench))
    for n in range(1, 9):
        cells = [round(raw * 0.01 + 2.2, 2) for raw in frames[0x380 + n] + frames[0x480 + n][:4]]
        assert min(cells) >= 3.92
        assert max(cells) <= 3.95
        assert max(cells) - min(cells) < 0.011
        _, volts, lowest, highest, coldest, hottest = struct.unpack("<hHBBbb", frames[0x180 + n])
        assert [round(lowest * 0.01 + 2.2, 2), round(highest * 0.01 + 2.2, 2)] == [min(cells), max(cells)]
        assert -0.03 < sum(cells) - volts * 0.01 < 0.03
        assert 19 <= coldest <= hottest <= 25
        assert frames[0x480 + n][4:] == bytes(4)


def test_status_toggles_every_six_seconds_between_67_and_3(bench: Make) -> None:
    rig = lab(bench)
    words = []
    for _ in range(4):
        words.append(struct.unpack_from("<H", said(rig)[0x281])[0])
        rig.run(6.0 - 0.05, step_s=0.05)
    assert words == [67, 3, 67, 3]


def test_soc_is_zero_soh_100_and_counters_zero_but_module_eight(bench: Make) -> None:
    frames = said(lab(bench))
    assert {tuple(frames[0x280 + n][2:4]) for n in range(1, 9)} == {(0, 100)}
    assert [frames[0x190 + n] for n in range(1, 8)] == [bytes(8)] * 7
    assert struct.unpack("<II", frames[0x198]) == (498, 0)


def test_pdo7_and_pdo8_never_arrive_and_pdo6_does_once_enabled(bench: Make) -> None:
    rig = lab(bench)
    for n in range(1, 9):
        rig.rig.bus.submit_host(Frame(0x600 + n, bytes.fromhex("2F05180100000000")), rig.now)
    rig.run(0.05)
    ids = set(said(rig))
    assert {0x290 + n for n in range(1, 9)} <= ids
    assert not ids & {base + n for base in (0x390, 0x490) for n in range(1, 9)}


@pytest.mark.parametrize(("name", "counts"), [("temp1", (506, 398)), ("temp2", (452, 374)), ("press", (588, 381))])
def test_adc_counts_alternate_every_six_seconds(bench: Make, name: str, counts: tuple[int, int]) -> None:
    inputs = lab(bench).rig.inputs
    assert [inputs.adc(name, 96.0 + 6 * n + 3) for n in range(4)] == [*counts, *counts]


def test_the_inverters_current_is_noisy_and_offset_and_its_voltage_a_little_high(bench: Make) -> None:
    rig = lab(bench)
    amps = [rig.read(30267)[0] / 52.094 for _ in range(4000)]
    assert statistics.mean(amps) == pytest.approx(0.2, abs=0.1)
    assert statistics.stdev(amps) == pytest.approx(1.4, abs=0.1)
    assert rig.read(30263)[0] / 32.767 == pytest.approx(377.76, abs=0.04)


def test_the_link_bleeds_with_twenty_seconds(bench: Make) -> None:
    rig = lab(bench)
    rig.rig.plant.link_v = 300.0
    rig.run(20.0, step_s=0.05)
    assert rig.rig.plant.link_v == pytest.approx(300 / 2.71828, rel=0.01)


def test_answers_go_missing_in_bursts_of_at_most_800_ms_about_five_times_an_hour(bench: Make) -> None:
    rig = lab(bench, modules=1)
    missing = 0
    bursts: list[int] = []
    for _ in range(8 * 3600 * 5):
        rig.now += 0.2
        rig.rig.nodes.hear(Frame(0x80, b"\xff"), rig.now)
        answered = rig.rig.bus.due < float("inf")
        rig.rig.bus.clear()
        if not answered:
            missing += 1
        elif missing:
            bursts.append(missing)
            missing = 0
    assert 20 <= len(bursts) <= 65
    assert max(bursts) <= 5
    assert rig.rig.nodes.silences == pytest.approx(len(bursts), abs=3)
