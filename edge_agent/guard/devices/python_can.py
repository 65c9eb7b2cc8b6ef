"""The one door to python-can: every CAN interface but the two that are received directly."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from edge_agent.guard.codecs.can_frame import ERROR, EXTENDED, REMOTE, Frame
from shared.errors import DeviceError

if TYPE_CHECKING:
    import can

MOST_FRAMES = 512
OPTIONS: dict[str, dict[str, Any]] = {
    "slcan": {"sleep_after_open": 0.25},  # 2 s by default, for adapters that restart when they are opened
}
"""Arguments of an interface beyond channel and bitrate."""


class PythonCanLink:
    """One python-can bus, read in our own thread: its Notifier dies silently."""

    def __init__(self, interface: str, channel: str, bitrate: int) -> None:
        self.interface = interface
        self.channel = channel
        self.bitrate = bitrate
        self.counted: Counter[str] = Counter()
        self._bus: can.BusABC | None = None

    def open(self) -> str:
        """Open the bus; DeviceError says why not."""
        try:
            import can  # noqa: PLC0415 - 15 MB that a rig on SocketCAN never needs

            self._bus = can.Bus(
                channel=self.channel,
                interface=self.interface,
                ignore_config=True,
                bitrate=self.bitrate,
                **OPTIONS.get(self.interface, {}),
            )
        except (ImportError, OSError, TypeError, ValueError, NotImplementedError, _can_error()) as error:
            raise self._lost(error) from error
        return f"{self.interface} {self.channel} through python-can {can.__version__}"

    def counters(self) -> dict[str, int]:
        """Frames that are none, and ports that had to be closed by force."""
        return dict(self.counted)

    def close(self) -> None:
        """Give the bus back. slcan says goodbye first, and leaves its port open when that fails: close that too."""
        bus, self._bus = self._bus, None
        if bus is None:
            return
        try:
            bus.shutdown()
        except (OSError, ValueError, _can_error()):
            self.counted["rough_closes"] += 1
            port = getattr(bus, "serialPortOrig", None)
            if port is not None:
                port.close()

    def receive(self, timeout_s: float) -> list[Frame]:
        """Wait for a frame, then take everything that is there (at most MOST_FRAMES)."""
        frames: list[Frame] = []
        if self._bus is None:
            return frames
        try:
            message = self._bus.recv(timeout_s)
            while message is not None:
                frames.append(_frame(message))
                message = self._bus.recv(0.0) if len(frames) < MOST_FRAMES else None
        except (ValueError, IndexError):  # a line of an slcan adapter that is no frame
            self.counted["malformed_frames"] += 1
        except (OSError, _can_error()) as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise self._lost(error) from error
            self.counted["malformed_frames"] += 1
            _forget_line(self._bus)
        return frames

    def send(self, can_id: int, data: bytes) -> None:
        """Send one frame; a lost link raises DeviceError."""
        if self._bus is None:
            raise DeviceError(f"{self.interface} {self.channel} is closed")
        import can  # noqa: PLC0415 - see open

        extended = bool(can_id & EXTENDED)
        message = can.Message(arbitration_id=can_id & 0x1FFF_FFFF, data=data, is_extended_id=extended)
        try:
            self._bus.send(message, timeout=0.1)
        except (OSError, can.CanError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> DeviceError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return DeviceError(f"{self.interface} {self.channel}: {reason[:200]}")


def _can_error() -> type[Exception]:
    import can  # noqa: PLC0415 - see open

    return can.CanError


def _frame(message: can.Message) -> Frame:
    flags = EXTENDED * message.is_extended_id | REMOTE * message.is_remote_frame | ERROR * message.is_error_frame
    return message.arbitration_id | flags, bytes(message.data), time.monotonic()


def _forget_line(bus: can.BusABC) -> None:
    """A serial adapter's driver keeps a line it could not decode, and would choke on it for ever."""
    buffer = getattr(bus, "_buffer", None)
    if isinstance(buffer, bytearray):
        buffer.clear()
