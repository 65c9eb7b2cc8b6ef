"""The bidirectional inverter: registers, modes, limits and its comm timer, as a pure Modbus server in virtual time."""

from __future__ import annotations

import math
import struct
from collections import Counter

from simulator import registers as reg
from simulator.faults import Faults
from simulator.inverter_sensors import InverterSensors
from simulator.plant import Plant

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_REFUSES = 1, 2, 3, 4
READ_HOLDING, READ_INPUT, WRITE_SINGLE = 3, 4, 6
COMM_FAULT_BIT = 3
MOST_REGISTERS = 125


class ModbusException(Exception):
    """The reply is an exception with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Inverter:
    """`serve` answers one request, `tick` lets the comm timer run; the plant asks `wanted_a` for its current."""

    def __init__(self, plant: Plant, sensors: InverterSensors, faults: Faults) -> None:
        self._plant = plant
        self._sensors = sensors
        self._faults = faults
        self.holding = {address: row.start for address, row in reg.HOLDING.items()}
        self.mode = reg.OFF
        self.setpoint_raw = 0
        self._unit_mode = reg.CURRENT
        self._timer_s = 0.0
        self.timer_due = math.inf
        self._tripped = False
        self._renewed: set[int] = set()
        self.counted: Counter[str] = Counter()
        plant.drive = self.wanted_a

    @property
    def setpoint(self) -> float:
        """The setpoint in force, A or kW or V by mode, + discharge."""
        return self.setpoint_raw / reg.SETPOINT_SCALE[self.mode or self._unit_mode]

    # ---- Modbus ----

    def serve(self, pdu: bytes, now: float) -> bytes:
        """The reply to one request (function code and data, no address, no CRC)."""
        if self._refresh_rule == "any_frame":
            self._restart_timer(now)
        try:
            return self._dispatch(pdu, now)
        except ModbusException as refused:
            self.counted["exceptions"] += 1
            return bytes([pdu[0] | 0x80, refused.code])

    def _dispatch(self, pdu: bytes, now: float) -> bytes:
        function = pdu[0]
        if function not in {READ_HOLDING, READ_INPUT, WRITE_SINGLE}:
            raise ModbusException(ILLEGAL_FUNCTION)
        if len(pdu) != 5:
            raise ModbusException(ILLEGAL_VALUE)
        first, second = struct.unpack(">HH", pdu[1:])
        if function == WRITE_SINGLE:
            self._write(first, second, now)
            self.counted["writes"] += 1
            return pdu
        if not 1 <= second <= MOST_REGISTERS:
            raise ModbusException(ILLEGAL_VALUE)
        words = [self._read(address, function, now) for address in range(first, first + second)]
        self.counted["reads"] += 1
        return struct.pack(f">BB{second}H", function, 2 * second, *words)

    def _read(self, address: int, function: int, now: float) -> int:
        if address in self.holding:
            word = self.holding[address] & 0xFFFF
        elif address in reg.INPUTS and function == READ_INPUT:
            word = self._input(address, now)
        else:
            raise ModbusException(ILLEGAL_ADDRESS)
        for row in self._faults.active("inverter.scale"):
            if row["register"] == address:
                word = reg.counts(reg.signed(word), row["factor"])
        return word

    def _input(self, address: int, now: float) -> int:
        if address == reg.COMM_COUNT:
            return 0 if self.timer_due == math.inf else max(0, round((self.timer_due - now) * 10))
        if address in reg.FAULT_WORDS:
            word = 1 << COMM_FAULT_BIT if self._tripped and address == reg.FAULTS_CONTROL else 0
            for row in self._faults.active("inverter.fault"):
                word |= 1 << row["bit"] if row["register"] == address else 0
            return word
        return self._sensors.read(address)

    def _write(self, address: int, raw: int, now: float) -> None:
        row = reg.HOLDING.get(address)
        if row is None or not row.writable:
            raise ModbusException(ILLEGAL_ADDRESS)
        if any(fault["address"] == address for fault in self._faults.active("inverter.refuse_write")):
            raise ModbusException(DEVICE_REFUSES)
        if address != reg.SECURITY and self.holding[reg.SECURITY] != reg.ACCESS_CODE:
            raise ModbusException(DEVICE_REFUSES)
        value = raw if address == reg.SECURITY else reg.signed(raw)
        strict = address in {reg.HEARTBEAT, reg.MODE}
        if strict and (not row.low <= value <= row.high or (address == reg.MODE and value not in reg.SETPOINT_SCALE)):
            raise ModbusException(ILLEGAL_VALUE)
        self.holding[address] = max(row.low, min(row.high, value))
        self._act_on(address, now)

    # ---- what a write does ----

    def _act_on(self, address: int, now: float) -> None:
        if address == reg.HEARTBEAT:
            self._timer_s = self.holding[address] / 10.0
        if address == reg.HEARTBEAT or self._refresh_rule == "any_write":
            self._restart_timer(now)
        if self._tripped and (address == reg.HEARTBEAT or self.holding[reg.SECURITY] == reg.ACCESS_CODE):
            self._renewed.add(address)
            self._tripped = not self._renewed >= {reg.SECURITY, reg.HEARTBEAT}
        if address in {reg.MODE, reg.SETPOINT} and not self._faults.has("inverter.ignore_setpoint"):
            self.obey("command")

    def obey(self, by: str) -> None:
        """Take mode and setpoint from the registers into force, and put what changed on the record."""
        mode, raw = self.holding[reg.MODE], self.holding[reg.SETPOINT]
        changed_mode, changed_raw = mode != self.mode, raw != self.setpoint_raw
        self.mode, self.setpoint_raw = mode, raw
        self._unit_mode = mode or self._unit_mode
        if changed_raw or (changed_mode and raw):
            self._plant.record("inverter.setpoint", round(self.setpoint, 4), by)
        if changed_mode:
            self._plant.record("inverter.mode", mode, by)

    # ---- comm timer ----

    @property
    def _refresh_rule(self) -> str:
        active = self._faults.active("inverter.comm_timer")
        return str(active[-1]["refresh"]) if active else "write41025"

    def _restart_timer(self, now: float) -> None:
        self.timer_due = now + self._timer_s if self._timer_s else math.inf

    def tick(self, now: float) -> None:
        """Trip when the timer has run out: mode and setpoint 0, access closed, fault bit set."""
        if now < self.timer_due or self._refresh_rule == "never_trips":
            return
        self.timer_due, self._timer_s = math.inf, 0.0
        self._tripped, self._renewed = True, set()
        self.counted["comm_trips"] += 1
        self.holding[reg.SECURITY] = self.holding[reg.MODE] = self.holding[reg.SETPOINT] = 0
        self.obey("comm_timer")

    # ---- the power stage ----

    def wanted_a(self, rest_v: float, resistance_ohm: float) -> float:
        """The current the power stage drives into a closed circuit, inside the limits in the registers."""
        if self.mode == reg.OFF or self._tripped:
            return 0.0
        wanted = self._unlimited_a(rest_v, resistance_ohm)
        limits = self.holding
        # 41032 limits charging only; discharging ends at the rated power
        ampere_per_kw = 1000.0 / max(rest_v, 1.0)
        most = min(limits[reg.MAX_DISCHARGE] / reg.AMPERE, reg.RATED_KW * ampere_per_kw)
        least = max(limits[reg.MAX_CHARGE] / reg.AMPERE, -limits[reg.MAX_POWER] / reg.KILOWATT * ampere_per_kw)
        stiff = max(resistance_ohm, 1e-3)
        # the terminal voltage U = rest − I·R stays between its limits: stop short of the current that would leave them
        most = min(most, max(0.0, (rest_v - limits[reg.MIN_V] / reg.VOLT) / stiff))
        least = max(least, min(0.0, (rest_v - limits[reg.MAX_V] / reg.VOLT) / stiff))
        return max(least, min(most, wanted))

    def _unlimited_a(self, rest_v: float, resistance_ohm: float) -> float:
        setpoint = self.setpoint
        if self.mode == reg.CURRENT:
            return setpoint
        if self.mode == reg.VOLTAGE:
            return (rest_v - setpoint) / max(resistance_ohm, 1e-3)
        # constant power: P = (rest − I·R)·I, the smaller root
        power_w = setpoint * 1000.0
        root = rest_v * rest_v - 4 * resistance_ohm * power_w
        if resistance_ohm < 1e-6 or root < 0:
            return power_w / max(rest_v, 1.0)
        return (rest_v - math.sqrt(root)) / (2 * resistance_ohm)
