"""Writes bms.dbc from the tables below: `python -m dbc.make_dbc`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

MODULES = range(1, 16)
EXTENDED = 0x8000_0000


class Signal(NamedTuple):
    """One signal; `start` as a DBC counts it, `span` = its physical minimum and maximum, None = not known."""

    name: str
    start: int
    bits: int
    scale: str = "1"
    offset: str = "0"
    unit: str = ""
    span: tuple[str, str] | None = None
    signed: bool = False
    big_endian: bool = False


class Message(NamedTuple):
    """One message as it stands in the file; `can_id` has bit 31 set when extended."""

    can_id: int
    name: str
    length: int
    sender: str
    signals: tuple[Signal, ...] = ()


def cell_voltage(name: str, byte: int) -> Signal:
    """A cell voltage in one byte, 2.20 V to 4.75 V."""
    return Signal(name, byte * 8, 8, "0.01", "2.2", "V", ("2.2", "4.75"))


def temperature(name: str, byte: int) -> Signal:
    """A temperature in one signed byte."""
    return Signal(name, byte * 8, 8, unit="°C", span=("-128", "127"), signed=True)


def state_of_charge(name: str, byte: int) -> Signal:
    """A state of charge in one byte of half percents."""
    return Signal(name, byte * 8, 8, "0.5", unit="%", span=("0", "100"))


# frame of one module → (identifier of module 0, signals); every PDO is 8 bytes long
MODULE_PDOS: dict[str, tuple[int, tuple[Signal, ...]]] = {
    "pdo1": (
        0x180,
        (
            Signal("CMA_Current", 0, 16, "0.1", unit="A", span=("-3276.8", "3276.7"), signed=True),
            Signal("CMA_Voltage", 16, 16, "0.01", unit="V", span=("0", "655.35")),
            cell_voltage("Min_Cell_Voltage", 4),
            cell_voltage("Max_Cell_Voltage", 5),
            temperature("CMA_Min_Temp", 6),
            temperature("CMA_Max_Temp", 7),
        ),
    ),
    "pdo2": (
        0x280,
        (
            Signal("CMA_Status", 0, 16),
            state_of_charge("SOC", 2),
            Signal("SOH", 24, 8, unit="%", span=("0", "100")),
            Signal("CellBalancingStatus", 32, 16),
        ),
    ),
    "pdo3": (0x380, tuple(cell_voltage(f"Cell_{cell}_Voltage", cell - 1) for cell in range(1, 9))),
    "pdo4": (0x480, tuple(cell_voltage(f"Cell_{cell}_Voltage", cell - 9) for cell in range(9, 15))),
    "pdo5": (0x190, (Signal("Charge_Ah_from_BMU", 0, 32), Signal("Discharge_Ah_from_BMU", 32, 32))),
    "pdo6": (0x290, tuple(temperature(f"CMA_Temp{sensor}", sensor - 1) for sensor in range(1, 8))),
    "pdo7": (0x390, tuple(state_of_charge(f"Cell{cell:02}_SOC", cell - 1) for cell in range(1, 9))),
    "pdo8": (0x490, tuple(state_of_charge(f"Cell{cell:02}_SOC", cell - 9) for cell in range(9, 15))),
}

SDO = (
    Signal("SDO_size_indicate", 0, 1),
    Signal("SDO_Expidited", 1, 1),
    Signal("SDO_unused_bytes", 2, 2),
    Signal("SDO_toggle", 4, 1),
    Signal("SDO_CMD", 5, 3),
    Signal("SDO_Index", 8, 16),
    Signal("SDO_SubIndex", 24, 8),
    Signal("SDO_Data", 32, 32),
)

# CiA 301: what the three command bits of an SDO mean, from the client and from the server
SDO_REQUESTS = ("download_segment", "initiate_download", "initiate_upload", "upload_segment", "abort")
SDO_RESPONSES = ("upload_segment", "download_segment", "initiate_upload", "initiate_download", "abort")

SINGLES = (
    Message(0x080, "SYNC", 1, "Agent", (Signal("Sync_Count", 0, 8),)),
    Message(0x09C, "EMERGENCY", 0, "BMU"),
    Message(0x271, "Display_pdo1", 8, "Agent", tuple(Signal(f"Text_{n}", n * 8 - 8, 8) for n in range(1, 9))),
    Message(0x371, "Display_pdo2", 8, "Agent", tuple(Signal(f"Text_{n}", n * 8 - 72, 8) for n in range(9, 17))),
    Message(EXTENDED | 0x0A100101, "SendyneReq", 1, "Agent", (Signal("Sendyne_OpCode", 0, 8),)),
    Message(
        EXTENDED | 0x0A100100,
        "SendyneResp",
        8,
        "Sendyne",
        (
            Signal("Sendyne_Data_V1", 23, 16, big_endian=True),
            Signal("Sendyne_Data_V2", 47, 16, big_endian=True),
        ),
    ),
)

COMMENTS = {
    "Cell_13_Voltage": "Not populated in modules of 12 cells: count 0, which decodes to 2.20 V.",
    "Cell_14_Voltage": "Not populated in modules of 12 cells: count 0, which decodes to 2.20 V.",
    "Charge_Ah_from_BMU": "Unit not documented; ampere seconds by the look of it.",
    "Discharge_Ah_from_BMU": "Unit not documented; ampere seconds by the look of it.",
    "CMA_Current": "Not a usable current on every rig; minus is discharge here, unlike elsewhere in this project.",
}


def messages() -> list[Message]:
    """Every message, sorted by identifier."""
    pdos = [
        Message(first + n, f"BMU{n:02}_{frame}", 8, "BMU", signals)
        for frame, (first, signals) in MODULE_PDOS.items()
        for n in MODULES
    ]
    requests = [Message(0x600 + n, f"BMU{n:02}_SDO_Req", 8, "Agent", SDO) for n in MODULES]
    responses = [Message(0x580 + n, f"BMU{n:02}_SDO_Resp", 8, "BMU", SDO) for n in MODULES]
    return sorted([*SINGLES, *pdos, *requests, *responses])


def text() -> str:
    """The whole file."""
    everything = messages()
    parts = ['VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: Agent BMU Sendyne\n']
    parts += ["\n".join([_message_line(one), *map(_signal_line, one.signals), ""]) for one in everything]
    comments = [
        f'CM_ SG_ {one.can_id} {signal.name} "{COMMENTS[signal.name]}";'
        for one in everything
        for signal in one.signals
        if signal.name in COMMENTS
    ]
    values = [f"VAL_ {one.can_id} SDO_CMD {_choices(one)} ;" for one in everything if one.signals == SDO]
    return "\n".join([*parts, *comments, *values, ""])


def _message_line(message: Message) -> str:
    return f"BO_ {message.can_id} {message.name}: {message.length} {message.sender}"


def _signal_line(signal: Signal) -> str:
    place = f"{signal.start}|{signal.bits}@{0 if signal.big_endian else 1}{'-' if signal.signed else '+'}"
    low, high = signal.span or ("0", "0")
    numbers = f"({signal.scale},{signal.offset}) [{low}|{high}]"
    return f' SG_ {signal.name} : {place} {numbers} "{signal.unit}" Vector__XXX'


def _choices(message: Message) -> str:
    names = SDO_REQUESTS if message.name.endswith("Req") else SDO_RESPONSES
    return " ".join(f'{number} "{name}"' for number, name in enumerate(names))


def main() -> None:
    """Write bms.dbc beside this file."""
    (Path(__file__).parent / "bms.dbc").write_bytes(text().encode("utf-8"))


if __name__ == "__main__":
    main()
