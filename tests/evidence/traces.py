"""Many random traces: the engine must equal the oracle on each, and each rule must come up in some."""

from __future__ import annotations

from tests.evidence.line_traces import BoardTrace, InverterTrace
from tests.evidence.module_trace import ModuleTrace
from tests.evidence.trace import Trace

KINDS: tuple[type[Trace], ...] = (ModuleTrace, InverterTrace, BoardTrace, ModuleTrace, InverterTrace)


def follow(count: int, seed: int) -> dict[str, int]:
    """So many traces; how often each alarm was raised on the way, as a proof that they are worth something."""
    raised: dict[str, int] = {}
    for number in range(count):
        trace = KINDS[number % len(KINDS)](f"{seed}.{number}")
        try:
            trace.run()
        except AssertionError as difference:
            raise AssertionError(f"trace {seed}.{number} ({type(trace).__name__}): {difference}") from difference
        for alarm in trace.expected():
            raised[alarm] = raised.get(alarm, 0) + 1
    return raised
