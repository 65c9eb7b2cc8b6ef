"""The same slave as libmodbus_slave.c on modbus-tk, a program of its own: DEVICE BAUDRATE UNIT; prints "ready"."""

from __future__ import annotations

import struct
import sys
import threading

import serial
from modbus_tk import defines, hooks, modbus_rtu

INPUTS = ((30256, 2), (30262, 18), (30285, 1))
HOLDINGS = (41024, 9)
READ_INPUTS, WRITE_ONE = 4, 6
REFUSED = range(0x7000, 0x8000)
DEVICE_FAILURE = 4
served = 0


def before(arguments: tuple[object, bytes]) -> bytes | None:
    """What the library asks before it serves a request: count it, renew the registers, refuse what is to be refused."""
    global served  # noqa: PLW0603 - one program, one slave
    served += 1
    slave, pdu = arguments
    function, _, second = struct.unpack(">BHH", pdu[:5])
    for address, count in INPUTS:
        slave.set_values(
            f"in{address}", address, [one * 40503 + served * 31 & 0xFFFF for one in range(address, address + count)]
        )
    slave.set_values("in41024", HOLDINGS[0], list(slave.get_values("holdings", *HOLDINGS)))
    return bytes([function | 0x80, DEVICE_FAILURE]) if function == WRITE_ONE and second in REFUSED else None


def main() -> None:
    device, baudrate, unit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    server = modbus_rtu.RtuServer(serial.Serial(device, baudrate), error_on_missing_slave=False)
    slave = server.add_slave(unit)
    for address, count in (*INPUTS, HOLDINGS):
        slave.add_block(f"in{address}", defines.ANALOG_INPUTS, address, count)
    slave.add_block("holdings", defines.HOLDING_REGISTERS, *HOLDINGS)
    hooks.install_hook("modbus.Slave.handle_request", before)
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
