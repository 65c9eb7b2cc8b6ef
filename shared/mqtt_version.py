"""PURE: which version of MQTT the next connection speaks: 5, or 3.1.1 where the broker does not understand that."""

from __future__ import annotations

NEW, OLD = 5, 4
"""As the protocol numbers them: 4 is MQTT 3.1.1."""


class Version:
    """`next` is the one to try. Some old brokers close on MQTT 5, some never answer: that costs a time-out, so only once."""

    def __init__(self) -> None:
        self.next = self._first = NEW
        self._spoke_new = self._was_mute = False

    def accepted(self) -> None:
        """The broker has let us in with `next`."""
        self._spoke_new |= self.next == NEW
        self._first = OLD if self.next == OLD and self._was_mute else NEW
        self.next = self._first

    def refused(self, *, too_new: bool, mute: bool) -> None:
        """It has not: it closed on this version, or said nothing (a broker that hangs says nothing either)."""
        mute = mute and not self._spoke_new
        if self.next == NEW:
            self._was_mute = mute
        self.next = OLD if self.next == NEW and (too_new or mute) else self._first
