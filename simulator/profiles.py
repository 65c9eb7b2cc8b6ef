"""What distinguishes one rig from another, as data: the ideal one, and the lab's of 2021 with its oddities."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ConfigError

# The lab's log of 2021-03-31 12:52:01: hundredths of a volt of cells 1..12, sensors 1..7 in °C, the module's own sum in V.
_LAB_CELLS_CV = (
    (394, 394, 394, 395, 394, 395, 394, 394, 394, 394, 394, 394),
    (394, 394, 394, 394, 394, 394, 394, 394, 394, 394, 394, 394),
    (395, 395, 394, 395, 395, 394, 394, 395, 394, 395, 394, 394),
    (393, 392, 393, 393, 393, 393, 393, 393, 393, 393, 393, 393),
    (393, 392, 392, 393, 393, 393, 393, 393, 393, 393, 393, 393),
    (394, 394, 393, 393, 394, 394, 393, 393, 394, 394, 393, 394),
    (393, 393, 393, 392, 393, 393, 393, 392, 393, 393, 393, 393),
    (393, 393, 393, 393, 393, 393, 393, 393, 393, 393, 393, 393),
)
_LAB_TEMPERATURES_C = (
    (22, 20, 20, 20, 20, 20, 21),
    (21, 20, 20, 20, 21, 22, 25),
    (25, 22, 21, 20, 20, 20, 21),
    (25, 23, 22, 22, 22, 22, 24),
    (25, 23, 22, 21, 21, 21, 22),
    (21, 19, 19, 20, 20, 21, 24),
    (21, 20, 19, 20, 20, 20, 21),
    (24, 22, 22, 21, 22, 23, 25),
)
_LAB_MODULES_V = (47.30, 47.26, 47.33, 47.15, 47.12, 47.21, 47.13, 47.15)
_LAB_CURRENTS_A = (-96.3, -127.2, -82.7, -93.5, -157.0, -99.0, -95.1, -119.7)


@dataclass(frozen=True, slots=True)
class Profile:
    """One rig's start values, sensor errors and bad habits. Rows are per module; a longer pack repeats them."""

    name: str
    ambient_c: float
    link_bleed_tau_s: float
    module_v: tuple[float, ...]
    cells_cv: tuple[tuple[int, ...], ...] = ()
    temperatures_c: tuple[tuple[int, ...], ...] = ()
    # BMU sensors
    current_offset_a: tuple[float, ...] = (0.0,)
    module_noise_v: float = 0.0
    status_cycle: tuple[int, ...] = (3,)
    charge_counter: tuple[int, ...] = ()  # fixed counters instead of counted ones
    reports_soc: bool = True
    sends_cell_soc: bool = True  # PDO7 and PDO8
    silence_per_hour: float = 0.0
    silence_s: tuple[float, float] = (0.0, 0.0)
    # inverter sensors and its line
    inverter_current_offset_a: float = 0.0
    inverter_current_noise_a: float = 0.0
    inverter_voltage_gain: float = 1.0
    late_reply_probability: float = 0.0
    late_reply_s: tuple[float, float] = (0.0, 0.0)
    late_reply_spacing_s: float = 0.0
    # analogue inputs of the Arduino, in counts, stepping through each row every `cycle_s`
    adc_cycles: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("temp1", (589,)),  # 25 °C against 2.2 kΩ
        ("temp2", (589,)),
        ("press", (512,)),  # 2.5 V, mid-range
        ("current", (512,)),
    )
    cycle_s: float = 6.0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="ideal", ambient_c=25.0, link_bleed_tau_s=2.0, module_v=(45.0,)),
        Profile(
            name="lab-2021",
            ambient_c=22.0,
            link_bleed_tau_s=20.0,
            module_v=_LAB_MODULES_V,
            cells_cv=_LAB_CELLS_CV,
            temperatures_c=_LAB_TEMPERATURES_C,
            current_offset_a=_LAB_CURRENTS_A,
            module_noise_v=0.003,
            status_cycle=(67, 3),
            charge_counter=(0, 0, 0, 0, 0, 0, 0, 498),
            reports_soc=False,
            sends_cell_soc=False,
            silence_per_hour=5.0,
            silence_s=(0.2, 0.8),
            inverter_current_offset_a=0.2,
            inverter_current_noise_a=1.4,
            inverter_voltage_gain=377.76 / 377.65,
            late_reply_probability=0.01,
            late_reply_s=(0.1, 0.5),
            late_reply_spacing_s=3.0,
            adc_cycles=(
                ("temp1", (506, 398)),
                ("temp2", (452, 374)),
                ("press", (588, 381)),
                ("current", (512,)),
            ),
        ),
    )
}


def profile_named(name: str) -> Profile:
    """The profile of that name; ConfigError names the ones there are."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ConfigError("--profile", name, " or ".join(PROFILES)) from None


def start_cells_v(profile: Profile, module: int, cells: int) -> list[float]:
    """Rest voltages of one module's cells (module counts from 0); their sum is the profile's module voltage."""
    total = profile.module_v[module % len(profile.module_v)] * cells / 12
    if profile.cells_cv and cells == 12:
        row = [hundredths / 100 for hundredths in profile.cells_cv[module % len(profile.cells_cv)]]
        return [cell + (total - sum(row)) / cells for cell in row]
    return [total / cells] * cells
