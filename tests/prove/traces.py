"""Counter-examples as people read them, and their replay: `DOMAIN: .6 | close | .12 | agent killed`."""

from __future__ import annotations

from collections.abc import Iterator

from tests.prove.domains import DOMAINS
from tests.prove.edges import Edge, Node, environment, jump, root, tick
from tests.prove.explorer import unhealthy
from tests.prove.moves import ASKS, MOVES
from tests.prove.plant import R1, R2, R3
from tests.prove.properties import PROPERTIES

SEPARATOR = " | "
ENVIRONMENT = {move.name: move for moves in MOVES.values() for move in moves}
RELAY_NAMES = ((R1, "1"), (R2, "2"), (R3, "3"))


class UnknownMove(Exception):
    """A trace names something that is neither ticks nor a move nor a command."""


def written(domain: str, moves: list[str]) -> str:
    """A trace in one line; `.N` stands for N ticks, `+N` for a jump over N quiet ones."""
    found: list[str] = []
    for move in moves:
        if move:
            found.append(move)
        elif found and found[-1].startswith("."):
            found[-1] = f".{int(found[-1][1:]) + 1}"
        else:
            found.append(".1")
    return f"{domain}: {SEPARATOR.join(found)}"


def replay(trace: str) -> Iterator[str]:
    """One line for each move, and what it violates."""
    name, _, moves = trace.partition(":")
    domain = DOMAINS.get(name.strip())
    if domain is None:
        raise UnknownMove(f"domain {name.strip()!r}; allowed: {', '.join(DOMAINS)}")
    node = root(domain.model)
    yield row("start", node)
    for move in filter(None, (part.strip() for part in moves.split("|"))):
        for _ in range(int(move[1:]) if move.startswith(".") else 1):
            if move.startswith("+"):
                node = jump(node, int(move[1:]))
                yield row(f"{move[1:]} quiet ticks", node)
                continue
            edge = _edge(domain.model, node, move)
            node = edge.after
            yield row(edge.move or "tick", node)
            yield from (f"    VIOLATED {what}" for what in violations(edge, healthy=domain.healthy))


def _edge(model: object, node: Node, move: str) -> Edge:
    if move.startswith("."):
        return tick(model, node)  # type: ignore[arg-type]  # a Model
    if move in ENVIRONMENT:
        return environment(model, node, ENVIRONMENT[move])  # type: ignore[arg-type]  # a Model
    if move in ASKS:
        return tick(model, node, move)  # type: ignore[arg-type]  # a Model
    raise UnknownMove(f"{move!r} is no move; allowed: .N, +N, {', '.join([*ENVIRONMENT, *ASKS])}")


def violations(edge: Edge, *, healthy: bool) -> list[str]:
    """What the transition violates."""
    found = [f"{name}: {what}" for name, judge in PROPERTIES.items() if (what := judge(edge))]
    what = unhealthy(edge) if healthy else ""
    return [*found, *([f"P14: {what}"] if what else [])]


def row(move: str, node: Node) -> str:
    """Time, move, what the agent is in and orders, what the plant does."""
    state, world, now = node
    if state is None:
        agent = f"{'(dead)':<11}"
    else:
        latches = ", ".join(f"{latch.id} {latch.level.name}" for latch in state.latches)
        agent = (
            f"{state.phase.state.value:<11}step {state.phase.step} orders {_relays(int(state.outputs.mask))} "
            f"{state.drive.setpoint:+g} A{'; latched ' + latches if latches else ''}"
        )
    plant = f"pins {_relays(world.pins)} {world.current:+g} A link {world.link}"
    welded = f" welded {_relays(world.welded)}" if world.welded else ""
    return f"{now - 100.0:7.1f} s  {move:<26} {agent:<60} {plant}{welded}"


def _relays(mask: int) -> str:
    return "".join(name if mask & bit else "-" for bit, name in RELAY_NAMES)
