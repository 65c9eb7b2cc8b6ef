"""Breadth-first over every situation that the environment and commands can reach; stops at the first violation."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

from edge_agent.guard.model import State
from tests.prove.canon import Canon
from tests.prove.edges import Edge, Node, environment, jump, root, tick
from tests.prove.moves import MOVES, ROADS, Move
from tests.prove.plant import DEAD, LIVE, Model
from tests.prove.properties import PROPERTIES


@dataclass(frozen=True)
class Domain:
    """One search: the model, which kinds of events are loose and how many faults at once, which commands are tried.

    `most_faults` counts those of a whole history, healed or not. `anytime`: so many may come in any tick, further ones only while
    something other than a clock changes. `through`: a full set of faults has at least one of these kinds, which parts a search
    that is too large for one core. `road`: a row of moves.ROADS. `healthy`: no latch, no HOLD and no stop that nobody asked for
    may appear (P14).
    """

    name: str
    model: Model
    kinds: tuple[str, ...]
    most_faults: int
    road: str = "main"
    details: frozenset[str] = frozenset()
    anytime: int = 9
    through: tuple[str, ...] = ()
    healthy: bool = False
    most_pending: int = 1


@dataclass
class Found:
    """What a search has seen. `trace`: the moves that lead to the violation, "" for a tick."""

    domain: str
    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    jumps: int = 0
    violated: str = ""
    what: str = ""
    trace: list[str] = field(default_factory=list)
    per_fault: list[int] = field(default_factory=list)


class Search:
    """One domain's graph while it is explored: keys, parents, edges."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self._canon = Canon(domain.model, domain.details)
        through = domain.through or domain.kinds
        moves = [(move, kind in through) for kind in domain.kinds for move in MOVES[kind]]
        self._healing = [move for move, _ in moves if not move.counts]
        self._faults = [found for found in moves if found[0].counts]
        self._ids: dict[tuple[object, ...], int] = {}
        self._waiting: list[list[tuple[int, Node, int]]] = [[] for _ in range(2 * domain.most_faults + 2)]
        self._parents, self._labels = array("i"), list[str]()
        self.sources, self.targets = array("i"), array("i")
        self.marks = bytearray()
        self.found = Found(domain.name)

    def run(self) -> Found:
        """Explore everything; True ends in `found.violated`."""
        began = perf_counter()
        gc.disable()
        try:
            self._add(root(self.domain.model), -1, "start", 1)
            for rank in range(len(self._waiting)):
                self._exhaust(rank)
                if rank & 1:
                    self.found.per_fault.append(len(self._ids))
        finally:
            gc.enable()
        self.found.states, self.found.transitions = len(self._ids), len(self.sources)
        self.found.seconds = perf_counter() - began
        return self.found

    def _exhaust(self, rank: int) -> None:
        """Everything that is reached with so many faults and not with fewer; of as many, first what went `through`.

        A rank is twice the number of faults, one more as long as none of them is of those kinds: whatever a later rank allows, an
        earlier one does.
        """
        while self._waiting[rank] and not self.found.violated:
            layer, self._waiting[rank] = self._waiting[rank], []
            for number, node, skip in layer:
                if not self._expand(number, node, skip, rank):
                    break

    def _add(self, node: Node, parent: int, label: str, rank: int) -> int:
        key, skip = self._canon.key(node.state, node.world, node.now)
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self._ids)
            self._parents.append(parent)
            self._labels.append(label)
            self.marks.append(mark_of(node))
            self._waiting[rank].append((number, node, skip))
        if parent >= 0:
            self.sources.append(parent)
            self.targets.append(number)
        return number

    def _expand(self, number: int, node: Node, skip: int, rank: int) -> bool:
        model = self.domain.model
        edge = tick(model, node)
        if not self._take(number, edge, rank):
            return False
        quiet = self.targets[-1] == number
        for move, after in self._possible(node, edge, rank):
            if not self._take(number, environment(model, node, move), after):
                return False
        if skip and quiet:
            self.found.jumps += 1
            self._add(jump(node, skip), number, f"+{skip}", rank)
        return all(self._take(number, tick(model, node, ask), rank) for ask in self._asks(node))

    def _possible(self, node: Node, edge: Edge, rank: int) -> Iterator[tuple[Move, int]]:
        """What the environment may do here, with the rank it leads to."""
        state, world, _ = node
        for move in self._healing:
            if move.may(world, state):
                yield move, rank
        last = 2 * self.domain.most_faults
        if rank >= last or not (rank < 2 * self.domain.anytime or happening(edge)):
            return
        for move, through in self._faults:
            after = rank + 2 - (rank & 1 if through else 0)
            if after <= last and move.may(world, state):
                yield move, after

    def _asks(self, node: Node) -> Iterator[str]:
        state = node.state
        if state is None or node.world.agent != LIVE:
            return
        if "pending" in self.domain.details and len(state.pending) >= self.domain.most_pending:
            return
        yield from ROADS[self.domain.road].get(state.phase.state, ())

    def _take(self, number: int, edge: Edge, rank: int) -> bool:
        self._add(edge.after, number, edge.move, rank)
        # an event of the environment changes nothing that the next tick would not show; only a start decides something
        if edge.after.now == edge.before.now and (edge.before.state is None) == (edge.after.state is None):
            return True
        for name, judge in PROPERTIES.items():
            what = judge(edge)
            if what:
                return self._violated(number, edge.move, name, what)
        if self.domain.healthy:
            what = unhealthy(edge)
            if what:
                return self._violated(number, edge.move, "P14", what)
        return True

    def _violated(self, number: int, move: str, name: str, what: str) -> bool:
        self.found.violated, self.found.what = name, what
        self.found.trace = [*self.path(number), move]
        return False

    def path(self, number: int) -> list[str]:
        """The moves from the start to a node."""
        moves: list[str] = []
        while self._parents[number] >= 0:
            moves.append(self._labels[number])
            number = self._parents[number]
        return moves[::-1]


