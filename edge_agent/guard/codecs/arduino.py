"""The Arduino's lines, protocol v2 and v1, as bytes: splitting, CRC, status to readings, masks to commands."""

from __future__ import annotations

import binascii
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge_agent.guard.codecs.arduino_sensors import PRESSURE, THERMISTOR
from edge_agent.guard.model import OUTPUT_NAMES, Output, Reading
from shared.errors import WireError

SOURCE = "arduino"
MAX_LINE_BYTES = 96
MAX_V1_COMMAND = 30
ANALOGUE = (("temp1", THERMISTOR), ("temp2", THERMISTOR), ("press", PRESSURE))
_NOT_IN_V1 = ((3, "absent"), (4, "absent"), (5, "absent"))

_FRAME = re.compile(rb"#([ -)+-~]*)\*([0-9A-F]{4})")
_STATUS = re.compile(
    rb"S,(?P<boot>[0-9a-fA-F]{8}),(?P<uptime>\d{1,10}),(?P<session>[0-9a-f]{8}),(?P<seq>\d{1,10}),(?P<mask>[0-9A-Fa-f]{2}),"
    rb"(?P<pins>[0-9A-Fa-f]{2}),(?P<flags>[0-9A-Fa-f]{2}),(?P<adc>\d{1,4},\d{1,4},\d{1,4},\d{1,4}),(?P<ground>[01]),"
    rb"(?P<bad>\d{1,5})"
)
_V1_LINE = re.compile(rb"Ardu_Temp1:(\d{1,4}),Ardu_Temp2:(\d{1,4}),Ardu_Press:(\d{1,4})")
_MASK_BITS = int(sum(OUTPUT_NAMES))
DEADMAN_HELD, WATCHDOG_RESET, NOT_ARMED = 1, 2, 4


class Status(NamedTuple):
    """One status line of v2, as sent."""

    boot: str
    uptime_ms: int
    session: str
    seq: int
    mask: int
    pins: int
    flags: int
    adc: tuple[int, ...]
    ground_fault: int
    bad_frames: int


class Lines:
    """Cuts a byte stream into lines; what never ends is thrown away and counted."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        r"""The lines that are complete now, without `\n` and `\r`; too long ones are left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest = self._rest[:MAX_LINE_BYTES] + b"\xff"  # stays too long, whatever still comes
        fitting = [line.removesuffix(b"\r") for line in lines if len(line) < MAX_LINE_BYTES]
        self.counted["too_long_lines"] += len(lines) - len(fitting)
        return fitting

    def clear(self) -> None:
        """Forget the unfinished line: the port was closed."""
        self._rest = b""


def framed(body: bytes) -> bytes:
    """A v2 line: `#BODY*CCCC` and a line feed."""
    return b"#%s*%04X\n" % (body, binascii.crc_hqx(body, 0xFFFF))


def parse_status(line: bytes) -> Status:
    """A v2 status line. Raises WireError whose text begins with `crc` when only the check sum is wrong."""
    frame = _FRAME.fullmatch(line)
    if frame is None:
        raise WireError(f"form: expected #BODY*CCCC, got {line[:40]!r}")
    body = frame[1]
    if int(frame[2], 16) != binascii.crc_hqx(body, 0xFFFF):
        raise WireError(f"crc: {binascii.crc_hqx(body, 0xFFFF):04X} expected in {line[:40]!r}")
    match = _STATUS.fullmatch(body)
    if match is None:
        raise WireError(f"form: not a status line: {body[:60]!r}")
    status = _status(match)
    if max(status.adc) > 1023 or (status.mask | status.pins) & ~_MASK_BITS or status.bad_frames > 0xFFFF:
        raise WireError(f"form: a field is out of range in {body[:96]!r}")
    return status


def _status(match: re.Match[bytes]) -> Status:
    return Status(
        boot=match["boot"].decode("ascii").lower(),
        uptime_ms=int(match["uptime"]),
        session=match["session"].decode("ascii"),
        seq=int(match["seq"]),
        mask=int(match["mask"], 16),
        pins=int(match["pins"], 16),
        flags=int(match["flags"], 16),
        adc=tuple(map(int, match["adc"].split(b","))),
        ground_fault=int(match["ground"]),
        bad_frames=int(match["bad"]),
    )


def command(session: str, seq: int, mask: Output) -> bytes:
    """A v2 command with the whole wanted mask."""
    return framed(b"C,%s,%d,%02X" % (session.encode("ascii"), seq, int(mask)))


def command_v1(mask: Output, pins: Mapping[str, int]) -> bytes:
    """A v1 command: every output that has a pin, relays first, so that a cut-off end loses none of them."""
    order = sorted(OUTPUT_NAMES, reverse=True)
    pairs = [f"{pins[OUTPUT_NAMES[one]]}:{int(one in mask)}" for one in order if OUTPUT_NAMES[one] in pins]
    text = "&".join(pairs).encode("ascii")
    if len(text) > MAX_V1_COMMAND:
        raise WireError(f"v1 command of {len(text)} characters, the sketch reads {MAX_V1_COMMAND}")
    return text


def parse_v1(line: bytes) -> tuple[int, ...]:
    """The three ADC counts of a v1 line; raises WireError."""
    match = _V1_LINE.fullmatch(line)
    counts = tuple(map(int, match.groups())) if match else ()
    if not counts or max(counts) > 1023:
        raise WireError(f"form: not a line of the v1 sketch: {line[:60]!r}")
    return counts


def board_reading(status: Status, boot_number: int, t_mono: float) -> Reading:
    """What the board says of itself: boot number, relays armed, dead-man held, mask in force, refused frames."""
    armed, held = not status.flags & NOT_ARMED, bool(status.flags & DEADMAN_HELD)
    raw = (boot_number, int(armed), int(held), status.mask, status.bad_frames)
    return Reading(SOURCE, "board", t_mono, raw, tuple(map(float, raw)))


def line_reading(status: Status, sensors: Sequence[str], t_mono: float) -> Reading:
    """Sensors, inputs and pins of a v2 line, in the order of shared.signals.ARDUINO."""
    raw = (*status.adc, status.ground_fault, status.pins)
    values, bad = _converted(status.adc, sensors)
    rest = (float(status.adc[3]), float(status.ground_fault), float(status.pins))
    return Reading(SOURCE, "line", t_mono, raw, (*values, *rest), bad)


def line_reading_v1(counts: tuple[int, ...], sensors: Sequence[str], t_mono: float) -> Reading:
    """The sensors of a v1 line; inputs and pins are not known."""
    values, bad = _converted(counts, sensors)
    return Reading(
        SOURCE, "line", t_mono, (*counts, None, None, None), (*values, None, None, None), (*bad, *_NOT_IN_V1)
    )


def _converted(
    counts: Sequence[int], sensors: Sequence[str]
) -> tuple[tuple[float | None, ...], tuple[tuple[int, str], ...]]:
    values: list[float | None] = []
    bad: list[tuple[int, str]] = []
    for index, (name, table) in enumerate(ANALOGUE):
        value, reason = table[counts[index]] if name in sensors else (None, "absent")
        values.append(value)
        if reason:
            bad.append((index, reason))
    return tuple(values), tuple(bad)
