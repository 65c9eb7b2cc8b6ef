"""The one door to pymodbus: a Modbus RTU client that never takes a late or foreign reply for an answer.

pymodbus matches a reply to a request by device id alone. So every byte is checked while it comes in: unit, function, length, CRC
and echo. After anything that did not fit the line is drained until it is silent, and probed: a read of a length that was not
asked for since. A slave answers in order, hence what comes after the probe's answer is not late. The same is done between two
reads of one length, because a reply sent twice would be taken for the answer to the second. The port stays open meanwhile: what a
closed port drops is not seen to be late; only an adapter that gives nothing for long is opened afresh.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.guard.codecs.rtu_frame import Expected, echo, registers
from shared.errors import DeviceError, Refused, Unavailable

if TYPE_CHECKING:
    from pymodbus.client import ModbusSerialClient

LISTEN_S = 0.005
REOPEN_AFTER = 10
"""So many missing replies in a row, and the port is opened afresh: some adapters hang until then."""
PROBE_ADDRESS, PROBE_COUNTS = 30262, tuple(range(3, 18))
"""Registers that every inverter has in a row; lengths that its polls do not use."""
PROBES_AFTER_LONG = 3


class Patience(NamedTuple):
    """How long to wait for a reply, and for silence after one that did not fit.

    `reply_s`: the lab's inverter answers up to 0.5 s late, one reply in a hundred; waiting for it costs less than asking again.
    `silent_s`: then nothing is on the way any more; `drain_s`: a line that is never silent is not listened to for longer.
    """

    reply_s: float = 0.6
    silent_s: float = 0.05
    drain_s: float = 0.35


class NoAnswer(Unavailable):
    """No reply, or one that does not belong to the request; the line is being cleared, ask again."""


class ExceptionReply(Refused):
    """The inverter said no. `code`: 1 function, 2 address, 3 value, 4 device failure."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: Modbus exception {code}")
        self.code = code


