"""The BMUs' bus as a device: sends SYNC on a steady schedule and hands what the modules answer to the loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from edge_agent.guard.codecs.canopen import Bmus, Turn
from edge_agent.guard.devices.af_can import AfLink
from edge_agent.guard.devices.python_can import PythonCanLink
from edge_agent.guard.ports import Arrival

if TYPE_CHECKING:
    from edge_agent.guard.codecs.can_frame import Frame
    from edge_agent.guard.codecs.dbc import Decoder

LONGEST_TURN_S = 0.5
GATHER_S = 0.002
"""On a busy bus frames are handed over in bundles of this length: one wake-up for eight frames instead of eight."""


class Link(Protocol):
    """What carries frames. All methods are called on the device's thread."""

    def open(self) -> str:
        """Open; DeviceError says why not."""
        ...

    def close(self) -> None:
        """Close; never raises."""
        ...

    def receive(self, timeout_s: float) -> list[Frame]:
        """Wait for frames; DeviceError when the link is lost."""
        ...

    def send(self, can_id: int, data: bytes) -> None:
        """Send one; DeviceError when the link is lost."""
        ...

    def counters(self) -> dict[str, int]:
        """What was lost, refused or strange, by name; any thread."""
        ...


DIRECT = frozenset({"socketcan", "unix"})
"""Interfaces received straight from a socket; any other name is python-can's."""


class CanBus:
    """Device `can`.

    Args:
        modules: number → part → decoder, as `dbc.groups` gives it.
        cells: cells in series in a module.
        interface: `socketcan`, `unix`, or any interface of python-can.
        channel: the interface's own name of the bus, a path for `unix` and `slcan`.
        bitrate: for interfaces that set it themselves.
        sync_period_s: s between two SYNCs.
    """

    source = "can"

    def __init__(
        self,
        modules: Mapping[int, Mapping[str, Decoder]],
        cells: int,
        *,
        interface: str,
        channel: str,
        bitrate: int = 500_000,
        sync_period_s: float = 0.2,
    ) -> None:
        kind: type[AfLink | PythonCanLink] = AfLink if interface in DIRECT else PythonCanLink
        self._link: Link = kind(interface, channel, bitrate)
        self._bmus = Bmus(modules, cells)
        self._period_s = sync_period_s
        self._sync_due = 0.0
        self._gathered_at = 0.0
        self._skipped = 0

    def open(self) -> str:
        """Open the bus; the first SYNC goes out in the first turn."""
        identity = self._link.open()
        self._bmus.restart()
        self._sync_due = time.monotonic()
        return identity

    def read(self) -> Sequence[Arrival]:
        """One turn: a SYNC when it is due, then what has arrived until the next one."""
        arrivals: list[Arrival] = []
        now = time.monotonic()
        if now >= self._sync_due:
            self._send(self._bmus.on_tick(now), arrivals)
            self._schedule(now)
        elif now < self._gathered_at + GATHER_S:
            time.sleep(min(self._gathered_at + GATHER_S, self._sync_due) - now)
        wait_s = min(LONGEST_TURN_S, max(0.0, self._sync_due - time.monotonic()))
        frames = self._link.receive(0.0 if arrivals else wait_s)
        if frames:
            self._gathered_at = time.monotonic()
            arrivals += self._bmus.on_frames(frames)
        return arrivals

    def close(self) -> None:
        """Give the bus back."""
        self._link.close()

    def counters(self) -> dict[str, int]:
        """What was not an ordinary frame, on the socket and in the protocol, and SYNCs that came too late to be sent."""
        return {**self._link.counters(), **self._bmus.counters(), "skipped_syncs": self._skipped}

    def _send(self, turn: Turn, arrivals: list[Arrival]) -> None:
        for can_id, data in turn.frames:
            self._link.send(can_id, data)
        arrivals += turn.arrivals

    def _schedule(self, now: float) -> None:
        """The next SYNC stays on the grid of the first one; periods that are over already are left out."""
        late = int((now - self._sync_due) / self._period_s)
        self._skipped += late
        self._sync_due += (late + 1) * self._period_s
