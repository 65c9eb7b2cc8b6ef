"""What root tells the kernel while `latency` is measured, so that a simulated rig behaves like wires; undone afterwards."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

QUEUE, QUEUED = Path("/proc/sys/net/unix/max_dgram_qlen"), 512
"""Frames that wait between simulator and guard. An AF_CAN socket holds a full bus for more than a second; a Unix one by default 10
frames, 2.5 ms of it, and what does not fit waits in the simulator."""
WORKER, PRIORITY, AGAIN_S = "kworker/u", 35, 0.5
"""These threads carry the bytes of a serial port, also of a simulated one. At their ordinary priority whatever else this machine
does holds them up for tens of ms; under systemd every service together weighs as much as one of them."""


class Kernel:
    """A context. `said` tells what was allowed."""

    def __init__(self) -> None:
        self.said = "as the kernel comes"
        self._before = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._raise_workers, daemon=True)

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            self._before = QUEUE.read_text(encoding="ascii")
            with suppress(OSError):
                QUEUE.write_text(str(QUEUED), encoding="ascii")
                self.said = f"{QUEUED} frames may wait for the guard, the kernel's serial workers come first"
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._before:
            self._thread.join()
            with suppress(OSError):
                QUEUE.write_text(self._before, encoding="ascii")

    def _raise_workers(self) -> None:
        while not self._done.wait(AGAIN_S):
            _schedule(os.SCHED_FIFO, PRIORITY)
        _schedule(os.SCHED_OTHER, 0)


def _schedule(policy: int, priority: int) -> None:
    for name in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if name.read_text(encoding="utf-8").startswith(WORKER):
                os.sched_setscheduler(int(name.parent.name), policy, os.sched_param(priority))
