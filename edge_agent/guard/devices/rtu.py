"""The one door to pymodbus: a Modbus RTU client that never takes a late or foreign reply for an answer.

pymodbus matches a reply to a request by device id alone. So each reply is checked for its function, count and echo, and after
anything that did not fit the line is drained until it is silent, and probed: a read of a length that nobody else asked for.
A slave answers in order, hence what comes after the probe's answer is not late. The port stays open meanwhile, because what a
closed port drops is not seen to be late; only an adapter that gives nothing for long is opened afresh.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.errors import DeviceError, Refused, Unavailable

if TYPE_CHECKING:
    from pymodbus.client import ModbusSerialClient

READ_INPUT, WRITE_SINGLE, IS_EXCEPTION = 4, 6, 0x80
REPLY_S = 0.25
SILENT_S, QUIET_S, LONGEST_QUIET_S = 0.05, 0.2, 0.35
"""After a missing reply the line must be silent for SILENT_S; it is given QUIET_S at least, LONGEST_QUIET_S at most."""
LISTEN_S = 0.005
REOPEN_AFTER = 10
"""So many missing replies in a row, and the port is opened afresh: some adapters hang until then."""
PROBE_ADDRESS, PROBE_COUNTS = 30262, tuple(range(3, 18))
"""Registers that every inverter has in a row; lengths that no other read uses."""


class NoAnswer(Unavailable):
    """No reply, or one that does not belong to the request; the line is being cleared, ask again."""


class ExceptionReply(Refused):
    """The inverter said no. `code`: 1 function, 2 address, 3 value, 4 device failure."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: Modbus exception {code}")
        self.code = code


class Rtu:
    """One slave on one serial port. Not for several threads."""

    def __init__(self, port: str, baudrate: int, unit: int) -> None:
        self.port = port
        self.baudrate = baudrate
        self.unit = unit
        self.counted: Counter[str] = Counter()
        self._client: ModbusSerialClient | None = None
        self._in_doubt = False
        self._probes = 0
        self._failures = 0

    def open(self) -> str:
        """Open the port for us alone; DeviceError says why not."""
        self._client = self._connected()
        self._in_doubt = False
        return f"Modbus RTU unit {self.unit} on {self.port}, {self.baudrate} Bd 8N1"

    def close(self) -> None:
        """Give the port back."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]  # pymodbus declares no return type
            self._client = None

    def read(self, address: int, count: int) -> tuple[int, ...]:
        """Registers as 16-bit counts. Raises ExceptionReply, NoAnswer, or DeviceError when the port is lost."""
        if self._in_doubt:
            self._probe()
        return self._read(address, count)

    def write(self, address: int, counts: int) -> None:
        """Write one register and check its echo. Raises as `read`.

        Not held up by doubts about the line: the echo names address and value, and a zero must get out in any case.
        """
        word = counts & 0xFFFF
        client = self._ready()
        reply = self._call(WRITE_SINGLE, lambda: client.write_register(address, word, device_id=self.unit))
        self._refuse_exception(reply, f"write {address} = {counts}")
        if (reply.address, list(reply.registers)) != (address, [word]):
            raise self._suspect(f"write {address} = {counts} echoed as {reply.address} = {list(reply.registers)}")

    def _read(self, address: int, count: int) -> tuple[int, ...]:
        client = self._ready()
        reply = self._call(READ_INPUT, lambda: client.read_input_registers(address, count=count, device_id=self.unit))
        self._refuse_exception(reply, f"read {address} × {count}")
        registers = tuple(reply.registers)
        if len(registers) != count:
            raise self._suspect(f"read {address} × {count} answered with {len(registers)} registers")
        return registers

    def _probe(self) -> None:
        """Raises NoAnswer while the line is out of step."""
        self._probes += 1
        self.counted["probes"] += 1
        try:
            self._read(PROBE_ADDRESS, PROBE_COUNTS[self._probes % len(PROBE_COUNTS)])
        except ExceptionReply:
            self.counted["refused_probes"] += 1
        self._in_doubt = False

    def _ready(self) -> ModbusSerialClient:
        if self._client is None:
            raise DeviceError(f"{self.port} is closed")
        if self._waiting(self._client):
            self._clear_line()
            self.counted["stray_replies"] += 1
        assert self._client is not None
        return self._client

    def _call(self, function: int, request: Callable[[], Any]) -> Any:  # noqa: ANN401 - pymodbus' own PDU classes
        from pymodbus.exceptions import ConnectionException, ModbusException  # noqa: PLC0415 - 8 MB for rigs that need it

        try:
            reply = request()
        except ConnectionException as error:
            raise DeviceError(f"{self.port}: lost while talking to the inverter") from error
        except ModbusException as error:
            raise self._suspect(f"no reply within {REPLY_S} s") from error
        if reply.function_code not in (function, function | IS_EXCEPTION):
            raise self._suspect(f"asked function {function}, got {reply.function_code}")
        self.counted["transactions"] += 1
        self._failures = 0
        return reply

    def _refuse_exception(self, reply: Any, what: str) -> None:  # noqa: ANN401 - see _call
        if reply.isError():
            self.counted["exception_replies"] += 1
            raise ExceptionReply(int(reply.exception_code), what)

    def _suspect(self, why: str) -> NoAnswer:
        self.counted["no_answers"] += 1
        self._clear_line()
        return NoAnswer(why)

    def _clear_line(self) -> None:
        """Drop what still comes until the line is silent, then start clean."""
        self._in_doubt = True
        client = self._client
        assert client is not None
        began = time.monotonic()
        heard = began - SILENT_S
        while (now := time.monotonic()) < began + LONGEST_QUIET_S:
            if waiting := self._waiting(client):
                self.counted["late_bytes"] += waiting
                assert client.socket is not None
                client.socket.read(waiting)
                heard = now
            elif now - heard > SILENT_S and now - began > QUIET_S:
                break
            time.sleep(LISTEN_S)
        self._failures += 1
        if self._failures % REOPEN_AFTER == 0:
            self.close()
            self.counted["reopened_ports"] += 1
            self._client = self._connected()

    def _waiting(self, client: ModbusSerialClient) -> int:
        if client.socket is None:
            raise DeviceError(f"{self.port}: lost")
        try:
            return int(client.socket.in_waiting)
        except OSError as error:
            raise DeviceError(f"{self.port}: unplugged ({error.strerror})") from error

    def _connected(self) -> ModbusSerialClient:
        from pymodbus.client import ModbusSerialClient  # noqa: PLC0415 - see _call

        # what it complains about is counted and reported here
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        try:
            client = ModbusSerialClient(self.port, baudrate=self.baudrate, timeout=REPLY_S, retries=0)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DeviceError(f"{self.port}: {error}") from error
        if not client.connect():
            raise DeviceError(f"{self.port}: {self._why()}")
        return client

    def _why(self) -> str:
        if not os.path.exists(self.port):  # noqa: PTH110 - a port may be named by anything pyserial understands
            return "no such port: plug the RS-485 adapter in, or set [inverter] port"
        if not os.access(self.port, os.R_OK | os.W_OK):
            return "no permission: the user needs the group dialout"
        return "cannot be opened, is another program using it"
