"""The BMUs' CANopen side as a pure state machine: SYNC cycles, discovery, SDO enable, second senders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.guard.codecs.bmu import Read, reader
from edge_agent.guard.codecs.can_frame import ERROR, EXTENDED, REMOTE, Frame, error_text
from edge_agent.guard.model import NoData, Reading
from shared.signals import module_source

if TYPE_CHECKING:
    from edge_agent.guard.codecs.dbc import Decoder

SYNC_ID, SYNC_DATA = 0x080, b"\xff"
SDO_REQUEST_ID, SDO_ANSWER_ID = 0x600, 0x580
SDO_ENABLE = bytes.fromhex("2F05180100000000")
"""Download 1 byte, 0, to object 0x1805 sub 1: the BMU sends its extra PDOs from now on."""
SDO_DONE, SDO_ABORT = 0x60, 0x80
SDO_TRIES, SDO_WAIT_S, SDO_AT_ONCE = 3, 1.0, 4
SILENT_S = 2.0
"""A module that was silent for so long may have been without power, and forgotten what SDO told it."""


class Turn(NamedTuple):
    """What a call of the state machine yields: arrivals for the loop, frames (id, data) to send."""

    arrivals: list[Reading | NoData]
    frames: list[tuple[int, bytes]]


class _Module:
    """What is known of one BMU: when it was last heard, how far its SDO enable got."""

    __slots__ = ("answered", "asked_at", "heard_at", "ids", "source", "tries")

    def __init__(self, number: int, ids: Iterable[int]) -> None:
        self.source = module_source(number)
        self.ids = frozenset(ids)
        self.heard_at = float("-inf")
        self.restart()

    def restart(self) -> None:
        self.tries = 0
        self.asked_at = float("-inf")
        self.answered = False


class Bmus:
    """All modules of the DBC on one bus.

    Call `on_tick` when a SYNC is due, `on_frames` with what was received; send the frames they return. `restart` after the bus
    was closed.

    Args:
        modules: number → part → decoder, as `dbc.groups` gives it.
        cells: cells in series in a module.
    """

    def __init__(self, modules: Mapping[int, Mapping[str, Decoder]], cells: int) -> None:
        self.cycle = 0
        self.counted: Counter[str] = Counter()
        self._modules: dict[int, _Module] = {}
        self._readers: dict[int, Read] = {}
        for number, parts in modules.items():
            readers = {
                decoder.spec.can_id | (EXTENDED if decoder.spec.extended else 0): reader(
                    module_source(number), name, decoder, cells
                )
                for name, decoder in parts.items()
            }
            self._modules[number] = _Module(number, readers)
            self._readers |= readers
        self._sdo_answers = {SDO_ANSWER_ID + number: module for number, module in self._modules.items()}
        self._fresh = dict(self._readers)
        self._missed: dict[int, Read] = {}
        self._data: dict[int, bytes] = {}

    @property
    def discovered(self) -> tuple[int, ...]:
        """Numbers of the modules heard so far."""
        return tuple(number for number, module in self._modules.items() if module.heard_at > float("-inf"))

    def on_frames(self, frames: Iterable[Frame]) -> list[Reading | NoData]:
        """Take received frames; unknown and remote ones are counted, error frames reported."""
        arrivals: list[Reading | NoData] = []
        append, take_fresh, latest = arrivals.append, self._fresh.pop, self._data
        for can_id, data, t_mono in frames:
            read = take_fresh(can_id, None)
            if read is not None:  # the first of its kind in this cycle
                latest[can_id] = data
                append(read(data, t_mono))
                continue
            arrival = self._other(can_id, data, t_mono)
            if arrival is not None:
                append(arrival)
        return arrivals

    def on_tick(self, now: float) -> Turn:
        """Begin a SYNC cycle: the SYNC itself, then SDO enables that are due."""
        self.cycle += 1
        turn = Turn([Reading("can", "sync", now, (self.cycle,), (float(self.cycle),))], [(SYNC_ID, SYNC_DATA)])
        silent = self._fresh.keys()
        for number, module in self._modules.items():
            if not module.ids <= silent:
                module.heard_at = now
            if module.heard_at < now - SILENT_S:
                module.restart()
            elif not module.answered and now - module.asked_at >= SDO_WAIT_S and len(turn.frames) <= SDO_AT_ONCE:
                self._ask(number, module, now, turn)
        # before the first SYNC nothing was asked for, hence nothing is late
        self._missed, self._fresh = self._fresh if self.cycle > 1 else {}, dict(self._readers)
        return turn

    def restart(self) -> None:
        """The bus was closed and opened: ask every module again."""
        for module in self._modules.values():
            module.restart()

    def counters(self) -> dict[str, int]:
        """Counts of everything that was not an ordinary frame, and how many modules were heard."""
        return {**self.counted, "modules": len(self.discovered), "cycles": self.cycle}

    def _other(self, can_id: int, data: bytes, t_mono: float) -> Reading | NoData | None:
        read = self._readers.get(can_id)
        if read is not None:
            return self._again(can_id, data, t_mono)
        if can_id in self._sdo_answers:
            return self._sdo_answer(self._sdo_answers[can_id], data, t_mono)
        if can_id & ERROR:
            self.counted["error_frames"] += 1
            return NoData("can", "errors", t_mono, "invalid", error_text(can_id))
        self.counted["remote_frames" if can_id & REMOTE else "unknown_frames"] += 1
        return None

    def _again(self, can_id: int, data: bytes, t_mono: float) -> Reading | NoData | None:
        """A PDO for the second time in a cycle: late from the cycle before, sent again, or a second sender's.

        On a full bus the answer to the SYNC before may come after the next one; then two in one cycle are right, also with the same
        content, and the second is the younger.
        """
        if self._missed.pop(can_id, None) is not None:
            self.counted["late_frames"] += 1
            self._data[can_id] = data
            return self._readers[can_id](data, t_mono)
        if data == self._data[can_id]:
            self.counted["repeated_frames"] += 1
            return None
        arrival = self._readers[can_id](data, t_mono)
        self.counted["second_senders"] += 1
        return NoData(arrival.source, arrival.part, t_mono, "duplicate", "twice in one SYNC cycle with other content")

    def _ask(self, number: int, module: _Module, now: float, turn: Turn) -> None:
        if module.tries == SDO_TRIES:
            module.answered = True
            self.counted["sdo_unanswered"] += 1
            detail = f"no good answer to {SDO_TRIES} SDO writes: its extra PDOs stay off"
            turn.arrivals.append(NoData(module.source, "sdo", now, "timeout", detail))
            return
        module.tries += 1
        module.asked_at = now
        self.counted["sdo_writes"] += 1
        turn.frames.append((SDO_REQUEST_ID + number, SDO_ENABLE))

    def _sdo_answer(self, module: _Module, data: bytes, t_mono: float) -> NoData | None:
        fits = len(data) == 8 and data[1:4] == SDO_ENABLE[1:4] and data[0] in {SDO_DONE, SDO_ABORT}
        if not fits or not module.tries:
            self.counted["sdo_strange"] += 1
            return None
        if data[0] == SDO_DONE:
            module.answered = True
            return None
        self.counted["sdo_aborts"] += 1
        code = int.from_bytes(data[4:], "little")
        return NoData(module.source, "sdo", t_mono, "invalid", f"SDO write refused with abort code 0x{code:08X}")