class Rtu:
    """One slave on one serial port. Not for several threads."""

    def __init__(self, port: str, baudrate: int, unit: int, patience: Patience = Patience()) -> None:  # noqa: B008 - immutable
        self.port = port
        self.baudrate = baudrate
        self.unit = unit
        self.counted: Counter[str] = Counter()
        self._patience = patience
        self._client: ModbusSerialClient | None = None
        self._expected: Expected | None = None
        self._in_doubt = False
        self._asked: set[int] = set()
        self._failures = 0

    def open(self) -> str:
        """Open the port for us alone; DeviceError says why not."""
        self._client = self._connected()
        self._in_doubt = True  # what was asked before may be answered now
        return f"Modbus RTU unit {self.unit} on {self.port}, {self.baudrate} Bd 8N1"

    def close(self) -> None:
        """Give the port back."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]  # pymodbus declares no return type
            self._client = None

    def read(self, address: int, count: int) -> tuple[int, ...]:
        """Registers as 16-bit counts. Raises ExceptionReply, NoAnswer, or DeviceError when the port is lost."""
        self._require_silence()
        if self._in_doubt or count in self._asked:
            self._probe(before=count)
        return self._read(address, count)

    def write(self, address: int, counts: int) -> None:
        """Write one register and check its echo. Raises as `read`.

        Not held up by doubts about the line: the echo names address and value, and a zero must get out in any case.
        """
        if self._waiting():
            self.counted["stray_replies"] += 1
            self._in_doubt = True
        word = counts & 0xFFFF
        client = self._ready()
        reply = self._call(
            echo(self.unit, address, word), lambda: client.write_register(address, word, device_id=self.unit)
        )
        if not self._in_doubt:
            self._asked.clear()
        self._refuse_exception(reply, f"write {address} = {counts}")

    def _read(self, address: int, count: int) -> tuple[int, ...]:
        self._asked.add(count)
        client = self._ready()
        reply = self._call(
            registers(self.unit, count), lambda: client.read_input_registers(address, count=count, device_id=self.unit)
        )
        if not self._in_doubt:
            self._asked = {count}
        if reply.isError():
            self._in_doubt = True  # a refusal has no length of its own: sent again it would look like the next read's
        self._refuse_exception(reply, f"read {address} × {count}")
        return tuple(reply.registers)

    def _require_silence(self) -> None:
        if self._waiting():
            self.counted["stray_replies"] += 1
            raise self._suspect("bytes that nobody asked for: the replies before may not have been theirs")

    def _probe(self, before: int) -> None:
        """Read a length that was not asked for since and is not asked for next. Raises NoAnswer while the line is out of step."""
        counts = [count for count in PROBE_COUNTS if count != before]
        unasked = [count for count in counts if count not in self._asked]
        # when every length was asked for, the answer to one may be an old one; the answers to several in a row are not
        for count in unasked[:1] or random.sample(counts, PROBES_AFTER_LONG):
            self._probe_with(count)
        self._in_doubt = False
        self._asked = {count}

    def _probe_with(self, count: int) -> None:
        """A refusal may be an old one that is sent again, two are this inverter's."""
        for _ in range(2):
            self.counted["probes"] += 1
            try:
                self._read(PROBE_ADDRESS, count)
            except ExceptionReply:
                self.counted["refused_probes"] += 1
            else:
                break
        self._require_silence()

    def _ready(self) -> ModbusSerialClient:
        if self._client is None:
            raise DeviceError(f"{self.port} is closed")
        return self._client

    def _call(self, expected: Expected, request: Callable[[], Any]) -> Any:  # noqa: ANN401 - pymodbus' own PDU classes
        from pymodbus.exceptions import ConnectionException, ModbusException  # noqa: PLC0415 - 8 MB for rigs that need it

        self._expected = expected
        try:
            reply = request()
        except ConnectionException as error:
            raise DeviceError(f"{self.port}: lost while talking to the inverter") from error
        except ModbusException as error:
            raise self._suspect(str(error)) from error
        self.counted["transactions"] += 1
        self._failures = 0
        return reply

    def _check(self, sending: bool, data: bytes) -> bytes:
        """Every byte of the reply so far, before pymodbus looks at it."""
        from pymodbus.exceptions import ModbusIOException  # noqa: PLC0415 - see _call

        if not sending and self._expected is not None and (complaint := self._expected.complaint(data)):
            self.counted["unfit_replies"] += 1
            raise ModbusIOException(complaint)
        return data

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
        began = heard = time.monotonic()
        while (now := time.monotonic()) < began + self._patience.drain_s:
            if waiting := self._waiting():
                self.counted["late_bytes"] += waiting
                self._drop(waiting)
                heard = now
            elif now - heard > self._patience.silent_s:
                break
            time.sleep(LISTEN_S)
        self._failures += 1
        if self._failures % REOPEN_AFTER == 0:
            self.close()
            self.counted["reopened_ports"] += 1
            self._client = self._connected()

    def _waiting(self) -> int:
        """Bytes that have come in and were not read."""
        client = self._ready()
        if client.socket is None:
            raise DeviceError(f"{self.port}: lost")
        try:
            return int(client.socket.in_waiting)
        except OSError as error:
            raise DeviceError(f"{self.port}: unplugged ({error.strerror})") from error

    def _drop(self, count: int) -> None:
        client = self._ready()
        assert client.socket is not None
        try:
            client.socket.read(count)
        except OSError as error:
            raise DeviceError(f"{self.port}: unplugged") from error

    def _connected(self) -> ModbusSerialClient:
        from pymodbus.client import ModbusSerialClient  # noqa: PLC0415 - see _call

        # what it complains about is counted and reported here
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        try:
            client = ModbusSerialClient(
                self.port,
                baudrate=self.baudrate,
                timeout=self._patience.reply_s,
                retries=0,
                trace_packet=self._check,
            )
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
