"""Supervises one device on a thread of its own: opens, reads, reopens after a growing delay, says each loss."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from edge_agent.guard.model import NoData, Opened
from edge_agent.guard.ports import Device, Inbox, NotYet
from shared.errors import DeviceError

FIRST_DELAY_S, LONGEST_DELAY_S, GROWTH = 0.5, 5.0, 1.5
STEADY_S = 5.0
"""A link that held for so long earns the first delay again; one that opens and dies at once does not."""
JOIN_S = 5.0

_log = logging.getLogger(__name__)


class Runner:
    """One device, one thread, one inbox. `start` once, `stop` once; `counters` from any thread."""

    def __init__(self, device: Device, inbox: Inbox) -> None:
        self.device = device
        self._inbox = inbox
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device-{device.source}", daemon=True)
        self._counted: Counter[str] = Counter()
        self._delay_s = FIRST_DELAY_S
        self._said = ""

    def start(self) -> None:
        """Begin to open and read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the device; returns when both are done, after at most JOIN_S."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self._thread.is_alive():
            _log.error("device %s did not stop within %s s", self.device.source, JOIN_S)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def counters(self) -> dict[str, int]:
        """The device's own counters and how often its link was opened, lost, refused, or its driver failed."""
        return {**self.device.counters(), **self._counted}

    def _run(self) -> None:
        while not self._stopping.is_set():
            reason = "absent"
            try:
                identity = self.device.open()
                reason = "lost"
                self._counted["opens"] += 1
                self._said = ""
                self._inbox.put([Opened(self.device.source, time.monotonic(), identity)])
                self._read()
            except NotYet as error:
                # nothing is wrong: a link that is only waited for is no alarm, and gets old like any other
                self._say("awaited", str(error), logging.INFO)
                self._delay_s = 0.0
            except DeviceError as error:
                self._report(reason, str(error))
            except Exception as error:  # noqa: BLE001 - the edge of the thread: a driver's defect must not silence the device
                _log.exception("device %s: its driver failed", self.device.source)
                self._counted["driver_failures"] += 1
                self._report(reason, f"driver failed: {type(error).__name__}: {error}")
            finally:
                self.device.close()
            self._stopping.wait(self._delay_s)
            self._delay_s = min(max(FIRST_DELAY_S, self._delay_s * GROWTH), LONGEST_DELAY_S)

    def _read(self) -> None:
        opened_at = time.monotonic()
        while not self._stopping.is_set():
            arrivals = self.device.read()
            if arrivals:
                self._inbox.put(arrivals)
            if self._delay_s > FIRST_DELAY_S and time.monotonic() - opened_at > STEADY_S:
                self._delay_s = FIRST_DELAY_S

    def _report(self, reason: str, detail: str) -> None:
        self._say(reason, detail, logging.WARNING)
        self._inbox.put([NoData(self.device.source, "", time.monotonic(), reason, detail)])

    def _say(self, reason: str, detail: str, level: int) -> None:
        """Count it, and log it once in a row."""
        self._counted[reason] += 1
        text = f"device {self.device.source} {reason}: {detail}"
        _log.log(logging.DEBUG if text == self._said else level, "%s", text)
        self._said = text
