"""Sends frames on a CAN interface as fast as its controller takes them: INTERFACE IDENTIFIER COUNT."""

import errno
import select
import socket
import sys

interface, identifier, count = sys.argv[1], int(sys.argv[2], 0), int(sys.argv[3])
with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as link:
    link.bind((interface,))
    link.settimeout(0.0)
    frame = identifier.to_bytes(4, "little") + b"\x08\0\0\0" + bytes(8)
    sent = 0
    while sent < count:
        try:
            link.send(frame)
            sent += 1
        except OSError as error:
            if error.errno not in {errno.ENOBUFS, errno.EAGAIN}:
                raise
            # a full queue of the interface cannot be waited for: rest a moment
            select.select([], [], [], 0.001)
sys.stdout.write(f"{sent}\n")
