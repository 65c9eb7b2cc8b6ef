"""The small protocols between the loop and the devices; each says what is not promised and on which thread it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.guard.model import InverterOrder, NoData, Opened, OutputOrder, Reading
from shared.errors import DeviceError

Arrival = Reading | NoData | Opened


class NotYet(DeviceError):
    """Raised by `Device.open` when the link may not be opened now; the runner asks again at once, without growing delay.

    Waiting is no fault: nothing is reported. `open` itself has to wait a little (at most about 0.5 s) for what it lacks.
    """


class Device(Protocol):
    """A source of readings, driven by one supervised thread of its own (`devices.runner`).

    Not promised: that `open` succeeds, that `read` ever returns anything but an empty list, that a link that died says so.
    `order`-like methods of actuators are called from the loop's thread and only store a value and wake the device's thread.
    """

    source: str
    """Name under which its link is reported: `can`, `inverter`, `arduino`, `gpio`."""

    def open(self) -> str:
        """Open the link and return the device's identity for people; raises DeviceError saying why not and what to do."""
        ...

    def read(self) -> Sequence[Arrival]:
        """Do one turn of I/O, at most about 0.5 s long; returns what arrived, maybe nothing.

        Raises DeviceError when the link must be closed and opened again.
        """
        ...

    def close(self) -> None:
        """Give the link back; never raises, may be called twice."""
        ...

    def counters(self) -> dict[str, int]:
        """Everything that was dropped, retried, refused or clamped so far, by name. Any thread."""
        ...


class OutputActuator(Protocol):
    """Switches pump, fan and relays. Read-back arrives as readings, never as a return value."""

    def order_outputs(self, order: OutputOrder) -> None:
        """Take over the whole wanted mask. Loop thread; returns at once."""
        ...


class InverterActuator(Protocol):
    """Runs the inverter. Read-back arrives as readings (`mode`, `setpoint`), never as a return value."""

    def order_inverter(self, order: InverterOrder) -> None:
        """Take over the wanted mode and setpoint. Loop thread; returns at once."""
        ...


class Inbox(Protocol):
    """Where device threads leave arrivals for the loop. Unbounded in form, bounded by the loop's own deadline alarm."""

    def put(self, arrivals: Sequence[Arrival]) -> None:
        """Enqueue; any thread, never blocks."""
        ...
