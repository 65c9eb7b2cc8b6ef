"""What `step` is told: levels of rules, freshness and measured facts. Never samples, so that an explorer can raise them."""

from __future__ import annotations

from typing import NamedTuple

from edge_agent.guard.model import Level, Output

NONE_SEEN = float("-inf")


class Raised(NamedTuple):
    """A rule that asks for the circuit to be opened."""

    id: str
    level: Level


class Sample(NamedTuple):
    """A measured value that is fresh; `seq` rises with each new one."""

    seq: int
    t: float
    value: float


class InverterFacts(NamedTuple):
    """What the inverter reads back: its mode and setpoint. `opened` counts openings of its line.

    `timed_out`: it says that its communication timer has acted, until it is written to again.
    """

    seq: int = 0
    t: float = NONE_SEEN
    mode: int | None = None
    setpoint: float | None = None
    opened: int = 0
    timed_out: bool = False


class BoardFacts(NamedTuple):
    """The board of the outputs. `pins` None: it cannot read back (v1). `t` is when it last said anything.

    `held`: its dead-man has acted and holds. `armed`: it obeys relay bits.
    """

    seq: int = 0
    t: float = NONE_SEEN
    boot: int = 0
    armed: bool = False
    held: bool = False
    pins: Output | None = None


class Facts(NamedTuple):
    """One evaluation of the rules.

    Attributes:
        trips: present rules at DANGER or above.
        unknown: required sources that are not fresh, by the id of their alarm; nothing may be energised without them.
        zero: rules that ask for setpoint 0 without a latch.
        charge, discharge: ids that block that direction.
        heat: 2 hot or unknown, 1 in between, 0 cool: pump and fan.
        drift: −1 some cell or module is at its low warning, +1 at its high one, 0 neither (or both).
        present: modules that are fresh.
        current: the trusted pack current (+ discharge), None when its last sample is too old or there is none; a source that has just
            come back is `unknown` for a second longer.
        link: the link voltage; None when its source is unknown or it is not fitted.
    """

    trips: tuple[Raised, ...] = ()
    unknown: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    charge: tuple[str, ...] = ()
    discharge: tuple[str, ...] = ()
    heat: int = 0
    drift: int = 0
    present: tuple[int, ...] = ()
    current: Sample | None = None
    link: Sample | None = None
    pack_v: float | None = None
    inverter: InverterFacts = InverterFacts()
    board: BoardFacts = BoardFacts()
