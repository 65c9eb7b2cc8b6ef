"""What every way to carry CAN frames to the host has in common, and its list by name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from shared.errors import ConfigError
from simulator.can_bus import Frame


class CanLink(Protocol):
    """The host's end of the bus. Nothing here blocks; what cannot be carried is dropped and counted."""

    dropped: int

    @property
    def described(self) -> dict[str, object]:
        """The `can` object of the line with the links."""

    @property
    def fd(self) -> int:
        """What to wait on for reading, −1 while there is nothing."""

    @property
    def waiting(self) -> bool:
        """Whether frames wait because the host has not read: call `flush` soon."""

    def watch(self) -> bool:
        """Notice that the host came or left."""

    def receive(self) -> list[Frame]:
        """Frames the host sent."""

    def send(self, frames: list[Frame]) -> None:
        """Carry frames to the host."""

    def flush(self) -> None:
        """Try again what waits."""

    def unplug(self) -> None:
        """Pull the adapter."""

    def plug(self) -> None:
        """Plug it in again; nothing happens when it is in."""


def open_can_link(kind: str, directory: Path, bitrate: int) -> CanLink:
    """The link of that kind (`slcan`, `unix` or `socketcan:CHANNEL`); ConfigError otherwise."""
    # imported when asked for: AF_CAN exists on Linux only
    name, _, channel = kind.partition(":")
    if name == "slcan" and not channel:
        from simulator.can_slcan import SlcanLink  # noqa: PLC0415 (loaded when asked for)

        return SlcanLink(directory / "can", bitrate)
    if name == "unix" and not channel:
        from simulator.can_unix import UnixCanLink  # noqa: PLC0415 (loaded when asked for)

        return UnixCanLink(directory / "can", bitrate)
    if name == "socketcan" and channel:
        from simulator.can_socket import SocketCanLink  # noqa: PLC0415 (loaded when asked for)

        return SocketCanLink(channel, bitrate)
    raise ConfigError("--can", kind, "slcan, unix, or socketcan:CHANNEL such as socketcan:vcan0")