def happening(edge: Edge) -> bool:
    """Whether something other than a clock has changed in this instant, or will in the next tick."""
    state, world, now = edge.before
    if world.moved_t == now or plain(edge.before) != plain(edge.after):
        return True
    if state is None:
        return False
    phase = state.phase
    return now in {
        phase.since,
        phase.step_since,
        state.drive.changed,
        state.outputs.changed,
        world.lost_t,
        world.danger_t,
    }


def plain(node: Node) -> tuple[object, ...]:
    """A situation without its clocks."""
    state, world, _ = node
    plant = (
        world.pins,
        world.held,
        world.link,
        world.current,
        world.register,
        world.agent,
        world.usb_fresh,
        world.line_fresh,
        world.record,
    )
    if state is None:
        return plant
    phase, drive = state.phase, state.drive
    return (
        *plant, world.can_fresh, world.danger_seen, phase.state, phase.step, phase.tries, drive.mode, drive.setpoint,
        state.outputs.mask, state.latches,
    )  # fmt: skip


STANDBY, RUN, WELDED = 1, 2, 4


def mark_of(node: Node) -> int:
    """What liveness asks of a node."""
    state = node.state
    found = WELDED if node.world.welded else 0
    if state is not None and node.world.agent == LIVE:
        found |= {State.STANDBY: STANDBY, State.RUN: RUN}.get(state.phase.state, 0)
    return found


OPERATORS_OWN = frozenset({"open", "estop", "relay 2 off", "service off"})


def unhealthy(edge: Edge) -> str:
    """P14, what no healthy rig may show."""
    before, state = edge.before.state, edge.after.state
    if state is None or before is None:
        return ""
    latches = [latch.id for latch in state.latches if latch.id != "estop"]
    if latches:
        return f"latched without a fault: {', '.join(latches)}"
    where = state.phase.state
    if where is State.HOLD:
        return f"HOLD without a fault: {', '.join(state.phase.why)}"
    stopped = where is State.STOPPING and before.phase.state not in {State.STOPPING, State.BOOT}
    if stopped and edge.move not in OPERATORS_OWN:
        return f"stopped without a fault: {', '.join(state.phase.why)}"
    return ""


def stranded(search: Search, goal: int, excused: int = 0) -> int | None:
    """A node from which no node with the mark `goal` can be reached, None when there is none."""
    count = len(search.marks)
    heads, links = array("i", [-1]) * count, array("i")
    sources, targets = search.sources, search.targets
    for position in range(len(targets)):
        links.append(heads[targets[position]])
        heads[targets[position]] = position
    reached = bytearray(1 if mark & goal else 0 for mark in search.marks)
    waiting = [number for number in range(count) if reached[number]]
    while waiting:
        position = heads[waiting.pop()]
        while position >= 0:
            source = sources[position]
            if not reached[source]:
                reached[source] = 1
                waiting.append(source)
            position = links[position]
    return next((number for number in range(count) if not reached[number] and not search.marks[number] & excused), None)


__all__ = ["DEAD", "Domain", "Found", "Move", "Search", "stranded"]
