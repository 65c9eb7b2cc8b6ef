"""Cables and clocks in virtual time: what stands between the simulator's serial ports and the agent's device code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_agent.guard.codecs.rtu_frame import crc16
from edge_agent.guard.devices.rtu import Rtu
from shared.errors import DeviceError
from simulator.trace import Trace

if TYPE_CHECKING:
    from tests.evidence.world import World


class NoTrace(Trace):
    """Nobody asks for it here."""

    def add(self, now: float, line: str, sender: str, data: bytes) -> None:
        """Forget it."""


class Clock:
    """Stands in for the module `time` in the agent's device modules: one world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._world.wait(self._world.now + seconds)


class Event:
    """`threading.Event` of one waiter: its wait lets the world go on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, seconds: float) -> bool:
        self._world.wait(self._world.now + seconds, lambda: self._is_set)
        return self._is_set


class Cable:
    """The pty of a `simulator.serial_port.SerialPort`, without a pty: bytes in memory, plugged or not, opened or not."""

    fd = -1
    is_open = True

    def __init__(self) -> None:
        self.plugged = True
        self.holder: object | None = None
        self.to_host = bytearray()
        self.to_device = bytearray()
        self.opened: Callable[[], None] = lambda: None

    # ---- the simulator's side ----

    def write(self, data: bytes) -> int:
        if self.holder is not None and self.plugged:
            self.to_host += data
        return len(data)

    def unplug(self) -> None:
        self.plugged, self.holder = False, None
        self.to_host.clear()
        self.to_device.clear()

    # ---- the host's side ----

    def open(self, holder: object) -> None:
        if not self.plugged:
            raise DeviceError("no such port")
        self.holder = holder
        self.to_host.clear()
        self.opened()

    def close(self, holder: object) -> None:
        if self.holder is holder:
            self.holder = None

    def check(self, holder: object) -> None:
        if self.holder is not holder:
            raise DeviceError("unplugged")

    def taken(self, holder: object) -> bytes:
        self.check(holder)
        data = bytes(self.to_host)
        self.to_host.clear()
        return data


class Socket:
    """What `Rtu` asks of pyserial."""

    def __init__(self, cable: Cable, holder: object) -> None:
        self._cable, self._holder = cable, holder

    @property
    def in_waiting(self) -> int:
        if self._cable.holder is not self._holder:
            raise OSError(5, "gone")
        return len(self._cable.to_host)

    def read(self, count: int) -> bytes:
        data = bytes(self._cable.to_host[:count])
        del self._cable.to_host[:count]
        return data


class Answer:
    """What `Rtu` asks of a pymodbus PDU."""

    def __init__(self, frame: bytes) -> None:
        self.exception_code = frame[2]
        self._error = bool(frame[1] & 0x80)
        words = frame[3:-2]
        self.registers = [int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2)]

    def isError(self) -> bool:  # noqa: N802 - pymodbus' name
        return self._error


class Client:
    """A Modbus RTU client over a cable, as patient as pymodbus: every byte goes past `check` while it comes in."""

    def __init__(self, world: World, cable: Cable, reply_s: float, check: Callable[[bool, bytes], bytes]) -> None:
        self._world, self._cable, self._reply_s, self._check = world, cable, reply_s, check
        cable.open(self)
        self.socket = Socket(cable, self)

    def close(self) -> None:
        self._cable.close(self)

    def write_register(self, address: int, value: int, *, device_id: int) -> Answer:
        request = bytes([device_id, 6]) + address.to_bytes(2, "big") + value.to_bytes(2, "big")
        return self._exchange(request, 8)

    def read_input_registers(self, address: int, *, count: int, device_id: int) -> Answer:
        request = bytes([device_id, 4]) + address.to_bytes(2, "big") + count.to_bytes(2, "big")
        return self._exchange(request, 5 + 2 * count)

    def _exchange(self, request: bytes, length: int) -> Answer:
        from pymodbus.exceptions import ConnectionException, ModbusIOException  # noqa: PLC0415 - as in rtu

        cable, world = self._cable, self._world
        if cable.holder is not self:
            raise ConnectionException("port gone")
        cable.to_host.clear()
        cable.to_device += request + crc16(request).to_bytes(2, "little")
        until, frame = world.now + self._reply_s, bytearray()
        while True:
            world.wait(until, lambda: bool(cable.to_host) or cable.holder is not self)
            if cable.holder is not self:
                raise ConnectionException("port gone")
            frame += cable.to_host
            cable.to_host.clear()
            self._check(False, bytes(frame))  # noqa: FBT003 - as pymodbus calls it
            if len(frame) >= (5 if len(frame) > 1 and frame[1] & 0x80 else length):
                return Answer(bytes(frame))
            if world.now >= until:
                raise ModbusIOException("no response received")


class VirtualRtu(Rtu):
    """The production client; only the port under it is virtual."""

    def __init__(self, world: World, cable: Cable) -> None:
        super().__init__("virtual", 19_200, 2)
        self._world, self._cable = world, cable

    def _connected(self) -> Any:
        return Client(self._world, self._cable, self._patience.reply_s, self._check)
