"""Raises module 1's charge by half a percent again and again, and prints when: CLOCK_BOOTTIME before and after, the charge.

CONTROL FIRST COUNT EVERY: the simulator's control socket, the first charge, how many, and seconds from one to the next.
"""

import json
import select
import socket
import sys
import time

first, count, every_s = float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with socket.socket(socket.AF_UNIX) as control:
    control.connect(sys.argv[1])
    answers = control.makefile()
    for number in range(count):
        charge = first + number / 2
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        control.sendall(json.dumps({"set": {"module.1.soc_pct": charge}}).encode() + b"\n")
        answers.readline()
        sys.stdout.write(f"{began:.3f} {time.clock_gettime(time.CLOCK_BOOTTIME):.3f} {charge}\n")
        sys.stdout.flush()
        select.select([], [], [], every_s)
