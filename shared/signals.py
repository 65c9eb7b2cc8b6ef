"""The signal catalog: names, units, resolution, range and meaning of everything that is recorded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """One recorded quantity. `low`..`high` is the physical range outside which a value is INVALID, in `unit`."""

    name: str
    unit: str
    resolution: float
    low: float
    high: float
    meaning: str

    def as_catalog(self) -> dict[str, object]:
        """The entry of the `catalog` topic."""
        return {
            "unit": self.unit,
            "resolution": self.resolution,
            "range": [self.low, self.high],
            "meaning": self.meaning,
        }


def module_source(number: int) -> str:
    """`module-05`."""
    return f"module-{number:02d}"


def module_number(source: str) -> int | None:
    """5 for `module-05`, None for any other source."""
    return int(source[7:]) if source.startswith("module-") and source[7:].isdigit() else None


def kind_of(source: str) -> str:
    """`module`, `inverter` or `arduino`: the measurement a source is stored in."""
    return "module" if source.startswith("module-") else source


INVERTER = (
    Signal("ambient_temperature", "°C", 0.009, -60.0, 150.0, "cabinet air, register 30256"),
    Signal("heat_sink_temperature", "°C", 0.009, -60.0, 200.0, "heat sink, register 30257"),
    Signal("comm_timer", "s", 0.1, 0.0, 100.0, "time left of the communication timer, register 30262"),
    Signal("battery_voltage", "V", 0.031, -50.0, 1000.0, "pack side of its own contactor, register 30263"),
    Signal("dc_link_setpoint", "V", 0.031, -50.0, 1000.0, "register 30264"),
    Signal("dc_bus_voltage", "V", 0.031, -50.0, 1000.0, "link side, the capacitor that is precharged, register 30265"),
    Signal("power", "kW", 0.0046, -150.0, 150.0, "DC bus power, + discharge, register 30266"),
    Signal("current", "A", 0.0192, -629.0, 629.0, "DC bus current, + discharge, register 30267"),
    Signal("ready", "", 1.0, 0.0, 1.0, "ready to charge, register 30268"),
    Signal("phase_a_voltage", "V", 0.0153, 0.0, 500.0, "RMS, register 30269"),
    Signal("phase_b_voltage", "V", 0.0153, 0.0, 500.0, "RMS, register 30270"),
    Signal("phase_c_voltage", "V", 0.0153, 0.0, 500.0, "RMS, register 30271"),
    Signal("fault_control", "", 1.0, 0.0, 65535.0, "control-unit fault bits, register 30272"),
    Signal("fault_power_0", "", 1.0, 0.0, 65535.0, "power-unit fault bits, register 30273"),
    Signal("fault_power_1", "", 1.0, 0.0, 65535.0, "power-unit fault bits, register 30274"),
    Signal("fault_extra_0", "", 1.0, 0.0, 65535.0, "additional fault bits, register 30275"),
    Signal("fault_extra_1", "", 1.0, 0.0, 65535.0, "additional fault bits, register 30276"),
    Signal("fault_extra_2", "", 1.0, 0.0, 65535.0, "additional fault bits, register 30277"),
    Signal("warnings", "", 1.0, 0.0, 65535.0, "warning bits, register 30278"),
    Signal("contactors", "", 1.0, 0.0, 65535.0, "its own contactors, bits 4 and 5, register 30279"),
    Signal("power_limit", "kW", 0.0046, 0.0, 150.0, "register 30285"),
    Signal("mode", "", 1.0, 0.0, 4.0, "operating mode read back: 0 off, 1 power, 2 current, 4 voltage, register 41026"),
    Signal("setpoint", "A|kW", 0.0046, -700.0, 700.0, "setpoint read back, in the unit of the mode, register 41027"),
)

ARDUINO = (
    Signal("temp1", "°C", 0.1, -40.0, 140.0, "thermistor 1, 2.2 kΩ to 5 V"),
    Signal("temp2", "°C", 0.1, -40.0, 140.0, "thermistor 2"),
    Signal("press", "", 0.2, 0.0, 150.0, "pressure, unit of the sensor, 0.5..4.5 V"),
    Signal("current_adc", "", 1.0, 0.0, 1023.0, "current input, raw counts (protocol v2)"),
    Signal("ground_fault", "", 1.0, 0.0, 1.0, "ground-fault input, 1 = fault (protocol v2)"),
    Signal("pins", "", 1.0, 0.0, 31.0, "output pins read back, bits pump fan relay1 relay2 relay3 (protocol v2)"),
)

MODULE_MEANINGS = {
    "CMA_Current": "module current sensor, not usable on the lab's rig: recorded, never judged",
    "CMA_Voltage": "module terminal voltage",
    "Min_Cell_Voltage": "lowest cell as the BMU reports it",
    "Max_Cell_Voltage": "highest cell as the BMU reports it",
    "CMA_Min_Temp": "lowest temperature as the BMU reports it",
    "CMA_Max_Temp": "highest temperature as the BMU reports it",
    "CMA_Status": "status bit field",
    "SOC": "state of charge, reads 0 on the lab's rig",
    "SOH": "state of health",
    "CellBalancingStatus": "balancing bit field, one bit a cell",
    "Charge_Ah_from_BMU": "charge counter, counts ampere-seconds (inferred)",
    "Discharge_Ah_from_BMU": "discharge counter, counts ampere-seconds (inferred)",
}
"""Meanings of the BMU's signals by name; units, scales and ranges come from the DBC that is loaded."""
